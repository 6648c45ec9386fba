"""UpdateEndpoint with AWS's deployment guardrails, and the two alarms by which a release is taken back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from musher import names
from musher.config import DeploymentConfig
from musher.names import Stack
from musher.release.plan import ReleasePlan

NAMESPACE, HEARTBEAT, STOP = "Musher", "ReleaseHeartbeat", "ReleaseStop"
# Of AWS's longest wait for the whole update: starting instances takes minutes, on GPUs up to half an hour a fleet.
STARTING_SECONDS = 3600
LEAST_TIMEOUT, MOST_TIMEOUT = 600, 28_800


def alarm_names(stack: Stack) -> tuple[str, str]:
    """The heartbeat's alarm and the one that a person or the judge sets."""
    prefix = names.release_alarms(stack.endpoint)
    return f"{prefix}heartbeat", f"{prefix}stop"


def heartbeat(stack: Stack, value: float = 1.0) -> dict[str, Any]:
    """PutMetricData request: whoever judges the release is at it."""
    return {
        "Namespace": NAMESPACE,
        "MetricData": [{"MetricName": HEARTBEAT, "Dimensions": _dimensions(stack), "Value": value, "Unit": "Count"}],
    }


def heartbeat_alarm(stack: Stack, tags: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
    """PutMetricAlarm request: two minutes without a heartbeat, or with one of 0, are an alarm.

    Source: CloudWatch user guide, "Configuring how CloudWatch alarms treat missing data".
    """
    return {
        **_alarm(stack, HEARTBEAT, tags),
        "AlarmName": alarm_names(stack)[0],
        "AlarmDescription": "Nobody judges the release any more: AWS takes it back.",
        "Statistic": "Minimum",
        "EvaluationPeriods": 2,
        "DatapointsToAlarm": 2,
        "ComparisonOperator": "LessThanThreshold",
        "TreatMissingData": "breaching",
    }


def stop_alarm(stack: Stack, tags: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
    """PutMetricAlarm request for the alarm that SetAlarmState trips: its metric is never sent, and missing data leave
    it in the state that it has been set to."""
    return {
        **_alarm(stack, STOP, tags),
        "AlarmName": alarm_names(stack)[1],
        "AlarmDescription": "Set by the judge of a release, or by a person: AWS takes the release back.",
        "Statistic": "Maximum",
        "EvaluationPeriods": 1,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "ignore",
    }


def _alarm(stack: Stack, metric: str, tags: Sequence[dict[str, str]]) -> dict[str, Any]:
    """What both alarms have in common: a metric of ours by the minute, held against 1."""
    return {
        "Namespace": NAMESPACE,
        "MetricName": metric,
        "Dimensions": _dimensions(stack),
        "Period": 60,
        "Threshold": 1.0,
        "Tags": list(tags),
    }


def trip(stack: Stack, reason: str) -> dict[str, Any]:
    """SetAlarmState request that takes a running release back; the reason has at most 1,023 characters."""
    return {"AlarmName": alarm_names(stack)[1], "StateValue": "ALARM", "StateReason": reason[:1023]}


def release(config: DeploymentConfig, plan: ReleasePlan, *, stack: Stack, config_name: str) -> dict[str, Any]:
    """UpdateEndpoint request: blue/green with the instances that the endpoint has, taken back by either alarm.

    Source: SageMaker developer guide, "Blue/Green Deployments" and "Auto-Rollback Configuration and Monitoring".
    """
    routing: dict[str, Any] = {"Type": plan.kind, "WaitIntervalInSeconds": 0}
    if plan.kind == "CANARY":
        routing["CanarySize"] = {"Type": "INSTANCE_COUNT", "Value": plan.canary_instances}
        routing["WaitIntervalInSeconds"] = config.bake_seconds
    waits = routing["WaitIntervalInSeconds"] + final_bake(config, plan)
    return {
        "EndpointName": stack.endpoint,
        "EndpointConfigName": config_name,
        "RetainAllVariantProperties": True,
        "DeploymentConfig": {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": routing,
                "TerminationWaitInSeconds": final_bake(config, plan),
                "MaximumExecutionTimeoutInSeconds": min(MOST_TIMEOUT, waits + STARTING_SECONDS),
            },
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarm_names(stack)]},
        },
    }


def final_bake(config: DeploymentConfig, plan: ReleasePlan) -> int:
    """How long the old fleet stays after the last shift. All at once there is no other bake: it is the judge's."""
    return config.final_bake_seconds if plan.kind == "CANARY" else max(config.bake_seconds, config.final_bake_seconds)


def back(*, stack: Stack, config_name: str) -> dict[str, Any]:
    """UpdateEndpoint request back to a configuration that served before: at once, with the instances there are."""
    return {
        "EndpointName": stack.endpoint,
        "EndpointConfigName": config_name,
        "RetainAllVariantProperties": True,
        "DeploymentConfig": {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
                "TerminationWaitInSeconds": 0,
            }
        },
    }


def instances(*, stack: Stack, variant: str, count: int) -> dict[str, Any]:
    """UpdateEndpointWeightsAndCapacities request: another number of instances."""
    return {
        "EndpointName": stack.endpoint,
        "DesiredWeightsAndCapacities": [{"VariantName": variant, "DesiredInstanceCount": count}],
    }


def _dimensions(stack: Stack) -> list[dict[str, str]]:
    return [{"Name": "EndpointName", "Value": stack.endpoint}]
