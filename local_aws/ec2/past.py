"""An instance whose host is gone: what is still known of it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from local_aws.clock import Clock
from local_aws.ec2.keys import ActiveKeys
from local_aws.ec2.record import Record
from local_aws.ec2.spot import SpotRequest
from local_aws.errors import AwsError

USER = ("Client.UserInitiatedShutdown", "User initiated shutdown")
LOST_CODE = "Server.InternalError"


@dataclass(frozen=True)
class InstanceRecord:
    """What is saved of an instance besides moto's record of it."""

    id: str
    region: str
    reservation_id: str
    spot: SpotRequest | None
    launched: dt.datetime
    interrupted: bool
    console: str
    console_at: dt.datetime


class PastInstance:
    """An instance without a host. Parameters: `record` moto's record of it, `reservation_id` its launch's."""

    def __init__(self, record: Record, reservation_id: str, spot: SpotRequest | None) -> None:
        self.record = record
        self.id = record.id
        self.reservation_id = reservation_id
        self.spot = spot
        self.reachable = False
        self.interrupted = False
        self.launched = Clock.now()
        self.keys = ActiveKeys()
        self._said, self._said_at = "", self.launched

    def recall(self, kept: InstanceRecord) -> None:
        """It was saved."""
        self.launched, self.interrupted = kept.launched, kept.interrupted
        self._said, self._said_at = kept.console, kept.console_at

    def remember(self) -> InstanceRecord:
        console, at = self.console()
        region = self.record.zone[:-1]
        return InstanceRecord(
            self.id, region, self.reservation_id, self.spot, self.launched, self.interrupted, console, at
        )

    def lose(self, why: str) -> None:
        """Its host has gone with the process that ran it."""
        self.record.enter("terminated", code=LOST_CODE, message=why)
        if self.spot:
            self.spot.enter("instance-terminated-no-capacity", "closed")

    def terminate(self) -> None:
        """TerminateInstances: nothing happens to what has ended already."""
        if self.record.state == "stopped":
            self.record.enter("terminated", reason=transition(USER), code=USER[0], message=USER[1])

    def power_off(self, *, at_once: bool) -> None:
        """StopInstances. Raises AwsError: it does not run."""
        raise self.cannot_be("stopped")

    def power_on(self) -> None:
        """StartInstances. Raises AwsError: its disk is gone."""
        raise self.cannot_be("started")

    def reboot(self) -> None:
        """RebootInstances: AWS ignores it for an instance that has ended."""

    def cannot_be(self, what: str) -> AwsError:
        """AWS's refusal for a state from which it cannot be "started", "stopped" or "rebooted"."""
        return AwsError(
            "IncorrectInstanceState", f"The instance '{self.id}' is not in a state from which it can be {what}."
        )

    def interrupt(self) -> float:
        """Take Spot capacity back. Raises AwsError: it has none."""
        raise AwsError("IncorrectInstanceState", f"{self.id} does not run: it is {self.record.state}.")

    def console(self) -> tuple[str, dt.datetime]:
        """What its console says, and when it said the last of it."""
        return self._said, self._said_at


def transition(why: tuple[str, str]) -> str:
    """StateTransitionReason of an end by a user: AWS names the time of it."""
    return f"User initiated ({Clock.now():%Y-%m-%d %H:%M:%S} GMT)" if why is USER else ""
