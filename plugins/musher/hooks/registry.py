"""The model registry: which model is the newest approved one, and registering each model once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from musher import record
from musher.hooks.sagemaker_jobs import is_missing


def packages(client: Any, group: str) -> Iterator[dict[str, Any]]:
    """The descriptions of a group's model packages, newest first; none when there is no such group."""
    pages = client.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending"
    )
    try:
        summaries = [summary for page in pages for summary in page["ModelPackageSummaryList"]]
    except ClientError as error:
        if is_missing(error):
            return
        raise
    # Versions registered within one second of each other come in any order.
    for summary in sorted(summaries, key=lambda each: each.get("ModelPackageVersion", 0), reverse=True):
        yield client.describe_model_package(ModelPackageName=summary["ModelPackageArn"])


def newest_approved(client: Any, group: str, *, beside: str = "") -> dict[str, Any] | None:
    """The newest approved model package of a group: what is deployed when nobody names another one.

    Parameters: `beside` the ARN of one that is not meant.
    """
    for each in packages(client, group):
        if each.get("ModelApprovalStatus") == "Approved" and each["ModelPackageArn"] != beside:
            return each
    return None


def register(client: Any, request: Mapping[str, Any], group: Mapping[str, Any]) -> str:
    """Register a model version once: a retry of the same run finds the first try's. Returns its ARN.

    Parameters: `request` for CreateModelPackage, `group` for CreateModelPackageGroup, made when it is missing.
    """
    wanted = request["CustomerMetadataProperties"]
    for each in packages(client, request["ModelPackageGroupName"]):
        known = each.get("CustomerMetadataProperties") or {}
        if known.get("run_key") == wanted["run_key"] and known.get("job") == wanted["job"]:
            return each["ModelPackageArn"]
    try:
        client.describe_model_package_group(ModelPackageGroupName=group["ModelPackageGroupName"])
    except ClientError as error:
        if not is_missing(error):
            raise
        client.create_model_package_group(**group)
    return client.create_model_package(**request)["ModelPackageArn"]


def evaluation(s3: Any, package: Mapping[str, Any]) -> record.Evaluation | None:
    """The evaluation that a model was registered with; None where there is none that we can read.

    Parameters: `package` as DescribeModelPackage describes it.
    """
    try:
        return record.read_at(s3, package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"], record.Evaluation)
    except (KeyError, TypeError, ValueError, record.RecordError):
        return None  # no metrics, or in another form than evaluate.py's
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"NoSuchKey", "NoSuchBucket", "AccessDenied"}:
            raise
        return None
