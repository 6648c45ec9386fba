"""Application Auto Scaling: endpoints that grow under load and shrink afterwards, in AWS minutes of one second."""

from __future__ import annotations

import time

import pytest
from botocore.exceptions import ClientError

from tests.local_aws.serving import Serving

WHAT = {"ServiceNamespace": "sagemaker", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
PER_INSTANCE = "SageMakerVariantInvocationsPerInstance"
CONCURRENCY = "SageMakerVariantConcurrentRequestsPerModelHighResolution"


@pytest.fixture
def serving(local_aws, bucket, role_arn):
    return Serving(local_aws, bucket, role_arn)


@pytest.fixture
def scaling(local_aws):
    return local_aws.client("application-autoscaling")


@pytest.fixture
def endpoint(serving):
    name = serving.create(serving.config(serving.model()))
    assert serving.wait(name)["EndpointStatus"] == "InService"
    yield name
    serving.delete(name)


def register(scaling, name: str, low: int = 1, high: int = 2) -> str:
    resource = f"endpoint/{name}/variant/v0"
    scaling.register_scalable_target(ResourceId=resource, MinCapacity=low, MaxCapacity=high, **WHAT)
    return resource


def put_policy(scaling, resource: str, metric: str, target: float, cooldown: int = 60) -> dict:
    return scaling.put_scaling_policy(
        PolicyName="keep-up", ResourceId=resource, PolicyType="TargetTrackingScaling", **WHAT,
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": target, "PredefinedMetricSpecification": {"PredefinedMetricType": metric},
            "ScaleOutCooldown": cooldown, "ScaleInCooldown": cooldown,
        },
    )  # fmt: skip


def counts(serving, name: str) -> tuple[int, int]:
    variant = serving.sagemaker.describe_endpoint(EndpointName=name)["ProductionVariants"][0]
    return variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]


@pytest.mark.parametrize(("metric", "target"), [(PER_INSTANCE, 60.0), (CONCURRENCY, 1.5)])
def test_scales_out_under_load_and_in_when_it_is_quiet(serving, scaling, endpoint, wait_for, metric, target):
    # GIVEN a policy that one instance cannot keep under the load of four clients
    resource = register(scaling, endpoint)
    alarms = [each["AlarmName"] for each in put_policy(scaling, resource, metric, target)["Alarms"]]
    assert [any(f"-Alarm{side}-" in name for name in alarms) for side in ("High", "Low")] == [True, True]
    # WHEN there is load
    with serving.load(endpoint, {"sleep": 0.05}) as (answers, errors):
        wait_for(lambda: counts(serving, endpoint)[0] == 2, 120, "it did not scale out")
        # THEN the alarm says so, and both instances answer
        high = next(name for name in alarms if "AlarmHigh" in name)
        history = serving.cloudwatch.describe_alarm_history(AlarmName=high, HistoryItemType="StateUpdate")
        assert any("to ALARM" in item["HistorySummary"] for item in history["AlarmHistoryItems"])
        wait_for(lambda: len({answer["pid"] for answer in answers[-20:]}) == 2)
    assert errors == []
    # WHEN it is quiet THEN it is one instance again, and the activities tell both stories, newest first
    wait_for(lambda: counts(serving, endpoint) == (1, 1), 120, "it did not scale in")
    wait_for(
        lambda: (
            [
                (each["Description"], each["StatusCode"])
                for each in scaling.describe_scaling_activities(ServiceNamespace="sagemaker", ResourceId=resource)[
                    "ScalingActivities"
                ]
            ]
            == [(f"Setting desired instance count to {count}.", "Successful") for count in (1, 2)]
        )
    )
    scaling.deregister_scalable_target(ResourceId=resource, **WHAT)
    assert serving.cloudwatch.describe_alarms(AlarmNames=alarms)["MetricAlarms"] == []


def test_a_cool_down_holds_scaling_back(serving, scaling, endpoint, local_aws, wait_for):
    # GIVEN a policy that a tenth of an instance would keep, with long cool-downs
    resource = register(scaling, endpoint, high=3)
    put_policy(scaling, resource, CONCURRENCY, 1e6, cooldown=36_000)
    # WHEN the minimum is raised, which is a scale-out, and nobody calls for more than fifteen periods of ten seconds
    register(scaling, endpoint, low=2, high=3)
    time.sleep(3 * local_aws.minute)
    serving.wait(endpoint)
    register(scaling, endpoint, low=1, high=3)
    low = f"TargetTracking-{resource}-AlarmLow"
    wait_for(
        lambda: serving.cloudwatch.describe_alarms(AlarmNamePrefix=low)["MetricAlarms"][0]["StateValue"] == "ALARM"
    )
    time.sleep(3 * local_aws.minute)
    # THEN it has not scaled in, although the low alarm is on
    assert counts(serving, endpoint) == (2, 2)


def test_refusals(serving, scaling, endpoint):
    resource = f"endpoint/{endpoint}/variant/v0"
    with pytest.raises(ClientError, match="minimum capacity"):
        register(scaling, endpoint, low=3, high=2)
    with pytest.raises(ClientError, match="doesn't exist"):
        register(scaling, "no-such-endpoint")
    with pytest.raises(ClientError, match="No scalable target registered"):
        put_policy(scaling, resource, PER_INSTANCE, 10)
    # GIVEN a registered target WHEN its instance type would change THEN the update is refused
    register(scaling, endpoint)
    other = serving.config(serving.model(), instance_type="ml.c5.large")
    with pytest.raises(ClientError, match="scalable target"):
        serving.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=other)


def test_burstable_types_cannot_scale(serving, scaling):
    name = serving.create(serving.config(serving.model(), instance_type="ml.t2.medium"))
    serving.wait(name)
    with pytest.raises(ClientError, match="burstable"):
        register(scaling, name)
    serving.delete(name)


def test_the_target_of_a_deleted_endpoint_is_forgotten(serving, scaling, wait_for):
    name = serving.create(serving.config(serving.model()))
    serving.wait(name)
    put_policy(scaling, register(scaling, name), PER_INSTANCE, 10)
    serving.delete(name)
    of_it = {"ServiceNamespace": "sagemaker"}
    resource = f"endpoint/{name}/variant/v0"
    wait_for(lambda: not scaling.describe_scalable_targets(ResourceIds=[resource], **of_it)["ScalableTargets"])
    assert scaling.describe_scaling_policies(ResourceId=resource, **of_it)["ScalingPolicies"] == []
