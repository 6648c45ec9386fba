"""A resource has one owner: what lives here is answered here or refused by name, and moto is not asked about it."""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile

import pytest
from botocore.exceptions import ClientError

from local_aws.pipeline import owners
from local_aws.pipeline.kinds import KINDS
from local_aws.support import implemented_by_moto, own_operations, supported_by_moto
from tests.local_aws.test_pipeline import code_of

OURS = {
    "lambda": {"function", "event source mapping", "code signing config", "layer"},
    "sagemaker": {"training-job", "hyper-parameter-tuning-job", "endpoint"},
    "sagemaker-runtime": {"endpoint"},
    "cloudwatch": {"alarm", "metric"},
    "application-autoscaling": {"scalable-target"},
    "ec2": {"spot-instances-request"},
    "ec2-instance-connect": {"instance"},
}


def rows(service):
    return owners.table(service, own_operations().get(service, set()), supported_by_moto(service) or ())


def test_moto_is_asked_about_nothing_that_lives_here():
    assert {service: {kind.name for kind in kinds if kind.ours} for service, kinds in KINDS.items()} == {
        service: OURS.get(service, set()) for service in KINDS
    }
    for service in OURS:
        for row in rows(service):
            if any(kind.ours for kind in row.kinds):
                assert row.owner in {owners.OURS, owners.REFUSED}, row
                assert row.operation not in (supported_by_moto(service) or ()), row


@pytest.mark.parametrize(
    ("service", "operation", "kinds"),
    [
        ("lambda", "PutFunctionEventInvokeConfig", {"function"}),
        ("lambda", "CreateEventSourceMapping", {"function", "event source mapping"}),
        ("lambda", "GetFunctionUrlConfig", {"function"}),
        ("lambda", "AddLayerVersionPermission", {"layer"}),
        ("lambda", "ListAliases", {"function"}),
        ("sagemaker", "DescribeEndpointConfig", {"endpoint-config"}),
        ("sagemaker", "CreateEndpoint", {"endpoint", "endpoint-config"}),
        ("sagemaker", "ListTrainingJobsForHyperParameterTuningJob", {"training-job", "hyper-parameter-tuning-job"}),
        ("sagemaker", "ListDataQualityJobDefinitions", set()),
        ("cloudwatch", "EnableAlarmActions", {"alarm"}),
        ("cloudwatch", "UntagResource", {"alarm"}),
        ("cloudwatch", "PutDashboard", {"dashboard"}),
        ("ec2", "DescribeSpotPriceHistory", {"instance"}),
    ],
)
def test_what_an_operation_touches(service, operation, kinds):
    assert {kind.name for kind in owners.touched(service, operation)} == kinds


def test_what_is_not_carried_out_is_refused_by_name(local_aws):
    refused = [row for service in OURS for row in rows(service) if row.owner == owners.REFUSED]
    invented = [row for row in refused if row.operation in (implemented_by_moto(row.service) or ())]
    assert len(invented) > 5, "these moto would answer from its own records"
    functions, scaling = local_aws.client("lambda"), local_aws.client("application-autoscaling")
    with pytest.raises(ClientError, match="does not support PutFunctionRecursionConfig of lambda"):
        functions.put_function_recursion_config(FunctionName="anything", RecursiveLoop="Allow")
    assert code_of(functions.list_event_source_mappings) == "UnsupportedOperation"
    target = "arn:aws:application-autoscaling:us-east-1:123456789012:scalable-target/1"
    assert code_of(scaling.list_tags_for_resource, ResourceARN=target) == "UnsupportedOperation"


def test_actions_and_tags_of_alarms(local_aws):
    # GIVEN an alarm with a tag
    cloudwatch = local_aws.client("cloudwatch")
    metric = {"Namespace": "owners", "MetricName": "m", "Dimensions": [{"Name": "a", "Value": "b"}]}
    cloudwatch.put_metric_alarm(
        AlarmName="owned", **metric, Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1,
        ComparisonOperator="GreaterThanThreshold", Tags=[{"Key": "of", "Value": "me"}],
    )  # fmt: skip
    (alarm,) = cloudwatch.describe_alarms_for_metric(**metric)["MetricAlarms"]
    assert alarm["AlarmName"] == "owned"
    assert cloudwatch.describe_alarms_for_metric(**metric, Statistic="Average")["MetricAlarms"] == []
    # WHEN its actions are switched off, and on
    cloudwatch.disable_alarm_actions(AlarmNames=["owned", "no such alarm"])
    assert cloudwatch.describe_alarms(AlarmNames=["owned"])["MetricAlarms"][0]["ActionsEnabled"] is False
    cloudwatch.enable_alarm_actions(AlarmNames=["owned"])
    assert cloudwatch.describe_alarms(AlarmNames=["owned"])["MetricAlarms"][0]["ActionsEnabled"] is True
    # THEN its tags are its own, and moto's resources have theirs
    arn = alarm["AlarmArn"]
    cloudwatch.tag_resource(ResourceARN=arn, Tags=[{"Key": "more", "Value": "1"}])
    cloudwatch.untag_resource(ResourceARN=arn, TagKeys=["of"])
    assert cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "more", "Value": "1"}]
    assert code_of(cloudwatch.list_tags_for_resource, ResourceARN=f"{arn}-unknown") == "ResourceNotFoundException"
    cloudwatch.delete_alarms(AlarmNames=["owned"])
    assert code_of(cloudwatch.list_tags_for_resource, ResourceARN=arn) == "ResourceNotFoundException"


@pytest.mark.slow
def test_how_often_a_failed_event_is_tried_again(local_aws, role_arn, wait_for):
    # GIVEN a function that always fails, whose events are tried once, and one whose events are tried again
    functions, cloudwatch = local_aws.client("lambda"), local_aws.client("cloudwatch")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.py", "def handler(event, context):\n    raise ValueError(event)\n")
    names = ("tried-once", "tried-again")
    for name in names:
        functions.create_function(FunctionName=name, Runtime="python3.12", Role=role_arn, Handler="a.handler",
                                  Code={"ZipFile": buffer.getvalue()})  # fmt: skip
        functions.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    put = functions.put_function_event_invoke_config(FunctionName="tried-once", MaximumRetryAttempts=0)
    assert put["FunctionArn"].endswith(":function:tried-once:$LATEST")
    functions.update_function_event_invoke_config(FunctionName="tried-once", MaximumEventAgeInSeconds=3600)
    kept = functions.get_function_event_invoke_config(FunctionName="tried-once")
    assert (kept["MaximumRetryAttempts"], kept["MaximumEventAgeInSeconds"]) == (0, 3600)
    listed = functions.list_function_event_invoke_configs(FunctionName="tried-once")["FunctionEventInvokeConfigs"]
    assert [each["MaximumRetryAttempts"] for each in listed] == [0]
    topic = {"OnFailure": {"Destination": "arn:aws:sns:us-east-1:123456789012:t"}}
    with pytest.raises(ClientError, match="DestinationConfig"):
        functions.put_function_event_invoke_config(FunctionName="tried-once", DestinationConfig=topic)
    # WHEN an event comes for each
    for name in names:
        functions.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")

    def errors(name):
        found = cloudwatch.get_metric_statistics(
            Namespace="AWS/Lambda", MetricName="Errors", Dimensions=[{"Name": "FunctionName", "Value": name}],
            StartTime=time.time() - 600, EndTime=time.time() + 60, Period=60, Statistics=["Sum"],
        )  # fmt: skip
        return sum(each["Sum"] for each in found["Datapoints"])

    # THEN one has been tried three times by when the other was tried once
    wait_for(lambda: errors("tried-again") == 3)
    assert errors("tried-once") == 1
    functions.delete_function_event_invoke_config(FunctionName="tried-once")
    assert code_of(functions.get_function_event_invoke_config, FunctionName="tried-once") == "ResourceNotFoundException"


@pytest.mark.parametrize("kind", ["AWS::Lambda::Url", "AWS::EC2::SpotFleet", "Custom::Anything"])
def test_cloudformation_says_of_nothing_that_lives_here_that_it_was_made(local_aws, kind):
    stacks, topic = local_aws.client("cloudformation"), {"Type": "AWS::SNS::Topic"}
    name = f"refused-{uuid.uuid4().hex[:8]}"
    template = json.dumps({"Resources": {"Topic": topic, "Ours": {"Type": kind}}})
    with pytest.raises(ClientError, match=f"does not make {kind} .Ours.") as caught:
        stacks.create_stack(StackName=name, TemplateBody=template)
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    assert code_of(stacks.describe_stacks, StackName=name) == "ValidationError"
    # WHEN a change would make it THEN it is refused
    stacks.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": {"Topic": topic}}))
    with pytest.raises(ClientError, match=f"does not make {kind} .Ours."):
        stacks.update_stack(StackName=name, TemplateBody=template)
    stacks.delete_stack(StackName=name)


def test_stack_sets_make_nothing_that_lives_here(local_aws):
    stacks, name = local_aws.client("cloudformation"), f"set-{uuid.uuid4().hex[:8]}"
    template = {"Resources": {"Ours": {"Type": "AWS::Lambda::Function", "Properties": {}}}}
    stacks.create_stack_set(StackSetName=name, TemplateBody=json.dumps(template))
    with pytest.raises(ClientError, match=r"stack sets do not make AWS::Lambda::Function \(Ours\)"):
        stacks.create_stack_instances(StackSetName=name, Accounts=["123456789012"], Regions=["us-east-1"])
    stacks.delete_stack_set(StackSetName=name)
