"""What CreateTrainingJob refuses of a request's places, times and metrics."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from local_aws.errors import validation
from local_aws.iam.acting import AccessDenied, Acting
from local_aws.storage import parse_s3_uri
from local_aws.training.files import CONTAINER_BASE

if TYPE_CHECKING:
    from local_aws.aws import LocalAws

# AWS: API reference, StoppingCondition: "The maximum value is 28 days."
LONGEST_SECONDS = 28 * 24 * 3600
# Configurations with a place in S3 and one in the container.
LOCAL_PLACES = (
    ("CheckpointConfig", "S3Uri"), ("DebugHookConfig", "S3OutputPath"), ("TensorBoardOutputConfig", "S3OutputPath"),
)  # fmt: skip


def check_places(aws: LocalAws, params: dict[str, Any], acting: Acting) -> None:
    """Raise AwsError for places in S3 that are none, and for channels without an object that the role may list."""
    places = [("OutputDataConfig.S3OutputPath", params["OutputDataConfig"]["S3OutputPath"])]
    for config, member in LOCAL_PLACES:
        if params.get(config):
            places.append((f"{config}.{member}", params[config][member]))
            local = params[config].get("LocalPath") or CONTAINER_BASE
            if local != CONTAINER_BASE and not local.startswith(CONTAINER_BASE + "/"):
                raise validation(f"{config}.LocalPath must be below {CONTAINER_BASE} here, not {local!r}.")
    if (params.get("ProfilerConfig") or {}).get("S3OutputPath"):
        places.append(("ProfilerConfig.S3OutputPath", params["ProfilerConfig"]["S3OutputPath"]))
    channels = _channels(params)
    for what, uri in (*places, *((f"channel {name}", uri) for name, uri in channels.items())):
        try:
            bucket, _ = parse_s3_uri(uri)
        except ValueError as error:
            raise validation(f"{what}: {error}") from error
        if not aws.s3.bucket_exists(bucket):
            raise validation(f"{what}: the bucket {bucket!r} of {uri} does not exist or is in another region.")
    for uri in channels.values():
        _check_not_empty(aws, uri, params["RoleArn"], acting)


def _channels(params: dict[str, Any]) -> dict[str, str]:
    """The S3 URI of each channel."""
    found: dict[str, str] = {}
    for channel in params.get("InputDataConfig") or ():
        name = channel["ChannelName"]
        if name in found:
            raise validation(f"Channel names must be unique, but {name!r} is there twice.")
        source = channel["DataSource"].get("S3DataSource")
        if source is None or source["S3DataType"] != "S3Prefix" or channel.get("InputMode", "File") != "File":
            raise validation(
                f"The local AWS reads channels as files from S3 prefixes; channel {name!r} needs "
                "DataSource.S3DataSource with S3DataType S3Prefix, and InputMode File."
            )
        found[name] = source["S3Uri"]
    return found


def _check_not_empty(aws: LocalAws, uri: str, role: str, acting: Acting) -> None:
    bucket, prefix = parse_s3_uri(uri)
    try:
        listed = list(aws.s3.under(acting).list(bucket, prefix))
    except AccessDenied:
        listed = []
    if all(each.key.endswith("/") for each in listed):
        raise validation(
            f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket '
            f"exists in the selected region ({aws.region}), that objects exist under that S3 prefix, and "
            f'that the role "{role}" has "s3:ListBucket" permissions on bucket "{bucket}".'
        )


def check_limits(params: dict[str, Any]) -> None:
    """Raise AwsError for times that no job may run or wait."""
    stopping = params["StoppingCondition"]
    longest, patience = stopping.get("MaxRuntimeInSeconds") or 86_400, stopping.get("MaxWaitTimeInSeconds")
    for member in ("MaxRuntimeInSeconds", "MaxWaitTimeInSeconds"):
        if (stopping.get(member) or 0) > LONGEST_SECONDS:
            raise validation(
                f"StoppingCondition.{member} must be at most {LONGEST_SECONDS} (28 days), not {stopping[member]}."
            )
    if params.get("EnableManagedSpotTraining"):
        if patience is None or patience < longest:
            raise validation(
                f"Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
                f"MaxRuntimeInSeconds ({longest}) for a managed Spot job; it is {patience}."
            )
    elif patience is not None:
        raise validation("MaxWaitTimeInSeconds is for managed Spot jobs: set EnableManagedSpotTraining.")


def check_metrics(definitions: list[dict[str, Any]]) -> None:
    """Raise AwsError for too many metrics, or one whose expression is none."""
    if len(definitions) > 40:
        raise validation(f"MetricDefinitions may have at most 40 entries, not {len(definitions)}.")
    for each in definitions:
        try:
            re.compile(each["Regex"])
        except re.error as error:
            raise validation(
                f"The Regex {each['Regex']!r} of metric {each['Name']!r} is not a regular expression: {error}."
            ) from None
