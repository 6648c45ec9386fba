"""CloudFormation makes, changes and deletes what lives here through its services' own operations."""

from __future__ import annotations

import hashlib
import json
import uuid

import pytest
from botocore.exceptions import ClientError

from tests.local_aws.daemon import make_role
from tests.local_aws.ec2_hosts import Hosts, processes
from tests.local_aws.serving import IMAGE, MODEL, Serving, archive
from tests.local_aws.test_pipeline import code_of

CODE = "def handler(event, context):\n    return {}\n"


def function(role, *, text=CODE, **more):
    given = {"Runtime": "python3.12", "Role": role, "Handler": "index.handler", "Code": {"ZipFile": text}, **more}
    return {"Type": "AWS::Lambda::Function", "Properties": given}


def alarm(**more):
    given = {
        "Namespace": "stacks", "MetricName": "m", "Statistic": "Sum", "Period": "60", "EvaluationPeriods": 1,
        "Threshold": "1", "ComparisonOperator": "GreaterThanThreshold", **more,
    }  # fmt: skip
    return {"Type": "AWS::CloudWatch::Alarm", "Properties": given}


class Stacks:
    """The stacks of one test."""

    def __init__(self, aws, wait_for):
        self.client, self._wait_for = aws.client("cloudformation"), wait_for
        self.name = f"s{uuid.uuid4().hex[:8]}"

    def create(self, resources, *, name="", wait=True, **request):
        options = {key: request.pop(key) for key in ("OnFailure", "Tags", "Parameters") if key in request}
        body = json.dumps({"Resources": resources, **request})
        found = self.client.create_stack(StackName=name or self.name, TemplateBody=body, **options)["StackId"]
        return self.settled(found) if wait else found

    def update(self, resources, **request):
        options = {key: request.pop(key) for key in ("Tags", "Parameters") if key in request}
        body = json.dumps({"Resources": resources, **request})
        return self.settled(self.client.update_stack(StackName=self.name, TemplateBody=body, **options)["StackId"])

    def settled(self, stack=None):
        def look():
            found = self.client.describe_stacks(StackName=stack or self.name)["Stacks"][0]
            return found if not found["StackStatus"].endswith("_IN_PROGRESS") else None

        return self._wait_for(look)

    def delete(self, name=""):
        found = self.client.describe_stacks(StackName=name or self.name)["Stacks"][0]
        self.client.delete_stack(StackName=found["StackId"])
        return self.settled(found["StackId"])

    def resources(self, stack=None):
        found = self.client.describe_stack_resources(StackName=stack or self.name)["StackResources"]
        return {each["LogicalResourceId"]: each for each in found}

    def events(self, stack=None):
        found = self.client.describe_stack_events(StackName=stack or self.name)["StackEvents"]
        return [(each["LogicalResourceId"], each["ResourceStatus"]) for each in reversed(found)]


@pytest.fixture
def stacks(local_aws, wait_for):
    made = Stacks(local_aws, wait_for)
    yield made
    for each in made.client.describe_stacks()["Stacks"]:
        if each["StackName"].startswith(made.name):
            made.client.delete_stack(StackName=each["StackId"])


def outputs(stack):
    return {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", ())}


def test_a_function_with_its_versions_and_an_alarm_on_it_live_and_go_with_the_stack(local_aws, stacks, role_arn):
    functions, cloudwatch = local_aws.client("lambda"), local_aws.client("cloudwatch")
    # GIVEN a template whose resources refer to each other, in an order that is not the one in which they are made
    resources = {
        "Alarm": alarm(Dimensions=[{"Name": "FunctionName", "Value": {"Ref": "Function"}}]),
        "Permission": {
            "Type": "AWS::Lambda::Permission",
            "Properties": {
                "FunctionName": {"Fn::GetAtt": ["Function", "Arn"]}, "Action": "lambda:InvokeFunction",
                "Principal": "events.amazonaws.com",
            },
        },
        "Alias": {
            "Type": "AWS::Lambda::Alias",
            "Properties": {
                "Name": "live", "FunctionName": {"Ref": "Function"},
                "FunctionVersion": {"Fn::GetAtt": ["Version", "Version"]},
                "ProvisionedConcurrencyConfig": {"ProvisionedConcurrentExecutions": 1},
            },
        },
        "Scaled": {
            "Type": "AWS::ApplicationAutoScaling::ScalableTarget", "DependsOn": "Alias",
            "Properties": {
                "ServiceNamespace": "lambda", "ScalableDimension": "lambda:function:ProvisionedConcurrency",
                "ResourceId": {"Fn::Sub": "function:${Function}:live"}, "MinCapacity": 1, "MaxCapacity": 1,
            },
        },
        "Version": {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "Function"}}},
        "Function": function(
            role_arn, Timeout="7", Environment={"Variables": {"MUCH": 1}}, Tags=[{"Key": "own", "Value": "1"}]
        ),
    }  # fmt: skip
    shown = {
        "Name": {"Value": {"Ref": "Function"}, "Description": "what it is called"},
        "Arn": {"Value": {"Fn::GetAtt": ["Function", "Arn"]}},
        "Alias": {"Value": {"Ref": "Alias"}},
        "Version": {"Value": {"Ref": "Version"}},
        "AlarmArn": {"Value": {"Fn::GetAtt": "Alarm.Arn"}},
    }
    # WHEN a stack is made of it
    made = stacks.create(resources, Outputs=shown, Tags=[{"Key": "of", "Value": "stack"}])
    # THEN they live, under the names that the stack gave them
    assert made["StackStatus"] == "CREATE_COMPLETE"
    given = outputs(made)
    assert given["Name"].startswith(f"{stacks.name}-Function-")
    found = functions.get_function(FunctionName=given["Name"])
    assert (found["Configuration"]["Timeout"], found["Configuration"]["FunctionArn"]) == (7, given["Arn"])
    assert found["Configuration"]["Environment"]["Variables"] == {"MUCH": "1"}
    assert found["Tags"] == {"of": "stack", "own": "1"}
    answer = functions.invoke(FunctionName=given["Name"], Qualifier="live")
    assert json.load(answer["Payload"]) == {}
    assert (given["Version"], given["Alias"]) == (f"{given['Arn']}:1", f"{given['Arn']}:live")
    (statement,) = json.loads(functions.get_policy(FunctionName=given["Name"])["Policy"])["Statement"]
    assert statement["Sid"] == stacks.resources()["Permission"]["PhysicalResourceId"]
    name = stacks.resources()["Alarm"]["PhysicalResourceId"]
    (described,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert (described["AlarmArn"], described["Period"]) == (given["AlarmArn"], 60)
    assert described["Dimensions"][0]["Value"] == given["Name"]
    assert {each["ResourceStatus"] for each in stacks.resources().values()} == {"CREATE_COMPLETE"}
    # WHEN something of each is changed
    resources["Function"] = function(role_arn, text=CODE.replace("{}", "{'a': 1}"), Timeout=9)
    resources["Alarm"]["Properties"]["Threshold"] = 5
    del resources["Permission"]
    changed = stacks.update(resources, Outputs=shown)
    # THEN they are, and remain the same
    assert changed["StackStatus"] == "UPDATE_COMPLETE"
    assert outputs(changed) == given
    assert json.load(functions.invoke(FunctionName=given["Name"])["Payload"]) == {"a": 1}
    now = functions.get_function(FunctionName=given["Name"])
    assert now["Configuration"]["Timeout"] == 9
    assert "Environment" not in now["Configuration"] or not now["Configuration"]["Environment"].get("Variables")
    assert now["Tags"] == {"of": "stack"}
    assert cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["Threshold"] == 5
    assert code_of(functions.get_policy, FunctionName=given["Name"]) == "ResourceNotFoundException"
    assert ("Permission", "DELETE_COMPLETE") in stacks.events()
    assert ("Version", "UPDATE_COMPLETE") not in stacks.events(), "nothing of it was changed"
    # WHEN the stack is deleted THEN they are gone
    assert stacks.delete()["StackStatus"] == "DELETE_COMPLETE"
    assert code_of(functions.get_function, FunctionName=given["Name"]) == "ResourceNotFoundException"
    assert cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"] == []


def test_a_creation_that_fails_is_undone(local_aws, stacks, role_arn):
    # GIVEN a template of which the second resource cannot be made
    resources = {
        "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": f"{stacks.name}-topic"}},
        "Function": {**function(role_arn, Timeout=901), "DependsOn": "Topic"},
        "After": {**alarm(), "DependsOn": ["Function"]},
    }
    # WHEN a stack is made of it
    made = stacks.create(resources)
    # THEN it says which failed, and why, and nothing is left
    assert made["StackStatus"] == "ROLLBACK_COMPLETE"
    found = stacks.resources()
    assert (found["Topic"]["ResourceStatus"], found["Function"]["ResourceStatus"]) == (
        "DELETE_COMPLETE", "CREATE_FAILED",
    )  # fmt: skip
    reason = found["Function"]["ResourceStatusReason"]
    assert "Service: Lambda, Status Code: 400" in reason
    assert "less than or equal to 900" in reason
    assert "After" not in found
    events = stacks.events()
    assert events.index(("Function", "CREATE_FAILED")) < events.index((stacks.name, "ROLLBACK_IN_PROGRESS"))
    assert stacks.name not in json.dumps(local_aws.client("sns").list_topics()["Topics"])
    # AND it cannot be updated, only deleted
    with pytest.raises(ClientError, match="is in ROLLBACK_COMPLETE state and can not be updated"):
        stacks.update({"Topic": resources["Topic"]})
    assert stacks.delete()["StackStatus"] == "DELETE_COMPLETE"
    # WHEN it is to stay, or to be deleted
    made = stacks.create(resources, OnFailure="DO_NOTHING")
    assert made["StackStatus"] == "CREATE_FAILED"
    assert made["StackStatusReason"] == "The following resource(s) failed to create: [Function]. "
    assert stacks.resources()["Topic"]["ResourceStatus"] == "CREATE_COMPLETE"
    stacks.delete()
    assert stacks.create(resources, OnFailure="DELETE")["StackStatus"] == "DELETE_COMPLETE"
    assert code_of(stacks.client.describe_stacks, StackName=stacks.name) == "ValidationError"


def test_an_update_that_fails_is_rolled_back(local_aws, stacks, role_arn):
    cloudwatch = local_aws.client("cloudwatch")
    before = {"Alarm": alarm(AlarmName=f"{stacks.name}-a"), "Function": function(role_arn)}
    stacks.create(before)
    name = stacks.resources()["Function"]["PhysicalResourceId"]
    # WHEN one resource is changed, one made, and one fails
    after = {
        "Alarm": alarm(AlarmName=f"{stacks.name}-a", Threshold=7),
        "New": {**alarm(AlarmName=f"{stacks.name}-b"), "DependsOn": "Alarm"},
        "Function": {**function(role_arn, MemorySize=20_000), "DependsOn": "New"},
    }
    assert stacks.update(after)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    # THEN everything is as it was
    (left,) = cloudwatch.describe_alarms(AlarmNamePrefix=stacks.name)["MetricAlarms"]
    assert (left["AlarmName"], left["Threshold"]) == (f"{stacks.name}-a", 1)
    assert local_aws.client("lambda").get_function(FunctionName=name)["Configuration"]["MemorySize"] == 128
    assert ("Function", "UPDATE_FAILED") in stacks.events()
    # AND the same template is no change, and the other one can be tried again
    with pytest.raises(ClientError, match="No updates are to be performed"):
        stacks.update(before)
    del after["Function"]["Properties"]["MemorySize"]
    assert stacks.update(after)["StackStatus"] == "UPDATE_COMPLETE"
    # AND what has a name of its own cannot be replaced
    again = {**after, "Rule": {"Type": "AWS::SageMaker::ModelPackageGroup", "Properties": {
        "ModelPackageGroupName": f"{stacks.name}-g", "ModelPackageGroupDescription": "one"}}}  # fmt: skip
    stacks.update(again)
    other = json.loads(json.dumps(again).replace('"one"', '"two"'))
    assert stacks.update(other)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    events = stacks.client.describe_stack_events(StackName=stacks.name)["StackEvents"]
    assert any(
        f"Rename {stacks.name}-g and update the stack again." in each.get("ResourceStatusReason", "") for each in events
    )


def test_what_cannot_be_deleted_is_said_and_can_be_kept(local_aws, stacks):
    s3, bucket = local_aws.client("s3"), f"{stacks.name}-b"
    named = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": bucket}}
    kept = {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain", "Properties": {"BucketName": f"{stacks.name}-kept"}}
    stacks.create({"Bucket": named, "Kept": kept})
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    # WHEN it is deleted with something in its bucket THEN it says so
    assert stacks.delete()["StackStatus"] == "DELETE_FAILED"
    found = stacks.resources()
    assert (
        "BucketNotEmpty" in found["Bucket"]["ResourceStatusReason"]
        or "not empty" in found["Bucket"]["ResourceStatusReason"]
    )
    assert (found["Bucket"]["ResourceStatus"], found["Kept"]["ResourceStatus"]) == ("DELETE_FAILED", "DELETE_SKIPPED")
    # WHEN it is told to keep it THEN it ends without it
    stacks.client.delete_stack(StackName=stacks.name, RetainResources=["Bucket"])
    assert code_of(stacks.client.describe_stacks, StackName=stacks.name) == "ValidationError"
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"1"
    s3.delete_object(Bucket=bucket, Key="a")
    s3.delete_bucket(Bucket=bucket)
    s3.delete_bucket(Bucket=f"{stacks.name}-kept")


def test_change_sets(local_aws, stacks):
    client, one = stacks.client, {"Alarm": alarm(AlarmName=f"{stacks.name}-a")}
    parameters = {"Much": {"Type": "Number", "Default": 1}}
    body = json.dumps({"Parameters": parameters, "Resources": {"Alarm": alarm(Threshold={"Ref": "Much"})}})

    def change_set(kind, text, name, **more):
        made = client.create_change_set(
            StackName=stacks.name, ChangeSetName=name, ChangeSetType=kind, TemplateBody=text, **more
        )
        return client.describe_change_set(ChangeSetName=made["Id"])

    def changes(described):
        found = [each["ResourceChange"] for each in described["Changes"]]
        return [(each["Action"], each["LogicalResourceId"], each.get("Replacement")) for each in found]

    # GIVEN one that makes a stack
    first = change_set("CREATE", body, "first")
    assert (first["Status"], first["ExecutionStatus"]) == ("CREATE_COMPLETE", "AVAILABLE")
    assert changes(first) == [("Add", "Alarm", None)]
    assert stacks.resources() == {}
    client.execute_change_set(ChangeSetName="first", StackName=stacks.name)
    assert stacks.settled()["StackStatus"] == "CREATE_COMPLETE"
    # WHEN nothing is changed THEN it is no change set, and cannot be executed
    empty = change_set("UPDATE", body, "empty")
    assert (empty["Status"], empty["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    assert empty["StatusReason"] == (
        "The submitted information didn't contain changes. Submit different information to create a change set."
    )
    assert code_of(client.execute_change_set, ChangeSetName="empty", StackName=stacks.name) == "InvalidChangeSetStatus"
    # WHEN a parameter is THEN it says of what, and does it
    more = change_set("UPDATE", body, "more", Parameters=[{"ParameterKey": "Much", "ParameterValue": "3"}])
    assert changes(more) == [("Modify", "Alarm", "False")]
    client.execute_change_set(ChangeSetName=more["ChangeSetId"])
    assert stacks.settled()["StackStatus"] == "UPDATE_COMPLETE"
    (found,) = local_aws.client("cloudwatch").describe_alarms(AlarmNamePrefix=stacks.name)["MetricAlarms"]
    assert found["Threshold"] == 3
    # AND of what would be another one in its place, one more, and one less
    other = change_set("UPDATE", json.dumps({"Resources": {**one, "New": alarm()}}), "other")
    assert changes(other) == [("Modify", "Alarm", "True"), ("Add", "New", None)]
    gone = change_set("UPDATE", json.dumps({"Resources": {"New": alarm()}}), "gone")
    assert ("Remove", "Alarm", None) in changes(gone)
    # AND a name belongs to a stack: the same one of another stack is another one
    beside = {"StackName": f"{stacks.name}-beside", "ChangeSetName": "gone"}
    client.create_change_set(**beside, ChangeSetType="CREATE", TemplateBody=json.dumps({"Resources": {"B": alarm()}}))
    assert changes(client.describe_change_set(**beside)) == [("Add", "B", None)]
    assert changes(client.describe_change_set(ChangeSetName="gone", StackName=stacks.name)) == changes(gone)
    assert code_of(client.describe_change_set, ChangeSetName="gone") == "ValidationError"
    client.delete_change_set(**beside)
    client.delete_change_set(**beside)
    assert code_of(client.describe_change_set, **beside) == "ChangeSetNotFound"
    assert client.list_change_sets(StackName=beside["StackName"])["Summaries"] == []
    client.delete_stack(StackName=beside["StackName"])
    listed = client.list_change_sets(StackName=stacks.name)["Summaries"]
    assert {each["ChangeSetName"] for each in listed} == {"more", "other", "gone"}


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ({"Resources": {"A": alarm(AlarmDescription={"Ref": "B"})}}, r"dependencies \[B\] in the Resources"),
        ({"Resources": {"A": alarm()}, "Outputs": {"O": {"Value": {"Fn::GetAtt": ["A", "Nope"]}}}},
         "resource A does not support attribute type Nope in Fn::GetAtt"),
        ({"Resources": {"A": {**alarm(), "DependsOn": "B"}, "B": {**alarm(), "DependsOn": "A"}}},
         r"Circular dependency between resources: \[A, B\]"),
        ({"Resources": {"A": alarm()}, "Parameters": {"P": {"Type": "String"}}}, r"Parameters: \[P\] must have values"),
        ({"Resources": {"A": {"Type": "AWS::Lambda::Url"}}}, r"does not make AWS::Lambda::Url \(A\): leave it out"),
        ({"Resources": {"A": {"Type": "AWS::IAM::Role", "Properties": {}}}}, r"capabilities : \[CAPABILITY_IAM\]"),
        ({"Resources": {}}, "At least one Resources member must be defined"),
        ({"Resources": {"A": alarm()}, "Transform": "AWS::Serverless-2016-10-31"}, "carries out no macros"),
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_made_is_refused_before_anything_is(local_aws, stacks, template, sentence):
    with pytest.raises(ClientError, match=sentence):
        stacks.client.create_stack(StackName=stacks.name, TemplateBody=json.dumps(template))
    assert code_of(stacks.client.describe_stacks, StackName=stacks.name) == "ValidationError"


def test_stacks_know_of_each_other(local_aws, stacks, bucket):
    # GIVEN a stack that exports something, and one that imports it, in a stack
    exported = {"Name": {"Value": {"Ref": "Alarm"}, "Export": {"Name": f"{stacks.name}-alarm"}}}
    stacks.create({"Alarm": alarm()}, Outputs=exported)
    name = stacks.resources()["Alarm"]["PhysicalResourceId"]
    inner = {
        "Parameters": {"Many": {"Type": "CommaDelimitedList"}},
        "Resources": {"Copy": alarm(AlarmDescription={"Fn::ImportValue": f"{stacks.name}-alarm"})},
        "Outputs": {"Many": {"Value": {"Fn::Join": ["-", {"Ref": "Many"}]}}},
    }
    local_aws.client("s3").put_object(Bucket=bucket, Key="inner.json", Body=json.dumps(inner))
    url = f"https://{bucket}.s3.amazonaws.com/inner.json"
    properties = {"TemplateURL": url, "Parameters": {"Many": ["a", "b"]}}
    outer = stacks.create(
        {"Inner": {"Type": "AWS::CloudFormation::Stack", "Properties": properties}},
        name=f"{stacks.name}-outer",
        Outputs={"Many": {"Value": {"Fn::GetAtt": ["Inner", "Outputs.Many"]}}},
    )
    # THEN each gets what it asks for
    assert outputs(outer) == {"Many": "a-b"}
    alarms = local_aws.client("cloudwatch").describe_alarms(AlarmNamePrefix=stacks.name)["MetricAlarms"]
    assert name in [each.get("AlarmDescription") for each in alarms]
    # AND a name is exported once, and the inner one goes with the outer one
    other = stacks.create({"Alarm": alarm()}, name=f"{stacks.name}-other", Outputs=exported)
    assert other["StackStatus"] == "ROLLBACK_COMPLETE"
    inside = stacks.resources(f"{stacks.name}-outer")["Inner"]["PhysicalResourceId"]
    stacks.delete(f"{stacks.name}-outer")
    assert stacks.settled(inside)["StackStatus"] == "DELETE_COMPLETE"


SLOW = """
import time

def model_fn(model_dir):
    time.sleep(5)
"""


def test_a_role_has_a_policy_of_aws(local_aws, stacks):
    iam, full = local_aws.client("iam"), "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"
    takes = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = {"Version": "2012-10-17", "Statement": [takes]}
    role = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": trust, "ManagedPolicyArns": [full]}}
    stacks.client.create_stack(
        StackName=stacks.name, TemplateBody=json.dumps({"Resources": {"Role": role}}), Capabilities=["CAPABILITY_IAM"]
    )
    name = stacks.resources()["Role"]["PhysicalResourceId"]
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    assert attached == [{"PolicyName": "AmazonSageMakerFullAccess", "PolicyArn": full}]
    version = iam.get_policy(PolicyArn=full)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=full, VersionId=version)["PolicyVersion"]["Document"]
    assert "sagemaker:*" in json.dumps(document)
    iam.attach_role_policy(RoleName=name, PolicyArn=full.replace("AmazonSageMaker", "CloudWatch"))
    iam.detach_role_policy(RoleName=name, PolicyArn=full.replace("AmazonSageMaker", "CloudWatch"))
    assert stacks.delete()["StackStatus"] == "DELETE_COMPLETE"
    assert full not in [each["Arn"] for each in iam.list_policies(Scope="Local")["Policies"]]


BROKEN = """
def model_fn(model_dir):
    raise RuntimeError("this one never loads")
"""


def endpoint(serving, code=MODEL, **variant):
    """Resources of an endpoint whose capacity is scaled."""
    key = f"stacks/{hashlib.sha256(code.encode()).hexdigest()}/model.tar.gz"
    serving.s3.put_object(Bucket=serving.bucket, Key=key, Body=archive(code))
    variants = [{
        "VariantName": "v0", "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]}, "InstanceType": "ml.m5.large",
        "InitialInstanceCount": "1", **variant,
    }]  # fmt: skip
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{serving.bucket}/{key}"}
    scaled = {"Fn::Sub": "endpoint/${Endpoint.EndpointName}/variant/v0"}
    return {
        "Policy": {"Type": "AWS::ApplicationAutoScaling::ScalingPolicy", "Properties": {
            "PolicyName": "calls", "PolicyType": "TargetTrackingScaling", "ScalingTargetId": {"Ref": "Target"},
            "TargetTrackingScalingPolicyConfiguration": {
                "TargetValue": "100",
                "PredefinedMetricSpecification": {
                    "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance",
                },
            },
        }},
        "Target": {"Type": "AWS::ApplicationAutoScaling::ScalableTarget", "Properties": {
            "ServiceNamespace": "sagemaker", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
            "ResourceId": scaled, "MinCapacity": "1", "MaxCapacity": 2,
        }},
        "Endpoint": {"Type": "AWS::SageMaker::Endpoint", "Properties": {
            "EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]},
        }},
        "Config": {"Type": "AWS::SageMaker::EndpointConfig", "Properties": {"ProductionVariants": variants}},
        "Model": {"Type": "AWS::SageMaker::Model", "Properties": {
            "ExecutionRoleArn": serving.role_arn, "PrimaryContainer": container,
        }},
    }  # fmt: skip


def test_an_endpoint_is_waited_for(local_aws, stacks, bucket, role_arn):
    serving = Serving(local_aws, bucket, role_arn)
    shown = {"Name": {"Value": {"Fn::GetAtt": "Endpoint.EndpointName"}}, "Arn": {"Value": {"Ref": "Endpoint"}}}
    # GIVEN a stack with an endpoint WHEN it has only been asked for
    identifier = stacks.create(endpoint(serving), wait=False, Outputs=shown)
    now = stacks.client.describe_stacks(StackName=identifier)["Stacks"][0]
    # THEN it is being made, and says nothing of what is not there
    assert (now["StackStatus"], now.get("Outputs")) == ("CREATE_IN_PROGRESS", None)
    assert stacks.resources()["Endpoint"]["ResourceStatus"] == "CREATE_IN_PROGRESS"
    with pytest.raises(ClientError, match="is in CREATE_IN_PROGRESS state and can not be updated"):
        stacks.update({"Topic": {"Type": "AWS::SNS::Topic"}})
    # AND once it is made, it serves
    made = outputs(stacks.settled())
    assert serving.call(made["Name"], {"x": 1})["echo"] == {"x": 1}
    assert made["Arn"].endswith(f":endpoint/{made['Name'].lower()}")
    scaling = local_aws.client("application-autoscaling")
    (policy,) = scaling.describe_scaling_policies(
        ServiceNamespace="sagemaker", ResourceId=f"endpoint/{made['Name']}/variant/v0"
    )["ScalingPolicies"]
    assert policy["PolicyARN"] == stacks.resources()["Policy"]["PhysicalResourceId"]
    # WHEN its configuration is changed THEN another one takes its place, and the endpoint is the same
    config = stacks.resources()["Config"]["PhysicalResourceId"]
    changed = stacks.update(endpoint(serving, InitialVariantWeight=2), Outputs=shown)
    assert (changed["StackStatus"], outputs(changed)) == ("UPDATE_COMPLETE", made)
    described = serving.sagemaker.describe_endpoint(EndpointName=made["Name"])
    assert stacks.resources()["Config"]["PhysicalResourceId"].endswith(described["EndpointConfigName"])
    assert stacks.resources()["Config"]["PhysicalResourceId"] != config
    # WHEN one follows that cannot serve THEN everything is as it was
    failed = stacks.update(endpoint(serving, BROKEN), Outputs=shown)
    assert failed["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert serving.call(made["Name"], {"x": 2})["echo"] == {"x": 2}
    (left,) = serving.sagemaker.list_models(NameContains=stacks.name)["Models"]
    assert left["ModelName"].startswith(f"{stacks.name}-Model-")
    # AND nothing is left after it
    stacks.delete()
    assert serving.sagemaker.list_models(NameContains=stacks.name)["Models"] == []
    assert serving.sagemaker.list_endpoints(NameContains=stacks.name)["Endpoints"] == []


def test_an_instance_runs(local_aws, stacks):
    hosts = Hosts(local_aws)
    properties = {"ImageId": hosts.image, "InstanceType": "m5.large", "SecurityGroupIds": [{"Ref": "Group"}]}
    group = {"GroupDescription": "tests", "SecurityGroupIngress": [{"IpProtocol": "tcp", "FromPort": "22", "ToPort": 22,
                                                                    "CidrIp": "127.0.0.1/32"}]}  # fmt: skip
    made = stacks.create(
        {
            "Host": {"Type": "AWS::EC2::Instance", "Properties": properties},
            "Group": {"Type": "AWS::EC2::SecurityGroup", "Properties": group},
        },
        Outputs={"Address": {"Value": {"Fn::GetAtt": ["Host", "PrivateIp"]}}, "Id": {"Value": {"Ref": "Host"}}},
    )
    given = outputs(made)
    (found,) = hosts.ec2.describe_instances(InstanceIds=[given["Id"]])["Reservations"][0]["Instances"]
    assert (found["State"]["Name"], found["PrivateIpAddress"]) == ("running", given["Address"])
    assert processes(given["Id"]), "it is no record alone"
    stacks.delete()
    assert not processes(given["Id"])


def test_a_restart_breaks_a_change_off(new_local_aws, wait_for):
    first = new_local_aws()
    first.client("s3").create_bucket(Bucket="models")
    serving, stacks = Serving(first, "models", make_role(first)), Stacks(first, wait_for)
    stacks.create(endpoint(serving, SLOW), wait=False)
    first.stop()
    second = new_local_aws(state=first.state)
    client = second.client("cloudformation")
    found = client.describe_stacks(StackName=stacks.name)["Stacks"][0]
    assert (found["StackStatus"], found["StackStatusReason"]) == (
        "CREATE_FAILED", "the local AWS was restarted meanwhile",
    )  # fmt: skip
    again = Stacks(second, wait_for)
    again.name = stacks.name
    assert again.delete()["StackStatus"] == "DELETE_COMPLETE"
