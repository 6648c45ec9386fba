"""What Application Auto Scaling keeps: scalable targets and target-tracking policies."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from local_aws.alarms import Alarm

DIMENSION = "sagemaker:variant:DesiredInstanceCount"


@dataclass
class Target:
    """A registered scalable target, with when it was scaled last (Unix seconds)."""

    resource: str
    endpoint: str
    variant: str
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

    def describe(self) -> dict[str, Any]:
        return {
            "ServiceNamespace": "sagemaker", "ResourceId": self.resource, "ScalableDimension": DIMENSION,
            "MinCapacity": self.low, "MaxCapacity": self.high, "RoleARN": self.role, "CreationTime": self.created,
            "SuspendedState": self.suspended, "ScalableTargetARN": self.arn,
        }  # fmt: skip


@dataclass
class Policy:
    """A target-tracking policy and its two alarms."""

    name: str
    arn: str
    resource: str
    settings: dict[str, Any]
    alarms: list[Alarm]
    created: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    @property
    def target_value(self) -> float:
        return self.settings["TargetValue"]

    def alarm_list(self) -> list[dict[str, str]]:
        return [{"AlarmName": each.name, "AlarmARN": each.arn} for each in self.alarms]

    def describe(self) -> dict[str, Any]:
        return {
            "PolicyARN": self.arn, "PolicyName": self.name, "ServiceNamespace": "sagemaker",
            "ResourceId": self.resource, "ScalableDimension": DIMENSION, "PolicyType": "TargetTrackingScaling",
            "CreationTime": self.created,
            "TargetTrackingScalingPolicyConfiguration": self.settings, "Alarms": self.alarm_list(),
        }  # fmt: skip
