"""`status.json` of run_on_ec2.py, as far as anybody acts on it: read from a host that may say anything."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

FINISHED = ("completed", "failed", "interrupted", "stopped")
LARGEST = 64 * 1024

Moment = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class HostStatus(BaseModel):
    """A host's last status: its state, when things happened (Unix seconds), and why it failed.

    `starting`: it has written none yet. `unknown`: what it wrote is none, and `reason` says so.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    state: Literal["starting", "downloading", "training", "uploading", *FINISHED, "unknown"] = "starting"
    training_started_at: Moment | None = None
    checkpoint_at: Moment | None = None
    reason: str = ""


def read(written: bytes) -> HostStatus:
    """What a host wrote, or `unknown`. Raises nothing: a training goes on although nobody understands its host."""
    try:
        return HostStatus.model_validate_json(written)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        why = f"{where}: {first['msg']}" if where else first["msg"]
        return HostStatus(state="unknown", reason=f"its status.json is not what run_on_ec2.py writes ({why})")
