"""Training on EC2 instances."""

from __future__ import annotations

from typing import Any, ClassVar

from musher.record.part import Entry, Part


class Ec2Instance(Entry):
    """One instance, from its launch to its end.

    `market` spot or on-demand; times are ISO 8601 in UTC. `ended_at`, `seconds` and `ended_by` are None while it lives;
    `ended_by` is `finished`, `interruption`, or how else it ended; `reason` why its training failed.
    """

    instance_id: str
    market: str
    launched_at: str
    ended_at: str | None = None
    seconds: float | None = None
    ended_by: str | None = None
    reason: str = ""


class Ec2Instances(Part):
    """The instances of a run as they come and go; not on the report, which has those of `ec2_training`."""

    NAME: ClassVar[str] = "ec2_instances"
    VERSION: ClassVar[int] = 2

    instances: list[Ec2Instance] = []

    @classmethod
    def older(cls, content: Any, version: int) -> Any:
        """Version 1 is the bare list of instances."""
        return {"instances": content}


class Ec2Training(Part):
    """A training that was repeated on EC2, in the record of the training run that it repeats.

    `run` the repeating run, `repeats` the job it repeats. `seconds` of all instances together; `wall_seconds` from the
    first launch to the last end. Of interrupted instances, `seconds_saved` is the training that checkpoints kept and
    `seconds_lost` the rest of their lives. `model_data` and `output_data` are S3 URIs.
    """

    NAME: ClassVar[str] = "ec2_training"

    run: str
    repeats: str | None = None
    instance_type: str
    market: str
    instances: list[Ec2Instance]
    interruptions: int
    seconds: float
    wall_seconds: float | None = None
    seconds_saved: float | None = None
    seconds_lost: float | None = None
    test_accuracy: float | None
    test_loss: float | None
    cost_usd: float
    model_data: str | None = None
    output_data: str | None = None
