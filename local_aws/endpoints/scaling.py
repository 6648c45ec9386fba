"""What Application Auto Scaling keeps: scalable targets, and policies of both kinds."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from local_aws.alarms import Alarm
from local_aws.errors import validation

DIMENSION = "sagemaker:variant:DesiredInstanceCount"
# Predefined metric -> (CloudWatch's name, statistic, period in AWS seconds, whether it is a sum over the period).
PREDEFINED = {
    "SageMakerVariantInvocationsPerInstance": ("InvocationsPerInstance", "Sum", 60, True),
    "SageMakerVariantConcurrentRequestsPerModelHighResolution": ("ConcurrentRequestsPerModel", "Average", 10, False),
}
# By whether a policy is one of steps.
CONFIGURATIONS = ("TargetTrackingScalingPolicyConfiguration", "StepScalingPolicyConfiguration")


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
    """A target-tracking policy and its two alarms; or a step-scaling one, whose alarms are somebody else's."""

    name: str
    arn: str
    resource: str
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
            "PolicyARN": self.arn, "PolicyName": self.name, "ServiceNamespace": "sagemaker",
            "ResourceId": self.resource, "ScalableDimension": DIMENSION,
            "PolicyType": "StepScaling" if self.by_steps else "TargetTrackingScaling",
            "CreationTime": self.created, CONFIGURATIONS[self.by_steps]: self.settings, "Alarms": self.alarm_list(),
        }  # fmt: skip


def metric_of(target: Target, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of an alarm on what a target-tracking policy tracks; `sum`: whether it is one over the period.

    Raises AwsError for a metric that no variant has, and for a specification of neither kind.
    """
    if predefined := settings.get("PredefinedMetricSpecification"):
        kind = predefined["PredefinedMetricType"]
        if kind not in PREDEFINED:
            raise validation(
                f"The metric {kind} is not one of a SageMaker variant: it must be {', '.join(PREDEFINED)}."
            )
        name, statistic, period, is_sum = PREDEFINED[kind]
        dimensions = {"EndpointName": target.endpoint, "VariantName": target.variant}
        return {
            "Namespace": "AWS/SageMaker", "MetricName": name, "Statistic": statistic, "Period": period,
            "sum": is_sum,
            "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
        }  # fmt: skip
    custom = settings.get("CustomizedMetricSpecification") or {}
    if not custom.get("MetricName") or not custom.get("Namespace") or not custom.get("Statistic"):
        raise validation(
            "The policy must have a PredefinedMetricSpecification, or a CustomizedMetricSpecification with "
            "Namespace, MetricName and Statistic."
        )
    return {
        "Namespace": custom["Namespace"], "MetricName": custom["MetricName"], "Statistic": custom["Statistic"],
        "Period": custom.get("Period", 60), "Dimensions": custom.get("Dimensions") or [],
        "sum": custom["Statistic"] in ("Sum", "SampleCount"),
    }  # fmt: skip
