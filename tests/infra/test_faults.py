"""What can go wrong with the stack, each in one sentence; and the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from tests.infra.conftest import left
from tools import infrastructure
from tools.infrastructure import InfrastructureError

ARN = "arn:aws:cloudformation:us-east-1:111122223333:stack/musher/0a1b"
CIDR = {"SshCidr": "127.0.0.1/32"}


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({}, "The parameter SshCidr is missing: The addresses of Airflow's workers"),
        ({"SshCidr": "0.0.0.0/0"}, "The parameter SshCidr is '0.0.0.0/0', and it is accepted only if it is a range"),
        ({"SshCidr": "10.0.0.0"}, "with a prefix of 16 to 32 bits, such as 10.0.0.0/16."),
        ({**CIDR, "SshPart": 1}, "The template has no parameter SshPart; the nearest is SshPort."),
        ({**CIDR, "SshPort": 0}, "The parameter SshPort is '0', and it has to be at least 1 and at most 65535."),
        ({**CIDR, "SshPort": "ssh"}, "The parameter SshPort is 'ssh', and it has to be a number."),
        ({**CIDR, "LogRetentionDays": 31}, "it has to be one of 1, 3, 5, 7, 14, 30,"),
        ({**CIDR, "ProjectName": "a-very-long-project"}, "has 1 to 15 lower-case letters"),
        ({**CIDR, "ProjectName": "-musher"}, "begins with a letter."),
        ({**CIDR, "BudgetMail": "me"}, "The parameter BudgetMail is 'me', and it is accepted only if it is a mail"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_is_called(parameters: dict[str, Any], sentence: str):
    def no_client(service: str) -> Any:
        raise AssertionError(f"{service} was called")

    with pytest.raises(InfrastructureError) as refused:
        infrastructure.deploy(no_client, parameters)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_there_already_is_not_taken_over(aws, deploy):
    trust = {"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole"}], "Version": "2012-10-17"}
    iam = aws.client("iam")
    iam.create_role(RoleName="taken-endpoint", AssumeRolePolicyDocument=json.dumps(trust))
    with pytest.raises(InfrastructureError, match=r"^CloudFormation could not create .* taken: .*taken-endpoint"):
        deploy("taken")
    assert left(aws, "taken") == ["taken-endpoint"]
    iam.delete_role(RoleName="taken-endpoint")
    assert deploy("taken")["project"] == "taken"


def test_outputs_of_no_stack(aws):
    with pytest.raises(InfrastructureError, match=r"^There is no stack nothing: deploy it first\.$"):
        infrastructure.outputs(aws.client, "nothing")


# What only AWS does, moto never: its answers, as the API reference has them.


@pytest.fixture
def cloudformation() -> Iterator[Stubber]:
    client = boto3.client(
        "cloudformation", region_name="us-east-1", aws_access_key_id="AKIATESTTESTTESTTEST", aws_secret_access_key="x"
    )
    with Stubber(client) as stub:
        yield stub
        stub.assert_no_pending_responses()


def stack(status: str, **more: Any) -> dict[str, Any]:
    return {"Stacks": [{"StackName": "musher", "StackId": ARN, "CreationTime": 0, "StackStatus": status, **more}]}


def event(name: str, kind: str, status: str, reason: str = "") -> dict[str, Any]:
    facts = {"LogicalResourceId": name, "ResourceType": kind, "ResourceStatus": status, "ResourceStatusReason": reason}
    return {"StackId": ARN, "EventId": f"{name}-{status}", "StackName": "musher", "Timestamp": 0, **facts}


def test_a_creation_that_fails_names_the_resource_that_failed_first(cloudformation):
    missing = {"service_error_code": "ValidationError", "service_message": "Stack with id musher does not exist"}
    cloudformation.add_client_error("describe_stacks", **missing)
    cloudformation.add_response("create_stack", {"StackId": ARN}, {
        "StackName": "musher", "TemplateBody": ANY, "Parameters": ANY, "Tags": ANY, "OnFailure": "DELETE",
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
    })  # fmt: skip
    cloudformation.add_response("describe_stacks", stack("DELETE_COMPLETE"))
    events = [
        event("musher", "AWS::CloudFormation::Stack", "DELETE_COMPLETE"),
        event("LambdaRole", "AWS::IAM::Role", "CREATE_FAILED", "Resource creation cancelled"),
        event("Budget", "AWS::Budgets::Budget", "CREATE_FAILED", "a later one"),
        event("Bucket", "AWS::S3::Bucket", "CREATE_FAILED", "musher-111122223333 already exists"),
        event("musher", "AWS::CloudFormation::Stack", "CREATE_IN_PROGRESS", "User Initiated"),
        event("Old", "AWS::S3::Bucket", "CREATE_FAILED", "of an earlier operation"),
    ]
    cloudformation.add_response("describe_stack_events", {"StackEvents": events})
    with pytest.raises(InfrastructureError) as failed:
        infrastructure.deploy(lambda service: cloudformation.client, CIDR)
    assert str(failed.value) == (
        "CloudFormation could not create the stack musher: Bucket (AWS::S3::Bucket) failed: "
        "musher-111122223333 already exists"
    )


def test_nothing_to_update_is_no_error(cloudformation):
    outputs = [{"OutputKey": "Bucket", "OutputValue": "musher-111122223333"}]
    cloudformation.add_response("describe_stacks", stack("UPDATE_COMPLETE"))
    cloudformation.add_response("get_template", {"TemplateBody": "another one"})
    cloudformation.add_client_error("update_stack", "ValidationError", "No updates are to be performed.")
    cloudformation.add_response("describe_stacks", stack("UPDATE_COMPLETE", Outputs=outputs))
    values = infrastructure.deploy(lambda service: cloudformation.client, CIDR)
    assert values == {"bucket": "musher-111122223333"}


@pytest.mark.parametrize("status", ["UPDATE_IN_PROGRESS", "ROLLBACK_FAILED", "DELETE_FAILED", "REVIEW_IN_PROGRESS"])
def test_a_stack_that_is_not_settled_is_left_alone(cloudformation, status):
    cloudformation.add_response("describe_stacks", stack(status))
    with pytest.raises(InfrastructureError, match=f"^The stack musher is {status}: "):
        infrastructure.deploy(lambda service: cloudformation.client, CIDR)


def test_who_may_not_look_is_told(cloudformation):
    cloudformation.add_client_error("describe_stacks", "AccessDenied", "User me is not authorized")
    with pytest.raises(InfrastructureError) as refused:
        infrastructure.deploy(lambda service: cloudformation.client, CIDR)
    assert str(refused.value) == "The stack musher cannot be looked at: User me is not authorized (AccessDenied)"


def test_a_deletion_that_fails_says_why(cloudformation):
    cloudformation.add_response("describe_stacks", stack("CREATE_COMPLETE"))
    cloudformation.add_response("list_stack_resources", {"StackResourceSummaries": []})
    cloudformation.add_response("describe_stacks", stack("CREATE_COMPLETE"))
    cloudformation.add_response("delete_stack", {}, {"StackName": ARN})
    cloudformation.add_response("describe_stacks", stack("DELETE_FAILED"))
    reason = "resource sg-0a1b has a dependent object"
    events = [event("Ec2SecurityGroup", "AWS::EC2::SecurityGroup", "DELETE_FAILED", reason)]
    cloudformation.add_response("describe_stack_events", {"StackEvents": events})
    with pytest.raises(InfrastructureError, match=rf"could not delete the stack musher: Ec2SecurityGroup .*{reason}"):
        infrastructure.delete(lambda service: cloudformation.client, "musher")


# The command line.


def run(aws: Any, *arguments: str, **environment: str | None) -> subprocess.CompletedProcess[str]:
    settings = {
        "AWS_ENDPOINT_URL": aws.url, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST",
        "AWS_SECRET_ACCESS_KEY": "test", "PATH": os.environ["PATH"], **environment,
    }  # fmt: skip
    command = [sys.executable, "-m", "tools.infrastructure", *arguments]
    settings = {name: value for name, value in settings.items() if value is not None}
    root = infrastructure.TEMPLATE.parents[1]
    return subprocess.run(command, capture_output=True, text=True, cwd=root, env=settings, timeout=120)


def test_the_command_line(aws):
    made = run(aws, "deploy", "ProjectName=typed", "SshCidr=127.0.0.1/32")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["training_role_arn"].endswith(":role/typed-training")
    assert made.stderr == ""
    ended = run(aws, "delete", "typed")
    assert (ended.returncode, ended.stdout) == (0, "The stack typed is deleted.\n")
    again = run(aws, "delete", "typed")
    assert (again.returncode, again.stdout) == (0, "There is no stack typed.\n")


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        (["deploy", "SshCidr"], {}, "'SshCidr' is no parameter: it has to look like SshCidr=10.0.0.0/16."),
        (["deploy", "SshCidr=10.0.0.0/8"], {}, "The parameter SshCidr is '10.0.0.0/8'"),
        (["deploy", "SshCidr=10.0.0.0/16"], {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "Could not connect to the end"),
        (["delete"], {"AWS_DEFAULT_REGION": None}, "You must specify a region."),
    ],
)
def test_a_wrong_command_ends_with_one_sentence(aws, arguments, environment, sentence):
    environment = {"AWS_MAX_ATTEMPTS": "1", "AWS_CONFIG_FILE": os.devnull, **environment}
    ended = run(aws, *arguments, **environment)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith(sentence)
    assert len(ended.stderr.splitlines()) == 1
