"""Which actions an operation needs, on what, and which condition keys there are."""

import pytest

from local_aws import support
from local_aws.iam import asked, table
from local_aws.iam.questions import FREE
from local_aws.iam.questions import questions as needs_of
from local_aws.pipeline.directory import model
from local_aws.pipeline.kinds import KINDS
from local_aws.services import SERVICES

ROLE = "arn:aws:iam::123456789012:role/jobs"
LAYER = "arn:aws:lambda:us-east-1:123456789012:layer:l:2"


def questions(service, operation, **params):
    call = asked.Call(service, operation, params, "123456789012", "us-east-1")
    return {
        (each.action, each.resource.replace("arn:aws:", "").replace("us-east-1:123456789012:", ""))
        for each in needs_of(call)
    }


@pytest.mark.parametrize("service", sorted({*KINDS, "sts", "kms"}))
def test_every_operation_that_is_answered_here_has_an_action(service):
    answered = support.own_operations(SERVICES).get(service, set()) | (support.supported_by_moto(service) or set())
    assert answered or service == "s3"
    free = {operation for of, operation in FREE if of == service}
    assert [each for each in sorted(answered - free) if not table.actions(service, each)] == []


def test_every_name_that_is_written_by_hand_is_an_operation():
    for service, operations in table.names().items():
        if service != "members":
            assert set(operations) <= set(model(service).operation_names), service


@pytest.mark.parametrize(
    ("call", "needs"),
    [
        (("s3", "HeadObject", {"Bucket": "b", "Key": "k"}), {("s3:GetObject", "s3:::b/k")}),
        (("s3", "ListObjectsV2", {"Bucket": "b"}), {("s3:ListBucket", "s3:::b")}),
        (("s3", "GetObject", {"Bucket": "b", "Key": "k", "VersionId": "1"}), {("s3:GetObjectVersion", "s3:::b/k")}),
        (
            ("s3", "CopyObject", {"Bucket": "b", "Key": "k", "CopySource": "c/d", "Tagging": "a=b"}),
            {("s3:PutObject", "s3:::b/k"), ("s3:PutObjectTagging", "s3:::b/k"), ("s3:GetObject", "s3:::c/d")},
        ),
        (("s3", "ListBuckets", {}), {("s3:ListAllMyBuckets", "*")}),
        (
            ("lambda", "DeleteLayerVersion", {"LayerName": "l", "VersionNumber": 2}),
            {("lambda:DeleteLayerVersion", "lambda:layer:l:2")},
        ),
        (("lambda", "PublishLayerVersion", {"LayerName": "l"}), {("lambda:PublishLayerVersion", "lambda:layer:l")}),
        (
            ("lambda", "UpdateFunctionConfiguration", {"FunctionName": "f", "Layers": [LAYER]}),
            {
                ("lambda:UpdateFunctionConfiguration", "lambda:function:f"),
                ("lambda:GetLayerVersion", "lambda:layer:l:2"),
            },
        ),
        (
            ("sagemaker", "CreateTrainingJob", {"TrainingJobName": "j", "RoleArn": ROLE, "Tags": [{"Key": "a"}]}),
            {
                ("sagemaker:CreateTrainingJob", "sagemaker:training-job/j"),
                ("sagemaker:AddTags", "sagemaker:training-job/j"),
                ("iam:PassRole", "iam::123456789012:role/jobs"),
            },
        ),
        (
            (
                "sagemaker",
                "CreateEndpoint",
                {"EndpointName": "e", "EndpointConfigName": "c", "Tags": [{"Key": "a", "Value": "b"}]},
            ),
            {
                ("sagemaker:CreateEndpoint", "sagemaker:endpoint/e"),
                ("sagemaker:CreateEndpoint", "sagemaker:endpoint-config/c"),
                ("sagemaker:AddTags", "sagemaker:endpoint/e"),
            },
        ),
        (
            ("sagemaker", "CreateEndpoint", {"EndpointName": "e", "EndpointConfigName": "c"}),
            {
                ("sagemaker:CreateEndpoint", "sagemaker:endpoint/e"),
                ("sagemaker:CreateEndpoint", "sagemaker:endpoint-config/c"),
            },
        ),
        (
            ("sagemaker", "CreateModelPackage", {"ModelPackageGroupName": "g"}),
            {
                ("sagemaker:CreateModelPackage", "sagemaker:model-package/g/*"),
                ("sagemaker:CreateModelPackage", "sagemaker:model-package-group/g"),
            },
        ),
        (
            ("lambda", "CreateFunction", {"FunctionName": "f", "Role": ROLE, "Code": {"S3Bucket": "b", "S3Key": "k"}}),
            {
                ("lambda:CreateFunction", "lambda:function:f"),
                ("iam:PassRole", "iam::123456789012:role/jobs"),
                ("s3:GetObject", "s3:::b/k"),
            },
        ),
        (
            ("lambda", "Invoke", {"FunctionName": "arn:aws:lambda:us-east-1:123456789012:function:f:live"}),
            {("lambda:InvokeFunction", "lambda:function:f:live")},
        ),
        (("cloudwatch", "DescribeAlarms", {}), {("cloudwatch:DescribeAlarms", "cloudwatch:alarm:*")}),
        (("events", "PutTargets", {"Rule": "r"}), {("events:PutTargets", "events:rule/r")}),
        (("ec2", "CreateTags", {"Resources": ["vol-1"]}), {("ec2:CreateTags", "ec2:volume/vol-1")}),
        (("sqs", "SendMessage", {"QueueUrl": "http://host/1/q"}), {("sqs:SendMessage", "sqs:q")}),
        (("sts", "GetCallerIdentity", {}), set()),
        (
            (
                "application-autoscaling",
                "PutScalingPolicy",
                {"ServiceNamespace": "sagemaker", "ResourceId": "endpoint/e/variant/v"},
            ),
            {
                ("application-autoscaling:PutScalingPolicy", "application-autoscaling:scalable-target/*"),
                ("cloudwatch:PutMetricAlarm", "cloudwatch:alarm:TargetTracking-endpoint/e/variant/v-*"),
                ("cloudwatch:DescribeAlarms", "cloudwatch:alarm:*"),
            },
        ),
    ],
)
def test_what_calls_ask_for(call, needs):
    service, operation, params = call
    assert questions(service, operation, **params) == needs


def test_a_launch_asks_about_each_thing_that_it_makes_or_uses():
    tags = [{"ResourceType": kind, "Tags": [{"Key": "project", "Value": kind}]} for kind in ("instance", "volume")]
    call = asked.Call(
        "ec2",
        "RunInstances",
        {
            "ImageId": "ami-1",
            "SecurityGroupIds": ["sg-1"],
            "TagSpecifications": tags,
            "InstanceMarketOptions": {"MarketType": "spot"},
            "BlockDeviceMappings": [{"Ebs": {"Encrypted": True}}],
        },
        "1",
        "us-east-1",
    )
    found = {(each.action, each.resource.rpartition(":")[2]): each.keys for each in needs_of(call)}
    launched = ("instance/*", "volume/*", "network-interface/*", "image/ami-1", "security-group/sg-1", "subnet/*")
    assert set(found) == {
        *(("ec2:RunInstances", each) for each in (*launched, "spot-instances-request/*")),
        ("ec2:CreateTags", "instance/*"),
        ("ec2:CreateTags", "volume/*"),
    }
    assert found["ec2:RunInstances", "volume/*"]["ec2:encrypted"] == ("true",)
    assert found["ec2:RunInstances", "volume/*"]["aws:requesttag/project"] == ("volume",)
    assert found["ec2:CreateTags", "instance/*"]["ec2:createaction"] == ("RunInstances",)


def test_an_operation_that_no_table_maps():
    with pytest.raises(KeyError):
        questions("cloudwatch", "DescribeAlarmContributors")


@pytest.mark.parametrize(
    ("key", "known"),
    [("aws:SourceIp", True), ("AWS:sourceip", True), ("aws:RequestTag/team", True), ("s3:prefix", True),
     ("s3:ExistingObjectTag/x", True), ("sagemaker:InstanceTypes", True), ("aws:SourceIP4", False),
     ("s3:suffix", False)],
)  # fmt: skip
def test_condition_keys(key, known):
    assert table.knows_key(key) is known
