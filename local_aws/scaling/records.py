"""What Application Auto Scaling keeps: scalable targets, and policies of both kinds."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from local_aws.alarms import Alarm

# By whether a policy is one of steps.
CONFIGURATIONS = ("TargetTrackingScalingPolicyConfiguration", "StepScalingPolicyConfiguration")


@dataclass
class Target:
    """A registered scalable target, with when it was scaled last (Unix seconds)."""

    namespace: str
    dimension: str
    resource: str
    low: int
    high: int
    role: str
    arn: str
    suspended: dict[str, bool]
    created: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    scaled_out_at: float = 0.0
    scaled_in_at: float = 0.0
    before_scale_out: int = 0
    activity: dict[str, Any] | None = None

    @property
    def identity(self) -> dict[str, str]:
        """How every answer names it."""
        return {
            "ServiceNamespace": self.namespace, "ResourceId": self.resource, "ScalableDimension": self.dimension,
        }  # fmt: skip

    def describe(self) -> dict[str, Any]:
        return {
            **self.identity, "MinCapacity": self.low, "MaxCapacity": self.high, "RoleARN": self.role,
            "CreationTime": self.created, "SuspendedState": self.suspended, "ScalableTargetARN": self.arn,
        }  # fmt: skip


@dataclass
class Policy:
    """A target-tracking policy and its two alarms; or a step-scaling one, whose alarms are somebody else's."""

    name: str
    arn: str
    target: Target
    settings: dict[str, Any]
    alarms: list[Alarm]
    created: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    @property
    def by_steps(self) -> bool:
        return "StepAdjustments" in self.settings

    @property
    def target_value(self) -> float:
        return self.settings["TargetValue"]

    def alarm_list(self) -> list[dict[str, str]]:
        return [{"AlarmName": each.name, "AlarmARN": each.arn} for each in self.alarms]

    def describe(self) -> dict[str, Any]:
        return {
            "PolicyARN": self.arn, "PolicyName": self.name, **self.target.identity,
            "PolicyType": "StepScaling" if self.by_steps else "TargetTrackingScaling",
            "CreationTime": self.created, CONFIGURATIONS[self.by_steps]: self.settings, "Alarms": self.alarm_list(),
        }  # fmt: skip
