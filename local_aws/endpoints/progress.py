"""What is said of a deployment under way: the variants' status, the pending deployment.

AWS: SageMaker API reference, ProductionVariantStatus, PendingDeploymentSummary; developer guide, "Events that Amazon
SageMaker AI sends to Amazon EventBridge", which has the messages. They are AWS's word for word where it shows them; in
between ("full capacity" when traffic is activated, the setting that a canary's bake waits for) they are made alike.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local_aws.endpoints.record import VariantRecord

if TYPE_CHECKING:
    from local_aws.endpoints.fleet import Fleet


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


@dataclass
class Pending:
    """The configuration that an endpoint is created or updated to: `fleet` has its instances once there are any."""

    config: dict[str, Any]
    records: Iterable[VariantRecord]
    fleet: Fleet | None = None
    started: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    def describe(self) -> dict[str, Any]:
        """DescribeEndpoint's PendingDeploymentSummary.

        CurrentInstanceCount counts the instances that calls go to: AWS's example shows 1 while a canary of one out of
        three instances bakes.
        """
        types = {each["VariantName"]: each.get("InstanceType") for each in self.config["ProductionVariants"]}
        variants = []
        for record in self.records:
            running = self.fleet.variant(record.name) if self.fleet else None
            serving = len(running.instances[: running.active]) if running else 0
            described = record.describe(serving) | {"InstanceType": types[record.name]}
            described["VariantStatus"] = [running.status.describe()] if running and running.status else []
            variants.append(described)
        return {
            "EndpointConfigName": self.config["EndpointConfigName"],
            "ProductionVariants": variants,
            "StartTime": self.started,
        }
