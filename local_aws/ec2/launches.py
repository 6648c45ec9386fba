"""What a launch names: its image, its key pair and its instance profile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from local_aws.ec2 import images
from local_aws.ec2.requests import required, unsupported
from local_aws.errors import AwsError
from local_aws.services.base import Call

Ask = Callable[..., dict[str, Any]]
"""Asks moto, or one of the other services, raising AwsError: `ask(operation, service="ec2", **params)`."""
RESOLVED_BY_SSM = "resolve:ssm:"


def image_of(ask: Ask, call: Call) -> str:
    """The id of the image that a launch names. Raises AwsError."""
    if call.params.get("LaunchTemplate"):
        raise unsupported("launch from a launch template: name image and instance type in RunInstances")
    image = required(call, "ImageId")
    images.register(call.account, call.region)
    if image.startswith(RESOLVED_BY_SSM):
        found = ask("get_parameter", service="ssm", Name=image.removeprefix(RESOLVED_BY_SSM))
        image = found["Parameter"]["Value"]
    ask("describe_images", ImageIds=[image])
    return image


def root_size(ask: Ask, image: str) -> int:
    """GiB of an image's own volume."""
    found = ask("describe_images", ImageIds=[image])["Images"][0].get("BlockDeviceMappings") or ()
    return next((each["Ebs"]["VolumeSize"] for each in found if each.get("Ebs", {}).get("VolumeSize")), 8)


def check_names(ask: Ask, request: dict[str, Any]) -> None:
    """Raises AwsError for a key pair or an instance profile that does not exist; moto checks the other names."""
    if request.get("KeyName"):
        ask("describe_key_pairs", KeyNames=[request["KeyName"]])
    profile = request.get("IamInstanceProfile") or {}
    name = profile.get("Name") or profile.get("Arn", "").rsplit("/", 1)[-1]
    if profile:
        try:
            ask("get_instance_profile", service="iam", InstanceProfileName=name)
        except AwsError:
            kind = "Name" if profile.get("Name") else "Arn"
            shown = "name" if kind == "Name" else "ARN"
            raise AwsError(
                "InvalidParameterValue",
                f"Value ({profile[kind]}) for parameter iamInstanceProfile.{kind.lower()} is invalid. "
                f"Invalid IAM Instance Profile {shown}",
            ) from None
