"""PutMetricAlarm: what watches an endpoint and its function for as long as they serve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from musher import names
from musher.config import DeploymentConfig
from musher.names import ALIAS, VARIANT, Stack

# How many alarms Application Auto Scaling keeps for a target tracking policy, one a direction.
SCALING_ALARMS = 2
MINUTES = 5
# Too many errors, too slow, and no instance.
WATCHED = ("errors", "latency", "no-instance")


def serving_alarm_names(stack: Stack) -> tuple[str, ...]:
    """The alarms of WATCHED on what serves."""
    return tuple(f"{names.serving_alarms(stack.endpoint)}{what}" for what in WATCHED)


def serving_alarms(
    config: DeploymentConfig, stack: Stack, *, topic: str = "", tags: Sequence[dict[str, str]] = ()
) -> list[dict[str, Any]]:
    """PutMetricAlarm requests, each on five minutes, with the limits that the load test judges by.

    - **errors**: the share of 5xx answers, since SageMaker sends a 1 or a 0 for each call, in three minutes of five.
    - **latency**: the p99 of the function's calls by its alias, which have the endpoint's in them, in all five.
    - **no instance**: each instance in service reports its CPU every minute, called or not; five minutes of silence are
      the end of all of them.

    Only of the last one missing data are a bad sign: of the others they mean that nobody calls.

    Parameters: `topic` is told when an alarm goes on and when it goes off again; none when empty.
    Source: SageMaker developer guide, "Amazon SageMaker AI metrics in Amazon CloudWatch"; Lambda developer guide,
    "Types of metrics for Lambda functions".
    """
    errors, latency, no_instance = serving_alarm_names(stack)
    endpoint = _dimensions(EndpointName=stack.endpoint, VariantName=VARIANT)
    share, limit = config.max_error_rate, config.latency_limit_ms
    alarms = [
        {
            "AlarmName": errors,
            "AlarmDescription": f"More than {share:.3g} of the calls of {stack.endpoint} fail (max_error_rate).",
            "Namespace": "AWS/SageMaker",
            "MetricName": "Invocation5XXErrors",
            "Dimensions": endpoint,
            "Statistic": "Average",
            "DatapointsToAlarm": 3,
            "Threshold": share,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
        },
        {
            "AlarmName": latency,
            "AlarmDescription": f"1 of 100 calls of {stack.function} takes over {limit:g} ms (latency_limit_ms).",
            "Namespace": "AWS/Lambda",
            "MetricName": "Duration",
            "Dimensions": _dimensions(FunctionName=stack.function, Resource=f"{stack.function}:{ALIAS}"),
            "ExtendedStatistic": "p99",
            "DatapointsToAlarm": MINUTES,
            "Threshold": limit,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
        },
        {
            "AlarmName": no_instance,
            "AlarmDescription": f"No instance of {stack.endpoint} is in service.",
            "Namespace": "/aws/sagemaker/Endpoints",
            "MetricName": "CPUUtilization",
            "Dimensions": endpoint,
            "Statistic": "SampleCount",
            "DatapointsToAlarm": MINUTES,
            "Threshold": 1.0,
            "ComparisonOperator": "LessThanThreshold",
            "TreatMissingData": "breaching",
        },
    ]
    actions = {"AlarmActions": [topic], "OKActions": [topic]} if topic else {}
    shared = {"Period": 60, "EvaluationPeriods": MINUTES, **actions, "Tags": list(tags)}
    return [{**each, **shared} for each in alarms]


def _dimensions(**values: str) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in values.items()]
