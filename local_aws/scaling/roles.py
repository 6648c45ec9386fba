"""The service-linked roles that Application Auto Scaling makes with an account's first target of a kind.

Source: Application Auto Scaling user guide, "Service-linked roles for Application Auto Scaling".
"""

from __future__ import annotations

import json

from moto.backends import get_backend

# By service namespace.
NAMES = {
    "sagemaker": "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint",
    "lambda": "AWSServiceRoleForApplicationAutoScaling_LambdaConcurrency",
}


def arn(namespace: str, account: str) -> str:
    """Of a namespace's role, whether it is there or not."""
    return f"arn:aws:iam::{account}:role{_path(namespace)}{NAMES[namespace]}"


def principal(namespace: str) -> str:
    """The service that may take it on."""
    return f"{namespace}.application-autoscaling.amazonaws.com"


def is_there(namespace: str, account: str) -> bool:
    """Whether it was made."""
    return any(each.name == NAMES[namespace] for each in list(get_backend("iam")[account]["aws"].roles.values()))


def make(namespace: str, account: str) -> None:
    """Make it where it is missing."""
    if is_there(namespace, account):
        return
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": [principal(namespace)]}}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    get_backend("iam")[account]["aws"].create_role(
        NAMES[namespace], trust, _path(namespace), permissions_boundary=None, description="", tags=[],
        max_session_duration="3600", linked_service=principal(namespace),
    )  # fmt: skip


def _path(namespace: str) -> str:
    return f"/aws-service-role/{principal(namespace)}/"
