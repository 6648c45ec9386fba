"""What each role must not be able to do: refused by its policies, and by a local AWS that enforces them."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.local_aws.daemon import Daemon
from tools import bootstrap
from tools.iam import evidence, policies, templates

ROLES = {each.name: [] for each in templates.every_role()}
for each in templates.every_role():
    ROLES[each.name].append(each)
SERVICES = {"airflow": "airflow", "training": "sagemaker", "endpoint": "sagemaker", "lambda": "lambda",
            "lambda-rehearsal": "lambda", "ec2": "ec2"}  # fmt: skip
FEWEST = 20


def token(use: str) -> str:
    """By which a role's credentials are to be had."""
    return f"credentials-of-{use}"


@pytest.mark.parametrize("name", sorted(ROLES))
def test_all_of_it_is_refused(name):
    tries = evidence.tries(name)
    assert len(tries) >= FEWEST
    let_through = [
        str(call)
        for role in ROLES[name]
        for calls in tries.values()
        for call in calls
        if call.stack in ("", role.stack) and policies.allowed(role.policies, role, call)
    ]
    assert let_through == []


@pytest.fixture(scope="module")
def enforcing(tmp_path_factory: pytest.TempPathFactory, start_daemon: Callable[..., Daemon]) -> Any:
    """A local AWS that enforces IAM, with the stack, and credentials of each role by its use."""
    options = ["--iam", "enforce", "--administrator", "AKIATESTTESTTESTTEST:test"]
    for use, service in SERVICES.items():
        options += ["--offer", f"musher-{use}:{service}.amazonaws.com:{token(use)}"]
    daemon = start_daemon(tmp_path_factory.mktemp("forbidden"), options=options)
    bootstrap.prepare_account(daemon.client)
    daemon.client("s3").put_object(Bucket="musher-123456789012", Key="mwaa/plugins/1.zip", Body=b"ours")
    yield daemon
    daemon.stop()


def client(daemon: Daemon, use: str, service: str) -> Any:
    with urllib.request.urlopen(f"{daemon.url}/_local_aws/credentials/{token(use)}") as answer:
        keys = json.load(answer)
    return boto3.client(
        service, endpoint_url=daemon.url, region_name="us-east-1", config=Config(retries={"total_max_attempts": 1}),
        aws_access_key_id=keys["AccessKeyId"], aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["Token"],
    )  # fmt: skip


BUCKET = {"Bucket": "musher-123456789012"}
TRIED = [
    (
        "iam",
        "attach_role_policy",
        {"RoleName": "musher-airflow", "PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"},
    ),
    ("s3", "put_object", {**BUCKET, "Key": "mwaa/plugins/1.zip", "Body": b"theirs"}),
    ("s3", "delete_object", {**BUCKET, "Key": "mwaa/plugins/1.zip"}),
    ("s3", "delete_bucket_policy", BUCKET),
    ("lambda", "get_function", {"FunctionName": "musher-classifier"}),
    ("secretsmanager", "get_secret_value", {"SecretId": "bank/password"}),
]


@pytest.mark.parametrize("use", SERVICES)
def test_the_local_aws_refuses_it_to_a_session_of_the_role(enforcing, use):
    said = []
    for service, operation, params in TRIED:
        try:
            getattr(client(enforcing, use, service), operation)(**params)
            said.append(f"{operation} was let through")
        except ClientError as error:
            said.append(error.response["Error"]["Code"])
    assert set(said) <= {"AccessDenied", "AccessDeniedException"}, said
    body = enforcing.client("s3").get_object(**BUCKET, Key="mwaa/plugins/1.zip")["Body"].read()
    assert body == b"ours"


def test_a_role_is_passed_to_its_service_only(enforcing):
    function = {"FunctionName": "musher-classifier", "Runtime": "python3.12", "Handler": "handler.handle",
                "Code": {"ZipFile": b"PK"}}  # fmt: skip
    for role in ("musher-airflow", "musher-training"):
        with pytest.raises(ClientError, match=f"iam:PassRole on resource: arn:aws:iam::123456789012:role/{role}"):
            client(enforcing, "airflow", "lambda").create_function(
                **function, Role=f"arn:aws:iam::123456789012:role/{role}"
            )
