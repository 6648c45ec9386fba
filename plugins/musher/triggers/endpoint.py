"""Waits for an endpoint to be in service (or not), and removes a new one when the waiting task is ended by a person."""

from __future__ import annotations

import functools
from typing import Any

from musher.hooks.serving import CHANGING, ServingHook
from musher.triggers.polling import PollingTrigger

MOVING = {*CHANGING, "Deleting"}


class EndpointTrigger(PollingTrigger):
    """Fires when an endpoint has stopped changing.

    Parameters: `name` the endpoint's; `previous` the configuration that served before, None when the endpoint is new:
    only a new one is deleted on a kill, an update cannot be taken back. The event is
    `{"status", "config", "previous", "reason"}`, with the status "TimedOut" at the deadline.
    """

    own = ("name", "previous")

    name: str
    previous: str | None

    def look(self) -> tuple[str, dict[str, Any] | None]:
        found = self._hook.describe_endpoint(self.name) or {}
        status = found.get("EndpointStatus", "Missing")
        event = {
            "status": status,
            "config": found.get("EndpointConfigName"),
            "previous": self.previous,
            "reason": found.get("FailureReason"),
        }
        return f"endpoint {self.name}: {status}", None if status in MOVING else event

    def give_up(self) -> dict[str, Any]:
        reason = "it was still changing when its time was up"
        return {"status": "TimedOut", "config": None, "previous": self.previous, "reason": reason}

    def kill(self) -> None:
        if self.previous is None:
            self.log.info("Deleting the endpoint %s that this task was creating", self.name)
            self._hook.delete_settled_endpoint(self.name, self.poll_seconds)

    # Kept: a new hook asks Airflow for its connection and builds a client, 50 ms of CPU at every look.
    @functools.cached_property
    def _hook(self) -> ServingHook:
        return ServingHook(aws_conn_id=self.aws_conn_id, region_name=self.region_name)
