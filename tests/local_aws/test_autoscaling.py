"""Application Auto Scaling: endpoints that grow under load and shrink afterwards, in AWS minutes of one second."""

from __future__ import annotations

import time

import pytest
from botocore.exceptions import ClientError

from local_aws.clock import Clock
from local_aws.errors import AwsError
from local_aws.scaling import schedules, steps
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


STEPS = [
    {"MetricIntervalUpperBound": -10.0, "ScalingAdjustment": -30},
    {"MetricIntervalLowerBound": -10.0, "MetricIntervalUpperBound": 10.0, "ScalingAdjustment": 0},
    {"MetricIntervalLowerBound": 10.0, "MetricIntervalUpperBound": 20.0, "ScalingAdjustment": 10},
    {"MetricIntervalLowerBound": 20.0, "ScalingAdjustment": 30},
]


@pytest.mark.parametrize(
    ("kind", "current", "breach", "expected"),
    [
        # AWS's own example: from 10, 10 % more is 11, and 30 % of 11 is 3 more.
        ("PercentChangeInCapacity", 10, 10.0, 11), ("PercentChangeInCapacity", 11, 25.0, 14),
        ("PercentChangeInCapacity", 10, 0.0, 10), ("PercentChangeInCapacity", 10, -10.0, 7),
        # Less than one is one, in both directions.
        ("PercentChangeInCapacity", 1, 15.0, 2), ("PercentChangeInCapacity", 2, -15.0, 1),
        # Below the threshold the upper bound belongs to a step, above it the lower one.
        ("ChangeInCapacity", 40, -10.0, 10), ("ChangeInCapacity", 40, -9.9, 40), ("ChangeInCapacity", 40, 20.0, 70),
        ("ExactCapacity", 3, 12.0, 10),
    ],
)  # fmt: skip
def test_steps_change_a_capacity_as_aws_documents(kind, current, breach, expected):
    config = {"AdjustmentType": kind, "StepAdjustments": STEPS if kind != "ExactCapacity" else STEPS[1:]}
    steps.check(config)
    assert steps.changed(config, current, breach) == expected


def test_a_percentage_changes_by_no_less_than_its_magnitude():
    config = {"AdjustmentType": "PercentChangeInCapacity", "StepAdjustments": STEPS, "MinAdjustmentMagnitude": 4}
    assert [steps.changed(config, 10, breach) for breach in (10.0, 0.0, -20.0)] == [14, 10, 6]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"AdjustmentType": "Double"}, "AdjustmentType must be one of"),
        ({"StepAdjustments": []}, "must have at least one step"),
        ({"AdjustmentType": "ExactCapacity"}, "must be 0 or more, not -30"),
        ({"StepAdjustments": [*STEPS, {"MetricIntervalLowerBound": 25.0, "ScalingAdjustment": 1}]}, "overlap"),
        ({"StepAdjustments": [STEPS[0], STEPS[2]]}, "leave a gap: one ends at -10, the next begins at 10"),
        ({"StepAdjustments": [{"MetricIntervalLowerBound": 1.0, "MetricIntervalUpperBound": 1.0,
                               "ScalingAdjustment": 1}]}, "must be less than MetricIntervalUpperBound"),
        ({"MinAdjustmentMagnitude": 2}, "goes with the AdjustmentType PercentChangeInCapacity"),
    ],
)  # fmt: skip
def test_steps_that_make_no_sense_are_refused(changes, sentence):
    with pytest.raises(AwsError, match=sentence):
        steps.check({"AdjustmentType": "ChangeInCapacity", "StepAdjustments": STEPS} | changes)


def test_when_a_scheduled_action_is_due():
    assert schedules.once("at(2026-12-01T12:00:00)", "Europe/Berlin") == 1796122800.0
    assert schedules.once("rate(5 minutes)", "UTC") is None
    assert schedules.every("rate(5 minutes)", Clock(2)) == 10.0
    for wrong, sentence in (
        ("cron(0 9 * * ? *)", "carries out no cron"), ("rate(0 minutes)", "Schedule must be"),
        ("at(2026-13-01T12:00:00)", "is no moment"), ("tomorrow", "not 'tomorrow'"),
    ):  # fmt: skip
        with pytest.raises(AwsError, match=sentence):
            schedules.once(wrong, "UTC")


def test_steps_and_schedules_scale(serving, scaling, endpoint, wait_for):
    # GIVEN a policy of steps, and an alarm of one's own that has it as its action
    resource = register(scaling, endpoint, high=3)
    what = {"ResourceId": resource, **WHAT}
    policy = scaling.put_scaling_policy(
        PolicyName="steps", PolicyType="StepScaling", **what,
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity", "Cooldown": 36_000,
            "StepAdjustments": [
                {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 100, "ScalingAdjustment": 1},
                {"MetricIntervalLowerBound": 100, "ScalingAdjustment": 2},
            ],
        },
    )  # fmt: skip
    assert policy["Alarms"] == []
    (described,) = scaling.describe_scaling_policies(**what)["ScalingPolicies"]
    assert described["PolicyType"] == "StepScaling"
    assert described["StepScalingPolicyConfiguration"]["StepAdjustments"][1]["ScalingAdjustment"] == 2
    alarm = {"AlarmName": f"steps-{endpoint}", "Namespace": endpoint, "MetricName": "Queue", "Statistic": "Maximum",
             "Period": 60, "EvaluationPeriods": 1, "Threshold": 10, "TreatMissingData": "ignore",
             "ComparisonOperator": "GreaterThanThreshold"}  # fmt: skip
    with pytest.raises(ClientError, match="no step scaling policy with the ARN that AlarmActions has"):
        serving.cloudwatch.put_metric_alarm(**alarm, AlarmActions=[policy["PolicyARN"] + "x"])
    serving.cloudwatch.put_metric_alarm(**alarm, AlarmActions=[policy["PolicyARN"]])
    # WHEN the metric is far above the threshold THEN it is two more at once, and no more while it cools down
    serving.cloudwatch.put_metric_data(Namespace=endpoint, MetricData=[{"MetricName": "Queue", "Value": 500}])
    wait_for(lambda: counts(serving, endpoint) == (3, 3))
    history = serving.cloudwatch.describe_alarm_history(AlarmName=alarm["AlarmName"], HistoryItemType="Action")
    assert [item["HistorySummary"] for item in history["AlarmHistoryItems"]] == [
        f"Successfully executed action {policy['PolicyARN']}"
    ]
    scaling.delete_scaling_policy(PolicyName="steps", **what)
    serving.cloudwatch.delete_alarms(AlarmNames=[alarm["AlarmName"]])
    # WHEN an action is due that lowers the maximum THEN the capacity follows; one that is suspended is not carried out
    assert serving.wait(endpoint)["EndpointStatus"] == "InService"
    scaling.put_scheduled_action(
        ScheduledActionName="night", Schedule="rate(1 minute)", ScalableTargetAction={"MaxCapacity": 1}, **what
    )
    (action,) = scaling.describe_scheduled_actions(ServiceNamespace="sagemaker", ResourceId=resource)[
        "ScheduledActions"
    ]
    assert (action["ScheduledActionName"], action["Schedule"]) == ("night", "rate(1 minute)")
    wait_for(lambda: counts(serving, endpoint) == (1, 1))
    (target,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[resource])[
        "ScalableTargets"
    ]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 1)
    scaling.delete_scheduled_action(ScheduledActionName="night", **what)
    for schedule, sentence in (("at(2020-01-01T00:00:00)", "is over"), ("cron(0 9 * * ? *)", "no cron")):
        with pytest.raises(ClientError, match=sentence):
            scaling.put_scheduled_action(
                ScheduledActionName="a", Schedule=schedule, ScalableTargetAction={"MinCapacity": 1}, **what
            )
    with pytest.raises(ClientError, match="No scheduled action night found"):
        scaling.delete_scheduled_action(ScheduledActionName="night", **what)


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
