"""What is said of a variant while a deployment is under way.

AWS: SageMaker API reference, ProductionVariantStatus; developer guide, "Events that Amazon
SageMaker AI sends to Amazon EventBridge", which has the messages. They are AWS's word for word where it shows them; in
between ("full capacity" when traffic is activated, the setting that a canary's bake waits for) they are made alike.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Status:
    """What is being done with a variant: `kind` is Creating, Updating, Deleting, ActivatingTraffic or Baking."""

    kind: str
    message: str
    since: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    def describe(self) -> dict[str, Any]:
        return {"Status": self.kind, "StatusMessage": self.message, "StartTime": self.since}


def launching(count: int, more: bool = False) -> Status:
    """So many instances are started: the first ones of a variant, or `more`."""
    return Status("Updating" if more else "Creating", f"Launching {count} instance(s).")


def scaling_out(count: int) -> Status:
    return Status("Updating", f"Scaling out desired instance count to {count}.")


def terminating(count: int) -> Status:
    return Status("Deleting", f"Terminating {count} instance(s).")


def activating(count: int, part: bool) -> Status:
    """Calls go to so many instances from now on, which are a `part` of the new fleet or all of it."""
    return Status("ActivatingTraffic", f"Activating traffic on {_capacity(count, part)}.")


def baking(seconds: int, setting: str, count: int, part: bool) -> Status:
    """So many seconds, asked for by a setting of the deployment, are waited."""
    return Status(
        "Baking", f"Baking for {seconds} seconds ({setting}) with traffic enabled on {_capacity(count, part)}."
    )


def _capacity(count: int, part: bool) -> str:
    return f"{'canary' if part else 'full'} capacity of {count} instance(s)"
