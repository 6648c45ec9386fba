"""Which AWS calls a piece of the project makes, read from its code, and the IAM actions that they need."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Set
from pathlib import Path

import botocore.session
from botocore import xform_name

ROOT = Path(__file__).resolve().parents[2]

# The services that the project talks to, and the prefix of their actions where it differs.
SERVICES = {
    "application-autoscaling": "application-autoscaling",
    "budgets": "budgets",
    "ce": "ce",
    "cloudformation": "cloudformation",
    "cloudwatch": "cloudwatch",
    "ec2": "ec2",
    "ec2-instance-connect": "ec2-instance-connect",
    "ecr": "ecr",
    "iam": "iam",
    "lambda": "lambda",
    "logs": "logs",
    "mwaa": "airflow",
    "resourcegroupstaggingapi": "tag",
    "s3": "s3",
    "sagemaker": "sagemaker",
    "sagemaker-runtime": "sagemaker",
    "secretsmanager": "secretsmanager",
    "service-quotas": "servicequotas",
    "sns": "sns",
    "ssm": "ssm",
}
# Operations whose action has another name. Source: Service Authorization Reference, Amazon S3 and AWS Lambda.
ACTIONS = {
    ("s3", "ListObjectsV2"): {"s3:ListBucket"},
    ("s3", "HeadBucket"): {"s3:ListBucket"},
    ("s3", "HeadObject"): {"s3:GetObject"},
    ("s3", "CopyObject"): {"s3:GetObject", "s3:PutObject"},
    ("s3", "DeleteObjects"): {"s3:DeleteObject"},
    ("s3", "GetBucketEncryption"): {"s3:GetEncryptionConfiguration"},
    ("s3", "GetPublicAccessBlock"): {"s3:GetBucketPublicAccessBlock"},
    ("lambda", "Invoke"): {"lambda:InvokeFunction"},
}
# boto3's own and the provider's, which are no operations.
TRANSFERS = {
    "download_file": {"s3:GetObject"},
    "upload_file": {"s3:PutObject", "s3:AbortMultipartUpload"},
    "publish_to_target": {"sns:Publish"},  # the provider's SnsHook's
}


@functools.cache
def operations() -> dict[str, list[tuple[str, str]]]:
    """Every operation of these services by its name in boto3: `{create_model: [(sagemaker, CreateModel)]}`."""
    session, found = botocore.session.get_session(), {}
    for service in SERVICES:
        for name in session.get_service_model(service).operation_names:
            found.setdefault(xform_name(name), []).append((service, name))
    return found


# What looks like an operation and is none: methods of re and jinja2, and texts beside the kinds of jobs and of what an
# endpoint needs. A deployment calls two of them.
DEPLOYMENT_CALLS = {"get_template", "create_stack"}
NO_CALLS = {"search", "create_job", "describe_job", "stop_job"} | DEPLOYMENT_CALLS


@functools.cache
def words(file: Path) -> set[str]:
    """Every word of a file that may be a client's method: attributes, texts (paginators' names), and
    `getattr(client, f"describe_{kind}")` with each of the file's texts."""
    attributes, texts, beginnings = set(), set(), set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute):
            attributes.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.add(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            named = node.args[1]
            if isinstance(named, ast.JoinedStr) and isinstance(named.values[0], ast.Constant):
                beginnings.add(named.values[0].value)
    return attributes | texts | {beginning + text for beginning in beginnings for text in texts}


def needed(files: Iterable[Path], no_calls: Set[str] = frozenset(NO_CALLS)) -> dict[str, list[set[str]]]:
    """Each call of the code: what it needs, as sets of actions of which one has to be allowed as a whole.

    There is more than one set where services have an operation of the same name, such as ListTags.
    """
    calls: dict[str, list[set[str]]] = {}
    found = set().union(*(words(file) for file in files)) - no_calls
    for word in sorted(found & (operations().keys() | TRANSFERS.keys())):
        if word in TRANSFERS:
            calls[word] = [TRANSFERS[word]]
        else:
            calls[word] = [
                ACTIONS.get((service, name), {f"{SERVICES[service]}:{name}"}) for service, name in operations()[word]
            ]
    return calls
