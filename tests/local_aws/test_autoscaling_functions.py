"""Application Auto Scaling of functions' provisioned concurrency: what is measured, decided and really prepared."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from contextlib import contextmanager

import pytest

from local_aws.alarms import NO_METRIC, Alarm
from local_aws.functions import provisioned
from local_aws.iam import asked, questions
from local_aws.scaling.deciding import Moment
from local_aws.scaling.records import Policy, Target
from tests.local_aws.ec2_hosts import refusal

WHAT = {"ServiceNamespace": "lambda", "ScalableDimension": "lambda:function:ProvisionedConcurrency"}
UTILIZATION = "LambdaProvisionedConcurrencyUtilization"
SOURCE = "import time\ndef handler(event, context):\n    time.sleep(event['sleep'])\n"


def test_use_is_an_average_over_time_with_its_bounds(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(provisioned.time, "monotonic", lambda: now[0])
    use = provisioned.Use()
    for at, step in ((2.0, use.begin), (4.0, use.begin), (6.0, use.end)):
        now[0] = at
        step()
    now[0] = 10.0
    # Two seconds of one, two of two, four of one.
    assert use.taken() == (1.0, 0, 2)
    # What is busy when a minute begins is busy in it.
    now[0] = 14.0
    assert use.taken() == (1.0, 1, 1)


def moment(current: int, low: int = 0, high: int = 20, **scaled: float) -> tuple[Moment, Policy]:
    """A target with a policy of 0.7, whose cool-downs are none, as a function's are."""
    suspended = dict.fromkeys(("DynamicScalingInSuspended", "DynamicScalingOutSuspended"), False)
    target = Target("lambda", "d", "function:f:live", low, high, "", "", suspended, **scaled)
    alarms = [Alarm(name, "", {"Threshold": 0.7}, NO_METRIC) for name in ("high", "low")]
    return Moment(target, current, 1000.0, lambda policy, name: 0.0), Policy(
        "p", "", target, {"TargetValue": 0.7}, alarms
    )


def test_a_utilization_is_brought_to_the_target():
    for current, side, values, wanted in (
        (10, 0, [1.0], 15), (10, 0, [0.8], 12), (10, 1, [0.1, 0.35, 0.0], 5), (10, 1, [0.0], 0), (1, 0, [0.71], 2),
    ):  # fmt: skip
        asked_of, policy = moment(current)
        policy.alarms[side].state, policy.alarms[side].values = "ALARM", values
        assert asked_of.wanted([policy], [])[0] == wanted, (current, values)
    # Nothing is wanted while no alarm is on, and the bounds hold whatever the alarms say.
    asked_of, policy = moment(10)
    assert asked_of.wanted([policy], [])[0] == 10
    asked_of, policy = moment(0, low=2)
    assert asked_of.wanted([policy], [])[0] == 2


def test_what_registering_a_function_asks_for():
    call = asked.Call("application-autoscaling", "RegisterScalableTarget", {**WHAT, "ResourceId": "function:f:live"},
                      "111122223333", "us-east-1")  # fmt: skip
    found = {(each.action, each.resource): each.keys for each in questions.questions(call)}
    function = "arn:aws:lambda:us-east-1:111122223333:function:f:live"
    role = (
        "arn:aws:iam::111122223333:role/aws-service-role/lambda.application-autoscaling.amazonaws.com/"
        "AWSServiceRoleForApplicationAutoScaling_LambdaConcurrency"
    )
    assert set(found) == {
        ("application-autoscaling:RegisterScalableTarget",
         "arn:aws:application-autoscaling:us-east-1:111122223333:scalable-target/*"),
        ("lambda:GetProvisionedConcurrencyConfig", function), ("lambda:PutProvisionedConcurrencyConfig", function),
        ("lambda:DeleteProvisionedConcurrencyConfig", function), ("iam:CreateServiceLinkedRole", role),
    }  # fmt: skip
    assert found["iam:CreateServiceLinkedRole", role] == {
        "iam:awsservicename": ("lambda.application-autoscaling.amazonaws.com",)
    }


@pytest.fixture(scope="module")
def functions(local_aws):
    return local_aws.client("lambda")


@pytest.fixture(scope="module")
def scaling(local_aws):
    return local_aws.client("application-autoscaling")


@pytest.fixture(scope="module")
def resource(functions, role_arn, wait_for):
    """A function's alias, without provisioned concurrency."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", SOURCE)
    functions.create_function(FunctionName="scaled", Runtime="python3.12", Handler="app.handler", Role=role_arn,
                              Timeout=60, Code={"ZipFile": buffer.getvalue()})  # fmt: skip
    wait_for(lambda: functions.get_function_configuration(FunctionName="scaled")["State"] == "Active")
    functions.publish_version(FunctionName="scaled")
    functions.create_alias(FunctionName="scaled", Name="live", FunctionVersion="1")
    yield "function:scaled:live"
    functions.delete_function(FunctionName="scaled")


@contextmanager
def load(functions, callers):
    """Calls that keep so many environments busy, one after the other: most of the time on a slow machine, too."""
    stop = threading.Event()

    def call():
        while not stop.is_set():
            functions.invoke(FunctionName="scaled", Qualifier="live", Payload=json.dumps({"sleep": 2}))

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        stop.set()
        for each in threads:
            each.join()


def test_a_function_scales_out_under_load_and_in_when_it_is_quiet(local_aws, functions, scaling, resource, wait_for):
    def ready():
        """How many environments are asked for and there; (0, 0) without a configuration."""
        found = functions.list_provisioned_concurrency_configs(FunctionName="scaled")["ProvisionedConcurrencyConfigs"]
        names = ("RequestedProvisionedConcurrentExecutions", "AvailableProvisionedConcurrentExecutions")
        return tuple(found[0][name] for name in names) if found else (0, 0)

    # GIVEN a target, whose minimum is prepared although nobody has asked for provisioned concurrency
    what = {"ResourceId": resource, **WHAT}
    scaling.register_scalable_target(MinCapacity=1, MaxCapacity=3, **what)
    (target,) = scaling.describe_scalable_targets(ServiceNamespace="lambda")["ScalableTargets"]
    assert target["ResourceId"] == resource
    role = local_aws.client("iam").get_role(RoleName=target["RoleARN"].rpartition("/")[2])["Role"]
    assert (role["Arn"], role["Path"]) == (
        target["RoleARN"], "/aws-service-role/lambda.application-autoscaling.amazonaws.com/",
    )  # fmt: skip
    wait_for(lambda: ready() == (1, 1))
    policy = scaling.put_scaling_policy(
        PolicyName="keep-up", PolicyType="TargetTrackingScaling", **what,
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 0.5, "PredefinedMetricSpecification": {"PredefinedMetricType": UTILIZATION},
        },
    )  # fmt: skip
    assert f":resource/lambda/{resource}:policyName/keep-up" in policy["PolicyARN"]
    assert policy["Alarms"][0]["AlarmName"].startswith(f"TargetTracking-{resource}-AlarmHigh-")
    # WHEN all that is provisioned is busy THEN there is more of it, up to the maximum
    with load(functions, 3):
        wait_for(lambda: ready() == (3, 3), 120, "it did not scale out")
    # THEN, when it is quiet, it is the minimum again
    wait_for(lambda: ready() == (1, 1), 120, "it did not scale in")

    def told():
        found = scaling.describe_scaling_activities(ServiceNamespace="lambda", ResourceId=resource)
        return [(each["Description"], each["StatusMessage"]) for each in found["ScalingActivities"]]

    wait_for(lambda: "Waiting" not in told()[0][1])
    assert told()[-1] == (
        "Setting desired concurrency to 1.",
        "Successfully set desired concurrency to 1. Change successfully fulfilled by lambda.",
    )
    assert "Setting desired concurrency to 3." in {each[0] for each in told()}
    metrics = local_aws.client("cloudwatch").list_metrics(Namespace="AWS/Lambda", Dimensions=[
        {"Name": "FunctionName", "Value": "scaled"}, {"Name": "Resource", "Value": "scaled:live"}
    ])["Metrics"]  # fmt: skip
    names = {each["MetricName"] for each in metrics}
    assert {"ProvisionedConcurrencyUtilization", "ProvisionedConcurrentExecutions"} <= names

    # WHEN a scheduled action lowers the bounds to nothing THEN nothing is provisioned any more
    scaling.put_scheduled_action(ScheduledActionName="night", Schedule="rate(1 minute)", **what,
                                 ScalableTargetAction={"MinCapacity": 0, "MaxCapacity": 0})  # fmt: skip
    wait_for(lambda: ready() == (0, 0))
    (action,) = scaling.describe_scheduled_actions(ServiceNamespace="lambda")["ScheduledActions"]
    assert action["ResourceId"] == resource
    # THEN what the service does not take is an activity that failed
    functions.put_function_concurrency(FunctionName="scaled", ReservedConcurrentExecutions=1)
    scaling.delete_scheduled_action(ScheduledActionName="night", **what)
    scaling.register_scalable_target(MinCapacity=2, MaxCapacity=2, **what)
    wait_for(lambda: "Requested Provisioned Concurrency should not be greater" in told()[0][1])
    functions.delete_function_concurrency(FunctionName="scaled")
    wait_for(lambda: ready() == (2, 2))
    scaling.deregister_scalable_target(**what)
    assert scaling.describe_scaling_policies(ServiceNamespace="lambda")["ScalingPolicies"] == []
    functions.delete_provisioned_concurrency_config(FunctionName="scaled", Qualifier="live")


def test_what_is_refused(scaling, resource):
    bounds = {"MinCapacity": 1, "MaxCapacity": 2}
    for changed, says in (
        ({"ResourceId": "function:scaled:nobody"}, "Lambda function, version or alias doesn't exist"),
        ({"ResourceId": "function:nobody:live"}, "Lambda function, version or alias doesn't exist"),
        ({"ResourceId": "function:scaled:$LATEST"}, "must look like function:NAME:ALIAS"),
        ({"ResourceId": "endpoint/e/variant/v"}, "must look like function:NAME:ALIAS"),
        ({"ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}, "scales sagemaker's"),
        ({"ServiceNamespace": "ecs"}, "not ecs's"),
        ({"MinCapacity": -1}, "must be at least 0, not -1"),
    ):
        code, message = refusal(
            scaling.register_scalable_target, **{"ResourceId": resource, **WHAT, **bounds, **changed}
        )
        assert (code, says in message) == ("ValidationException", True), message
    scaling.register_scalable_target(ResourceId=resource, MinCapacity=0, MaxCapacity=2, **WHAT)
    asked_for = {"ResourceId": resource, "PolicyName": "p", **WHAT}
    tracked = {"TargetValue": 1.0, "PredefinedMetricSpecification": {
        "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}}  # fmt: skip
    code, message = refusal(scaling.put_scaling_policy, PolicyType="TargetTrackingScaling",
                            TargetTrackingScalingPolicyConfiguration=tracked, **asked_for)  # fmt: skip
    assert message.endswith(f"is not one of a function's provisioned concurrency: it must be {UTILIZATION}.")
    code, message = refusal(scaling.put_scaling_policy, PolicyType="StepScaling", StepScalingPolicyConfiguration={
        "AdjustmentType": "ChangeInCapacity", "StepAdjustments": [{"ScalingAdjustment": 1}]}, **asked_for)  # fmt: skip
    assert (code, "Step scaling is not supported for" in message) == ("ValidationException", True)
    scaling.deregister_scalable_target(ResourceId=resource, **WHAT)
