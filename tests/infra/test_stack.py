"""The stack in a real local AWS: what it makes, how it is brought up to date, and its end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from musher.config import Environment

from tests.infra.conftest import left
from tools import infrastructure

ACCOUNT = "123456789012"


def policies(aws: Any, role: str) -> list[dict[str, Any]]:
    """The statements of a role's policies, as IAM gives them."""
    iam = aws.client("iam")
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    documents = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names]
    return [statement for document in documents for statement in document["Statement"]] + attached(aws, role)


def attached(aws: Any, role: str) -> list[dict[str, Any]]:
    """The statements of the managed ones among them."""
    iam, documents = aws.client("iam"), []
    for each in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        version = iam.get_policy(PolicyArn=each["PolicyArn"])["Policy"]["DefaultVersionId"]
        found = iam.get_policy_version(PolicyArn=each["PolicyArn"], VersionId=version)
        documents.append(found["PolicyVersion"]["Document"])
    return [statement for document in documents for statement in document["Statement"]]


def test_the_variable_is_what_the_dags_read(deploy):
    values = deploy("first", SshPort=2222, SubnetId="subnet-0a1b2c")
    env = Environment.from_params({**values, "kind": "local"})
    assert (env.project, env.bucket, env.region) == ("first", f"first-{ACCOUNT}", "us-east-1")
    assert env.training_role_arn == f"arn:aws:iam::{ACCOUNT}:role/first-training"
    assert env.lambda_rehearsal_role_arn == f"arn:aws:iam::{ACCOUNT}:role/first-lambda-rehearsal"
    assert (env.training_image, env.inference_image) == ("", "")
    assert env.notifications_topic_arn == f"arn:aws:sns:us-east-1:{ACCOUNT}:first-notifications"
    assert (env.ssh_port, env.ec2_subnet, env.ec2_user) == (2222, "subnet-0a1b2c", "ubuntu")
    assert "airflow_role_arn" not in values


def test_what_the_stack_makes(aws, deploy):
    values = deploy("made", SshPort=2222, NotificationsMail="me@example.com")
    s3, iam = aws.client("s3"), aws.client("iam")
    rule = s3.get_bucket_encryption(Bucket=values["bucket"])["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    profile = iam.get_instance_profile(InstanceProfileName=values["ec2_instance_profile"])["InstanceProfile"]
    assert [role["RoleName"] for role in profile["Roles"]] == ["made-ec2"]
    group = aws.client("ec2").describe_security_groups(GroupIds=[values["ec2_security_group"]])["SecurityGroups"][0]
    (ingress,) = group["IpPermissions"]
    assert (ingress["FromPort"], ingress["ToPort"], ingress["IpProtocol"]) == (2222, 2222, "tcp")
    assert [each["CidrIp"] for each in ingress["IpRanges"]] == ["127.0.0.1/32"]
    told = aws.client("sns").list_subscriptions_by_topic(TopicArn=values["notifications_topic_arn"])["Subscriptions"]
    assert [(each["Protocol"], each["Endpoint"]) for each in told] == [("email", "me@example.com")]
    (log,) = aws.client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/made-")["logGroups"]
    assert (log["logGroupName"], log["retentionInDays"]) == ("/aws/lambda/made-classifier", 30)


REASON = "DiagnosticRule WeightUpdateRatio: a step changed head.0.weight by 62.1 times its size (step 1)"


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        ({"FailureReason": f"AlgorithmError: {REASON}, exit code: 1"}, True),
        ({"FailureReason": f'AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "{REASON}"'}, True),
        ({"FailureReason": REASON}, True),
        ({"FailureReason": "AlgorithmError: the pictures are of birds only, exit code: 1"}, False),
        ({"FailureReason": f"AlgorithmError: {REASON}", "TrainingJobStatus": "Completed"}, False),
        ({"FailureReason": f"AlgorithmError: {REASON}", "Tags": {"project": "another"}}, False),
    ],
)
def test_a_training_that_a_rule_has_ended_is_told(aws, deploy, detail, told):
    """The pattern as the stack has it, against an event of the form that SageMaker's developer guide shows."""
    deploy("events")
    pattern = aws.client("events").describe_rule(Name="events-rule-fired")["EventPattern"]
    event = {
        "version": "0",
        "id": "844e2571-85d4-695f-b930-0153b71dcb42",
        "detail-type": "SageMaker Training Job State Change",
        "source": "aws.sagemaker",
        "account": ACCOUNT,
        "time": "2026-11-25T12:26:13Z",
        "region": "us-east-1",
        "resources": [f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:training-job/events-train-one-0a1b2c3d"],
        "detail": {
            "TrainingJobName": "events-train-one-0a1b2c3d",
            "TrainingJobStatus": "Failed",
            "SecondaryStatus": "Failed",
            "HyperParameters": {"lr": "1"},
            "CreationTime": 1583831889050,
            "Tags": {"project": "events", "run": "manual"},
            **detail,
        },
    }

    matched = aws.client("events").test_event_pattern(EventPattern=pattern, Event=json.dumps(event))["Result"]

    assert matched is told


def test_what_is_told_of_such_a_training_is_a_sentence(aws, deploy):
    values = deploy("sentences")
    (target,) = aws.client("events").list_targets_by_rule(Rule="sentences-rule-fired")["Targets"]
    assert target["Arn"] == values["notifications_topic_arn"]
    assert target["InputTransformer"]["InputTemplate"] == '"The training job <job> has failed: <why>"'
    assert target["InputTransformer"]["InputPathsMap"] == {
        "job": "$.detail.TrainingJobName",
        "why": "$.detail.FailureReason",
    }


@pytest.mark.parametrize(
    ("use", "principal"),
    [
        ("airflow", ["airflow.amazonaws.com", "airflow-env.amazonaws.com"]),
        ("training", "sagemaker.amazonaws.com"),
        ("endpoint", "sagemaker.amazonaws.com"),
        ("lambda", "lambda.amazonaws.com"),
        ("ec2", "ec2.amazonaws.com"),
    ],
)
def test_the_roles(aws, deploy, use, principal):
    deploy("roles")
    role = aws.client("iam").get_role(RoleName=f"roles-{use}")["Role"]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": principal}
    statements = policies(aws, f"roles-{use}")
    text = json.dumps(statements, separators=(",", ":"))
    assert "${" not in text
    assert "Fn::" not in text
    inline = [each for each in statements if each not in attached(aws, f"roles-{use}")]
    # IAM quotas: a role's inline policies together have at most 10,240 characters; the managed ones' are in
    # test_template.py.
    assert len(json.dumps(inline, separators=(",", ":"))) < 10_000
    assert len(text) > 0


def test_who_may_pass_which_role_to_whom(aws, deploy):
    deploy("passing")
    passed = {
        (role.rsplit("/", 1)[1], statement["Condition"]["StringEquals"]["iam:PassedToService"])
        for statement in policies(aws, "passing-airflow")
        if statement["Action"] == "iam:PassRole"
        for role in (statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]])
    }
    assert passed == {
        ("passing-training", "sagemaker.amazonaws.com"),
        ("passing-endpoint", "sagemaker.amazonaws.com"),
        ("passing-lambda", "lambda.amazonaws.com"),
        ("passing-lambda-rehearsal", "lambda.amazonaws.com"),
        ("passing-ec2", "ec2.amazonaws.com"),
    }


def test_airflow_elsewhere_than_on_mwaa_takes_the_role_as_who_it_is(aws, deploy):
    worker = f"arn:aws:iam::{ACCOUNT}:role/workers"
    deploy("elsewhere", AirflowPrincipalArn=worker)
    role = aws.client("iam").get_role(RoleName="elsewhere-airflow")["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"] == [
        {"Effect": "Allow", "Principal": {"AWS": worker}, "Action": "sts:AssumeRole"}
    ]


def test_another_bucket_of_pictures_is_readable_only_when_named(aws, deploy):
    deploy("without")
    deploy("with", DatasetBucket="our-pictures")
    assert "our-pictures" not in json.dumps(policies(aws, "without-airflow"))
    reading = [each for each in policies(aws, "with-airflow") if "our-pictures" in json.dumps(each["Resource"])]
    assert {each["Sid"] for each in reading} == {"ListPictures", "ReadPictures"}


def test_deploying_twice_changes_nothing(aws, deploy):
    first = deploy("twice")
    cloudformation = aws.client("cloudformation")
    events = cloudformation.describe_stack_events(StackName="twice")["StackEvents"]
    assert deploy("twice") == first
    assert cloudformation.describe_stack_events(StackName="twice")["StackEvents"] == events
    assert cloudformation.describe_stacks(StackName="twice")["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"


def test_a_changed_parameter_updates_what_it_is_for(aws, deploy):
    deploy("changed", SshPort=22, Ec2User="ubuntu")
    values = deploy("changed", SshPort=2200, Ec2User="ec2-user", SshCidr="10.1.0.0/16")
    group = aws.client("ec2").describe_security_groups(GroupIds=[values["ec2_security_group"]])["SecurityGroups"][0]
    assert [(each["FromPort"], each["IpRanges"][0]["CidrIp"]) for each in group["IpPermissions"]] == [
        (2200, "10.1.0.0/16")
    ]
    (entering,) = [each for each in policies(aws, "changed-airflow") if each["Sid"] == "EnterInstance"]
    assert entering["Condition"]["StringEquals"]["ec2:osuser"] == "ec2-user"
    assert (values["ssh_port"], values["ec2_user"]) == (2200, "ec2-user")
    assert infrastructure.not_made(aws.client, {"ProjectName": "changed", "SshCidr": "10.1.0.0/16"}) == []


def test_a_stack_with_inline_policies_is_updated_to_managed_ones(aws, deploy):
    """As the stack was: Airflow's role with its policies inline, under names that the template has no more."""
    iam, cloudformation = aws.client("iam"), aws.client("cloudformation")
    template = json.loads(json.dumps(infrastructure.load(infrastructure.TEMPLATE.read_text())))
    for name in [each for each in template["Resources"] if each.endswith("ManagedPolicy")]:
        was = template["Resources"].pop(name)
        properties = {key: was["Properties"][key] for key in ("Roles", "PolicyDocument")}
        was |= {"Type": "AWS::IAM::Policy", "Properties": {"PolicyName": name.lower(), **properties}}
        template["Resources"][name.replace("ManagedPolicy", "Policy")] = was
    parameters = [
        {"ParameterKey": "ProjectName", "ParameterValue": "inline"},
        {"ParameterKey": "SshCidr", "ParameterValue": "127.0.0.1/32"},
    ]
    cloudformation.create_stack(
        StackName="inline",
        TemplateBody=json.dumps(template),
        Parameters=parameters,
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    before = {each["Sid"] for each in policies(aws, "inline-airflow")}
    assert len(iam.list_role_policies(RoleName="inline-airflow")["PolicyNames"]) == 8

    deploy("inline")

    assert iam.list_role_policies(RoleName="inline-airflow")["PolicyNames"] == []
    assert len(iam.list_attached_role_policies(RoleName="inline-airflow")["AttachedPolicies"]) == 8
    assert {each["Sid"] for each in policies(aws, "inline-airflow")} == before
    infrastructure.delete(aws.client, "inline")
    assert left(aws, "inline") == []


def test_deleting_leaves_nothing(aws, deploy):
    deploy("ended")
    assert len(left(aws, "ended")) == 20  # bucket, six roles, eight policies, profile, group, log, rule, topic
    assert infrastructure.delete(aws.client, "ended")
    assert left(aws, "ended") == []
    assert not infrastructure.delete(aws.client, "ended")
    assert deploy("ended")["project"] == "ended"


def test_the_bucket_is_emptied_only_on_request(aws, deploy):
    bucket = deploy("full")["bucket"]
    s3 = aws.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"1", b"2"):
        s3.put_object(Bucket=bucket, Key="runs/a/verdict.json", Body=body)
    s3.delete_object(Bucket=bucket, Key="runs/a/verdict.json")  # what is left are versions, and a marker
    everything = left(aws, "full")
    with pytest.raises(infrastructure.InfrastructureError, match=f"^The bucket {bucket} is not empty, and nothing was"):
        infrastructure.delete(aws.client, "full")
    assert left(aws, "full") == everything
    assert infrastructure.delete(aws.client, "full", empty_bucket=True)
    assert left(aws, "full") == []


def test_everything_that_the_template_has_is_made(aws, deploy):
    parameters = {"ProjectName": "whole", "SshCidr": "127.0.0.1/32", "BudgetMail": "me@example.com"}
    vpc = aws.client("ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
    values = deploy("whole", BudgetMail="me@example.com", VpcId=vpc)
    assert infrastructure.not_made(aws.client, parameters) == []
    s3, bucket = aws.client("s3"), values["bucket"]
    policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    assert {each["Sid"] for each in policy["Statement"]} == {"OnlyOverTls", "OnlyOverTls12"}
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")  # which is not about whoever speaks to this machine itself
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]["BlockPublicPolicy"] is True
    rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert {each["ID"]: each["Status"] for each in rules}["noncurrent-versions"] == "Enabled"
    assert next(each for each in rules if each["ID"] == "models-of-old-runs")["Transitions"] == [
        {"Days": 90, "StorageClass": "STANDARD_IA"}
    ]
    (ownership,) = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert ownership["ObjectOwnership"] == "BucketOwnerEnforced"
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    group = aws.client("ec2").describe_security_groups(GroupIds=[values["ec2_security_group"]])["SecurityGroups"][0]
    (egress,) = group["IpPermissionsEgress"]
    assert (egress["IpProtocol"], egress["FromPort"], egress["ToPort"]) == ("tcp", 443, 443)
    topic = aws.client("sns").get_topic_attributes(TopicArn=values["notifications_topic_arn"])["Attributes"]
    assert {each["Sid"] for each in json.loads(topic["Policy"])["Statement"]} == {"Events", "Alarms"}
    budgets = aws.client("budgets").describe_budgets(AccountId=ACCOUNT)["Budgets"]
    assert "whole-monthly" in [each["BudgetName"] for each in budgets]
    infrastructure.delete(aws.client, "whole", empty_bucket=True)
    assert not aws.client("budgets").describe_budgets(AccountId=ACCOUNT).get("Budgets")


def test_what_is_updated_remains_the_same(aws, deploy):
    before = deploy("updates", DatasetBucket="our-pictures")
    after = deploy("updates", DatasetBucket="their-pictures", LogRetentionDays=7, SshPort=2200)
    assert after["ec2_security_group"] == before["ec2_security_group"]
    (log,) = aws.client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/updates-")["logGroups"]
    assert log["retentionInDays"] == 7
    (listing,) = [each for each in policies(aws, "updates-airflow") if each["Sid"] == "ListPictures"]
    assert listing["Resource"] == "arn:aws:s3:::their-pictures"
    infrastructure.delete(aws.client, "updates")
    assert left(aws, "updates") == []


MINE = "111122223333.dkr.ecr.us-east-1.amazonaws.com/team/pytorch:1.0"


@pytest.mark.parametrize(
    ("project", "given", "use", "repository"),
    [
        ("pullsone", {}, "training", "763104351884:repository/pytorch"),
        ("pullsone", {}, "endpoint", "763104351884:repository/pytorch-inference"),
        (
            "pullstwo",
            {"TrainingImage": MINE, "InferenceImage": MINE},
            "training",
            "111122223333:repository/team/pytorch",
        ),
        (
            "pullstwo",
            {"TrainingImage": MINE, "InferenceImage": MINE},
            "endpoint",
            "111122223333:repository/team/pytorch",
        ),
    ],
)
def test_who_may_pull_what(aws, deploy, project, given, use, repository):
    values = deploy(project, **given)
    (pulling,) = [each for each in policies(aws, f"{project}-{use}") if each["Sid"] == "PullImage"]
    assert pulling["Resource"] == f"arn:aws:ecr:us-east-1:{repository}"
    assert values.get("training_image") == given.get("TrainingImage")
    assert values.get("inference_image") == given.get("InferenceImage")
    Environment.from_params(values)
