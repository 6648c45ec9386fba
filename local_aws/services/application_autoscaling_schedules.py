"""Application Auto Scaling's scheduled actions: they set a scalable target's bounds at a time, or ever so often.

A `rate(...)` counts AWS minutes; the moment of an `at(...)` is a real one. `cron(...)` is refused.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from local_aws.errors import validation
from local_aws.metric_requests import aware
from local_aws.scaling import schedules
from local_aws.scaling.kinds import Scalable
from local_aws.scaling.requests import check_bounds, digest, mine, not_found
from local_aws.services.application_autoscaling import ApplicationAutoScaling
from local_aws.services.base import Call, Service, page

SETTINGS = ("Schedule", "Timezone", "StartTime", "EndTime", "ScalableTargetAction")


class ScheduledActions(Service):
    """Source: Application Auto Scaling API reference, PutScheduledAction."""

    name = "application-autoscaling"

    def __init__(self, aws) -> None:
        super().__init__(aws)
        self._actions: dict[tuple[str, str], dict[str, Any]] = {}
        """By resource and name: as they are described."""
        self._due: dict[tuple[str, str], float] = {}
        """When each is due (Unix seconds); one that is over has no entry."""

    def remember(self) -> dict[str, Any]:
        return {"actions": self._actions, "due": self._due}

    def restore(self, kept: dict[str, Any], saved_at: dt.datetime) -> None:
        self._actions, self._due = kept["actions"], kept["due"]

    @property
    def _scaling(self) -> ApplicationAutoScaling:
        return self.aws.service(ApplicationAutoScaling)

    def put_scheduled_action(self, call: Call) -> None:
        params = call.params
        target, name = self._scaling.target(call), params["ScheduledActionName"]
        key = (target.resource, name)
        old = self._actions.get(key) or {}
        settings = {each: params[each] for each in SETTINGS if params.get(each) is not None}
        settings = {each: old[each] for each in SETTINGS if each in old} | settings
        if "Schedule" not in settings or not settings.get("ScalableTargetAction"):
            raise validation("Schedule and a ScalableTargetAction must be given for a new scheduled action.")
        self._check(settings, self._scaling.kind(target))
        self._actions[key] = {
            "ScheduledActionName": name, **target.identity,
            "CreationTime": old.get("CreationTime") or dt.datetime.now(dt.UTC),
            "ScheduledActionARN": old.get("ScheduledActionARN") or call.arn(
                f"scheduledAction:{digest(f'{target.resource}/{name}')}:resource/{target.namespace}/{target.resource}:"
                f"scheduledActionName/{name}", service="autoscaling"),
        } | settings  # fmt: skip
        moment = schedules.once(settings["Schedule"], settings.get("Timezone", "UTC"))
        if moment is None:
            start, now = settings.get("StartTime"), self.aws.clock.time()
            moment = aware(start).timestamp() if start else now + schedules.every(settings["Schedule"], self.aws.clock)
        self._due[key] = moment

    def _check(self, settings: dict[str, Any], kind: Scalable) -> None:
        now = self.aws.clock.time()
        moment = schedules.once(settings["Schedule"], settings.get("Timezone", "UTC"))
        if moment is not None and moment < now:
            raise validation(f"The moment of {settings['Schedule']} is over.")
        start, end = (aware(settings[each]).timestamp() if settings.get(each) else None
                      for each in ("StartTime", "EndTime"))  # fmt: skip
        if start is not None and end is not None and start >= end:
            raise validation("StartTime must be before EndTime.")
        check_bounds(kind, *(settings["ScalableTargetAction"].get(each) for each in ("MinCapacity", "MaxCapacity")))

    def describe_scheduled_actions(self, call: Call) -> dict[str, Any]:
        names = call.params.get("ScheduledActionNames")
        found = [each for each in self._actions.values() if not names or each["ScheduledActionName"] in names]
        return page(mine(found, call), call, key="ScheduledActions", default=50)

    def delete_scheduled_action(self, call: Call) -> None:
        kind, resource = self._scaling.resource_of(call)
        name = call.params["ScheduledActionName"]
        if self._actions.pop((resource, name), None) is None:
            raise not_found(f"No scheduled action {name} found", kind, resource)
        self._due.pop((resource, name), None)

    def every_minute(self, now: float) -> None:
        for key, action in list(self._actions.items()):
            target = self._scaling.find_target(key[0])
            if target is None:  # AWS deletes them with their target
                self._actions.pop(key, None)
                self._due.pop(key, None)
            elif self._due.get(key, now + 1) <= now:
                over = action.get("EndTime") is not None and aware(action["EndTime"]).timestamp() <= now
                if not over and not target.suspended["ScheduledScalingSuspended"]:
                    self._carry_out(action, target)
                self._next(key, action, now, over)

    def _next(self, key: tuple[str, str], action: dict[str, Any], now: float, over: bool) -> None:
        if over or schedules.once(action["Schedule"], action.get("Timezone", "UTC")) is not None:
            self._due.pop(key, None)
        else:
            length = schedules.every(action["Schedule"], self.aws.clock)
            # Whatever was missed is not made up for.
            self._due[key] += length * max(1, (now - self._due[key]) // length)
        self.aws.saver.changed()

    @staticmethod
    def _carry_out(action: dict[str, Any], target: Any) -> None:
        """Set the bounds; the capacity follows with the targets' next minute, which is this one's."""
        low = action["ScalableTargetAction"].get("MinCapacity", target.low)
        high = action["ScalableTargetAction"].get("MaxCapacity", target.high)
        # One that is given alone takes the other one along.
        target.low, target.high = (low, max(low, high)) if "MinCapacity" in action["ScalableTargetAction"] else (
            min(low, high), high)  # fmt: skip
