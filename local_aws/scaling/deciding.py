"""What capacity the policies of a scalable target want now: by their alarms, within bounds, and after cool-downs.

Source: Application Auto Scaling user guide, "How target tracking scaling works", "How step scaling works" and "Define
cooldown periods".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from local_aws import alarm_actions
from local_aws.alarms import Alarm
from local_aws.scaling import steps
from local_aws.scaling.records import Policy, Target

Wanted = tuple[int, str]
"""A capacity, and why."""


@dataclass(frozen=True)
class Moment:
    """One target in one minute."""

    target: Target
    current: int
    """Its capacity."""
    now: float
    """Unix seconds."""
    cooldown: Callable[[Policy, str], float]
    """How many real seconds a policy's cool-down of this name lasts."""

    def wanted(self, policies: Iterable[Policy], alarms: Iterable[Alarm]) -> Wanted:
        """What the target's policies want together; `alarms` are all of the account's."""
        policies = list(policies)
        if not self.target.low <= self.current <= self.target.high:
            bound = min(max(self.current, self.target.low), self.target.high)
            return bound, "the capacity is outside of the minimum and maximum"
        tracking = [each for each in policies if not each.by_steps]
        stepped = self._stepped({each.arn: each for each in policies}, alarms)
        out = [(self._outwards(each), cause(each, each.alarms[0])) for each in tracking]
        found = max([*out, *stepped], key=lambda each: each[0], default=(self.current, ""))
        if found[0] > self.current:
            return found
        # Several scale in only when each that tracks a target wants to, to the largest that one wants.
        inwards = [(self._inwards(each), cause(each, each.alarms[1])) for each in tracking]
        return min(
            max([*inwards, *stepped], key=lambda each: each[0], default=(self.current, "")),
            (self.current, ""),
            key=lambda each: each[0],
        )

    def _stepped(self, by_arn: dict[str, Policy], alarms: Iterable[Alarm]) -> list[Wanted]:
        """What policies of steps want, of which an alarm that is in its state names the ARN."""
        found = []
        for alarm in alarms:
            value = next((each for each in alarm.values if each is not None), None)
            for arn in alarm_actions.of(alarm):
                policy = by_arn.get(arn)
                if policy is None or value is None:
                    continue
                wanted = self._step(policy, value - alarm.settings["Threshold"])
                if wanted != self.current:
                    alarm.record("Action", f"Successfully executed action {arn}", {"notificationResource": arn})
                    found.append((wanted, cause(policy, alarm)))
        return found

    def _step(self, policy: Policy, breach: float) -> int:
        target, current, now = self.target, self.current, self.now
        cooldown = self.cooldown(policy, "Cooldown")
        base = min(current, target.before_scale_out) if now < target.scaled_out_at + cooldown else current
        wanted = min(max(steps.changed(policy.settings, base, breach), target.low), target.high)
        if wanted < current:
            cooling = now < max(target.scaled_in_at, target.scaled_out_at) + cooldown
            return current if cooling or target.suspended["DynamicScalingInSuspended"] else wanted
        return current if target.suspended["DynamicScalingOutSuspended"] else wanted

    def _outwards(self, policy: Policy) -> int:
        target, current, high = self.target, self.current, policy.alarms[0]
        value = high.values[0] if high.values else None
        if high.state != "ALARM" or value is None or target.suspended["DynamicScalingOutSuspended"]:
            return current
        base = current
        if self.now < target.scaled_out_at + self.cooldown(policy, "ScaleOutCooldown"):
            # What the last scale-out added counts as part of what is wanted now: only a larger want goes on.
            base = min(current, target.before_scale_out)
        return max(current, min(target.high, math.ceil(base * value / policy.target_value - 1e-9)))

    def _inwards(self, policy: Policy) -> int:
        target, current, low = self.target, self.current, policy.alarms[1]
        cooling = self.now < max(
            target.scaled_in_at + self.cooldown(policy, "ScaleInCooldown"),
            target.scaled_out_at + self.cooldown(policy, "ScaleOutCooldown"),
        )
        blocked = cooling or policy.settings.get("DisableScaleIn") or target.suspended["DynamicScalingInSuspended"]
        if low.state != "ALARM" or blocked:
            return current
        # The busiest of the fifteen minutes, so that one quiet minute does not take away what the others needed.
        value = max(each for each in low.values if each is not None)
        return max(target.low, min(current, math.ceil(current * value / policy.target_value - 1e-9)))


def cause(policy: Policy, alarm: Alarm) -> str:
    """Why a policy scales, as activities say it."""
    return f"monitor alarm {alarm.name} in state ALARM triggered policy {policy.name}"
