"""What counts as AWS's way of saying that a thing is not there."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from musher.hooks import registry
from musher.hooks.sagemaker_jobs import is_missing

PACKAGE = "arn:aws:sagemaker:us-west-2:111122223333:model-package/classifier/1"


def error(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "Describe")


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("ValidationException", f"ModelPackage {PACKAGE} does not exist.", True),
        ("ValidationException", 'Could not find model "a".', True),
        ("ValidationException", "Requested resource not found.", True),
        ("ResourceNotFound", "", True),
        ("ResourceNotFoundException", "Function not found", True),
        ("ValidationException", "Model package group is being deleted.", False),
        ("AccessDeniedException", "A policy that does not exist gives you nothing.", False),
        ("ThrottlingException", "Rate exceeded", False),
    ],
)
def test_what_is_missing(code, message, expected):
    assert is_missing(error(code, message)) is expected


class Refusing:
    """A registry in which the group cannot be looked at."""

    def get_paginator(self, _):
        return self

    def paginate(self, **_):
        return [{"ModelPackageSummaryList": []}]

    def describe_model_package_group(self, **_):
        raise error("AccessDeniedException", "not authorized to perform: sagemaker:DescribeModelPackageGroup")


def test_a_group_that_may_not_be_looked_at_is_not_made():
    request = {"ModelPackageGroupName": "g", "CustomerMetadataProperties": {"run_key": "r", "job": "j"}}
    with pytest.raises(ClientError, match="DescribeModelPackageGroup"):
        registry.register(Refusing(), request, {"ModelPackageGroupName": "g"})
