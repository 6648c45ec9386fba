"""Which model an endpoint serves: from the endpoint to its configuration, from there to the model and its package.

After a rollback, or a deployment of an older package, that is another one than the newest approved package.
Source: SageMaker API reference, DescribeEndpoint, DescribeEndpointConfig, DescribeModel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from musher.hooks.serving import found

# In these states an endpoint has never answered a call, or will answer none any more.
_NOT_SERVING = {"Creating", "Deleting", "Failed"}


class NotToBeTold(Exception):
    """Something serves, and AWS does not tell us what; the message is the reason, as the end of a sentence."""


@dataclass(frozen=True)
class InService:
    """A model that serves: `model` its name, `package` the description of its model package, None when it was made by
    hand without one; `model_data` the s3:// URI of its archive."""

    model: str
    package: Mapping[str, Any] | None
    model_data: str

    @property
    def properties(self) -> Mapping[str, str]:
        """What our registration wrote down of the model; empty for one that somebody else registered."""
        return (self.package or {}).get("CustomerMetadataProperties") or {}

    @property
    def ours(self) -> bool:
        return bool(self.properties.get("run_key"))

    @property
    def arn(self) -> str | None:
        return self.package["ModelPackageArn"] if self.package else None


def in_service(client: Any, endpoint: str) -> InService | None:
    """The model that an endpoint serves; None when nothing is deployed. Of several variants, that of most of the calls.

    Raises NotToBeTold.
    """
    now = found(lambda: client.describe_endpoint(EndpointName=endpoint))
    if now is None or now["EndpointStatus"] in _NOT_SERVING:
        return None
    name = now["EndpointConfigName"]
    config = _look(f"its configuration {name}", lambda: client.describe_endpoint_config(EndpointConfigName=name))
    weights = {each["VariantName"]: each.get("CurrentWeight") or 0 for each in now.get("ProductionVariants") or ()}
    variant = max(config["ProductionVariants"], key=lambda each: weights.get(each["VariantName"], 0))
    model = variant.get("ModelName")
    if not model:
        raise NotToBeTold(f"its configuration {name} names no model")
    described = _look(f"the model {model}", lambda: client.describe_model(ModelName=model))
    container = described.get("PrimaryContainer") or (described.get("Containers") or [{}])[0]
    package = None
    if arn := container.get("ModelPackageName"):
        package = _look(f"the model package {arn}", lambda: client.describe_model_package(ModelPackageName=arn))
        container = (package.get("InferenceSpecification") or {}).get("Containers", [{}])[0]
    data = model_data(container)
    if not data:
        raise NotToBeTold(f"the model {model} names no model archive")
    return InService(model, package, data)


def model_data(container: Mapping[str, Any]) -> str | None:
    """Where a container's model archive is, in either way that AWS has to say it."""
    source = (container.get("ModelDataSource") or {}).get("S3DataSource") or {}
    return container.get("ModelDataUrl") or source.get("S3Uri")


def _look(what: str, describe: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        answer = found(describe)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"AccessDenied", "AccessDeniedException"}:
            raise
        raise NotToBeTold(f"{what} may not be read: {error.response['Error']['Message']}") from None
    if answer is None:
        raise NotToBeTold(f"{what} does not exist any more")
    return answer
