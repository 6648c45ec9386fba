"""Spot: the requests behind Spot instances, and how much capacity there is.

AWS: EC2 user guide, "Get the status of a Spot Instance request" (codes and states) and "Spot Instance interruptions".
"""

from __future__ import annotations

import datetime as dt
import secrets
import threading
from dataclasses import dataclass, field
from typing import Any

from local_aws.clock import Clock
from local_aws.errors import AwsError

NOTICE_SECONDS = 120.0
"""How long before an interruption its notice comes, in AWS's seconds."""

MESSAGES = {
    "fulfilled": "Your spot request is fulfilled.",
    "marked-for-termination": "Your Spot instance is marked for termination.",
    "instance-terminated-no-capacity": "Your Spot instance was terminated because there is no Spot capacity "
    "available that matches your request.",
    "instance-terminated-by-user": "Spot Instance terminated due to user-initiated termination.",
    "request-canceled-and-instance-running": "Your Spot request is canceled, but your instance is still running.",
}


class Capacity:
    """How many Spot instances of each type can be had: any number, unless a limit was set."""

    def __init__(self) -> None:
        self._free: dict[str, int] = {}
        self._lock = threading.Lock()

    def limit(self, instance_type: str, free: int | None) -> None:
        """From now on `free` more Spot instances of a type can be had; None ends the limit."""
        with self._lock:
            if free is None:
                self._free.pop(instance_type, None)
            else:
                self._free[instance_type] = free

    def take(self, instance_type: str, least: int, most: int) -> int:
        """How many of a type there are for a launch. Raises AwsError("InsufficientInstanceCapacity")."""
        with self._lock:
            if instance_type not in self._free:
                return most
            count = min(most, self._free[instance_type])
            if count < least:
                # AWS lists this among its server errors, which SDKs try again.
                message = "There is no Spot capacity available that matches your request."
                raise AwsError("InsufficientInstanceCapacity", message, status=500)
            self._free[instance_type] -= count
            return count

    def limits(self) -> dict[str, int]:
        """How many more there are of the types that have a limit."""
        with self._lock:
            return dict(self._free)

    def give_back(self, instance_type: str, count: int = 1) -> None:
        """What a launch took can be had again."""
        with self._lock:
            if instance_type in self._free:
                self._free[instance_type] += count


@dataclass
class SpotRequest:
    """A one-time Spot request that was fulfilled by an instance."""

    instance_id: str
    launch: dict[str, Any]
    """LaunchSpecification, as far as DescribeSpotInstanceRequests repeats it."""
    zone: str
    max_price: str | None = None
    tags: list[dict[str, str]] = field(default_factory=list)
    id: str = field(default_factory=lambda: f"sir-{secrets.token_hex(4)}")
    state: str = "active"
    code: str = "fulfilled"
    created: dt.datetime = field(default_factory=Clock.now)
    updated: dt.datetime = field(default_factory=Clock.now)

    def enter(self, code: str, state: str | None = None) -> None:
        """Change its status code, and its state where that changes too; a cancelled request stays cancelled."""
        self.code, self.updated = code, Clock.now()
        if state and self.state != "cancelled":
            self.state = state

    def describe(self) -> dict[str, Any]:
        """One item of DescribeSpotInstanceRequests."""
        answer = {
            "SpotInstanceRequestId": self.id,
            "InstanceId": self.instance_id,
            "State": self.state,
            "Status": {"Code": self.code, "Message": MESSAGES[self.code], "UpdateTime": self.updated},
            "Type": "one-time",
            "InstanceInterruptionBehavior": "terminate",
            "ProductDescription": "Linux/UNIX",
            "LaunchedAvailabilityZone": self.zone,
            "LaunchSpecification": self.launch,
            "CreateTime": self.created,
            "Tags": self.tags,
        }
        return answer if self.max_price is None else answer | {"SpotPrice": self.max_price}

    def passes(self, filters: list[dict[str, Any]]) -> bool:
        """Whether every filter of a describe call lets it through. Raises AwsError for a filter that is not known."""
        tags = {tag["Key"]: tag["Value"] for tag in self.tags}
        known = {
            "instance-id": self.instance_id,
            "spot-instance-request-id": self.id,
            "state": self.state,
            "status-code": self.code,
            "launched-availability-zone": self.zone,
            "launch.instance-type": self.launch["InstanceType"],
            "type": "one-time",
        }
        for each in filters:
            name = each.get("Name", "")
            if name not in known and not name.startswith("tag:"):
                raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
            value = tags.get(name.removeprefix("tag:")) if name.startswith("tag:") else known[name]
            if value not in (each.get("Values") or []):
                return False
        return True
