"""From a model's record (kept by moto) to a folder that an instance can serve."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from local_aws import images, instance_types
from local_aws.endpoints.instance import DEFAULT_STARTUP_SECONDS, Container, StartFailed
from local_aws.environments import pip_variables
from local_aws.iam.acting import AccessDenied, Acting
from local_aws.storage import Storage, parse_s3_uri

if TYPE_CHECKING:
    from local_aws.aws import LocalAws


def prepare(aws: LocalAws, variant: dict[str, Any], folder: Path) -> Container:
    """Make one production variant's container: image checked, model archive fetched and unpacked below `folder`.

    The instances of the variant share the folder: it is read by them, and a copy each would fill the disk.
    Raises StartFailed with the sentence that becomes the endpoint's FailureReason.
    """
    definition = definition_of(aws, variant)
    refused = images.refusal(definition["Image"], "inference", account=aws.account, region=aws.region)
    if refused:
        raise StartFailed(refused)
    model_dir = folder / "model"
    model_dir.mkdir(parents=True)
    role = definition.get("ExecutionRoleArn")
    acting = acting_of(aws, role) if role else None
    if acting and not images.may_pull(definition["Image"], acting):
        # As users have quoted DescribeEndpoint's FailureReason in public.
        raise StartFailed(
            f"Please make sure all images included in the model for the production variant {variant['VariantName']} "
            "exist, and that the execution role used to create the model has permissions to access them."
        )
    if definition.get("ModelDataUrl"):
        fetch(aws.s3.under(acting), definition["ModelDataUrl"], folder / "model.tar.gz", model_dir)
    return Container(
        model_dir=model_dir,
        environment=pip_variables(definition["EnableNetworkIsolation"])
        | credentials_of(aws, definition, folder)
        | environment_of(aws, definition.get("Environment") or {}, folder, model_dir),
        threads=instance_types.threads(variant["InstanceType"]),
        requirements=(model_dir / "code" / "requirements.txt").is_file(),
        startup_seconds=variant.get("ContainerStartupHealthCheckTimeoutInSeconds") or DEFAULT_STARTUP_SECONDS,
        acting=acting,
    )


def acting_of(aws: LocalAws, role: str) -> Acting:
    """A model's execution role, as SageMaker takes it."""
    return aws.iam.acting(role, "sagemaker.amazonaws.com", "SageMaker")


def definition_of(aws: LocalAws, variant: dict[str, Any]) -> dict[str, Any]:
    """The container definition (Image, ModelDataUrl, Environment) of a variant's model or model package.

    With the model's EnableNetworkIsolation and ExecutionRoleArn, which are no part of it.
    """
    sagemaker = aws.client("sagemaker")
    try:
        model = sagemaker.describe_model(ModelName=variant["ModelName"])
        definition = resolved(sagemaker, model.get("PrimaryContainer") or (model.get("Containers") or [{}])[0])
    except ClientError as error:
        raise StartFailed(error.response["Error"].get("Message") or str(error)) from error
    if not definition.get("Image"):
        raise StartFailed(f"The model {variant['ModelName']!r} names no container image.")
    isolated = bool(model.get("EnableNetworkIsolation"))
    return {**definition, "EnableNetworkIsolation": isolated, "ExecutionRoleArn": model.get("ExecutionRoleArn")}


def resolved(sagemaker: Any, definition: dict[str, Any]) -> dict[str, Any]:
    """A container definition with what its model package says, if it names one.

    Raises StartFailed for an inference specification that the package does not have, ClientError for a missing package.
    """
    package = definition.get("ModelPackageName")
    if not package:
        return definition
    described = sagemaker.describe_model_package(ModelPackageName=package)
    specification, name = described["InferenceSpecification"], definition.get("InferenceSpecificationName")
    if name:
        named = [each for each in described.get("AdditionalInferenceSpecifications") or () if each["Name"] == name]
        if not named:
            raise StartFailed(f"The model package {package} has no inference specification {name!r}.")
        specification = named[0]
    inner = specification["Containers"][0]
    environment = (inner.get("Environment") or {}) | (definition.get("Environment") or {})
    return {**inner, "Environment": environment}


def environment_of(aws: LocalAws, given: dict[str, str], folder: Path, model_dir: Path) -> dict[str, str]:
    """What the inference toolkit reads, with the model's own variables over it."""
    code = str(model_dir / "code")
    own = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_REGION": aws.region, "AWS_REGION": aws.region}
    # Requests for other places would point outside this instance's folder.
    fixed = {"SAGEMAKER_BASE_DIR": str(folder), "SAGEMAKER_SUBMIT_DIRECTORY": code, "PYTHONPATH": code}
    return own | given | fixed | {"PYTHONDONTWRITEBYTECODE": "1"}


def credentials_of(aws: LocalAws, definition: dict[str, Any], folder: Path) -> dict[str, str]:
    """Where a container finds AWS, and the credentials of its model's role; nothing of it with network isolation."""
    role = definition.get("ExecutionRoleArn")
    if definition["EnableNetworkIsolation"] or not role:
        return {}
    offer = aws.iam.sessions.offer(role, "sagemaker.amazonaws.com", "SageMaker", owner=str(folder.parent))
    return {
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": aws.url + offer,
        "AWS_DEFAULT_REGION": aws.region,
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def fetch(s3: Storage, uri: str, archive: Path, model_dir: Path) -> None:
    """Download and unpack a model archive.

    Raises StartFailed: missing, not for this role, unreadable, or with members outside of it.
    """
    try:
        bucket, key = parse_s3_uri(uri)
        s3.download(bucket, key, archive)
    except ValueError as error:
        raise StartFailed(f"The model data cannot be used: {error}") from error
    except (FileNotFoundError, AccessDenied) as error:
        # As users have quoted DescribeEndpoint's FailureReason in public; it does not say which of the two it is.
        raise StartFailed(
            f'Failed to download model data for container "container_1" from URL: "{uri}". Please ensure that there '
            "is an object located at the URL and that the role passed to CreateModel has permissions to download the "
            "object."
        ) from error
    try:
        with tarfile.open(archive) as tar:
            # The "data" filter of PEP 706 refuses absolute paths, "..", links to outside and devices.
            tar.extractall(model_dir, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise StartFailed(f"The model data at {uri} cannot be unpacked: {error}") from error
    finally:
        archive.unlink(missing_ok=True)


def remove(aws: LocalAws, folder: Path) -> None:
    """Delete what `prepare` made below a folder, and give no more credentials to what ran there."""
    aws.iam.sessions.withdraw(str(folder))
    shutil.rmtree(folder, ignore_errors=True)
