"""Which container images there are on AWS, which of them have a stand-in here, and what AWS says of others.

AWS's images are a dated list (images.json, which names its source). A stand-in runs AWS's own toolkit, with the
PyTorch of the container environment whatever version the tag names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local_aws.iam.acting import Acting

ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<place>(?P<region>[a-z0-9-]+)\.(?P<suffix>amazonaws\.com(\.cn)?))"
    r"/(?P<repository>[a-z0-9._/-]+)(:(?P<tag>[\w.-]+)|@sha256:[0-9a-f]{64})?"
)

PULLING = ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer")
PULL = ", ".join(f"ecr:{each}" for each in PULLING)
CHECK = "Please check if your ECR {what} and role {role} has proper pull permissions for SageMaker: " + PULL

# What AWS answers, by operation: as users of it have quoted these errors in public, for there is no page that has them.
# No quotation goes on after "Cannot find the requested image:" but for the image.
SAID = {
    "CreateTrainingJob": {
        "registry": "TrainingImageConfig with TrainingRepositoryAccessMode set to VPC must be provided when using a "
        "training image from a private Docker registry. Please provide TrainingImageConfig and "
        "TrainingRepositoryAccessMode set to VPC when using a training image from a private Docker registry.",
        "region": "Invalid DNS suffix '{suffix}' for region '{region}' in training image. Please provide the valid "
        "<region>.<dns-suffix>: '{expected}'",
        "account": "Access denied for repository: {repository} in registry ID: {account}. "
        + CHECK.replace("{what}", "repository and image exist"),
        "repository": "Cannot find repository: {repository} in registry ID: {account} "
        + CHECK.replace("{what}", "repository exists"),
        "tag": "Cannot find the requested image: {image}",
    },
    "CreateModel": {
        "registry": 'Using non-ECR image "{image}" without Vpc repository access mode is not supported.',
        "region": 'Region of "{image}" does not match expected region of {here}. Cross region ECR image pulls are not '
        "allowed.",
        "account": "The repository of your image {image} does not grant ecr:GetDownloadUrlForLayer, ecr:BatchGetImage, "
        "ecr:BatchCheckLayerAvailability permission to sagemaker.amazonaws.com service principal.",
        "repository": "Requested image {image} not found.",
        "tag": "Requested image {image} not found.",
    },
}
WORDS = {"training": "a training image", "inference": "an inference image"}
OPERATIONS = {"training": "CreateTrainingJob", "inference": "CreateModel"}


@cache
def catalogue() -> Mapping[str, Any]:
    """AWS's images: accounts by region, and repositories with their purpose and tags."""
    return json.loads(Path(__file__).with_name("images.json").read_text())


def not_pulled(image: str, role: str) -> str:
    """What AWS says of a training image that the job's role may not pull."""
    parts = ECR.fullmatch(image)
    assert parts is not None
    return SAID["CreateTrainingJob"]["account"].format(role=role, **parts.groupdict())


def refusal(image: str, purpose: str, *, account: str, region: str, role: str = "") -> str | None:
    """Why `image` cannot run as `purpose` ("training" or "inference") here, as a sentence; None when it can.

    Parameters: `account` and `region` of the call, `role` that the job would run as. What AWS refuses is refused with
    AWS's sentence.
    """
    parts = ECR.fullmatch(image)
    wrong = _wrong(image, parts, account, region)
    if wrong:
        known = {"image": image, "here": region, "role": role, "expected": _place(region)}
        said = SAID[OPERATIONS[purpose]][wrong].format(**known, **(parts.groupdict() if parts else {}))
        listed = wrong in ("repository", "tag")
        return said + (f" (AWS's images are known here as of {catalogue()['date']}.)" if listed else "")
    repository = catalogue()["repositories"].get(parts["repository"]) if parts else None
    if repository and parts["account"] != account and repository["purpose"] == purpose:
        return None
    return (
        f"The local AWS has no stand-in for the image {image!r} as {WORDS[purpose]}. It has stand-ins for AWS's "
        f"PyTorch images for {purpose}, in {' and '.join(_repositories(purpose))}."
    )


def may_pull(image: str, acting: Acting) -> bool:
    """Whether a role may have SageMaker pull an image of AWS's; the image is one that `refusal` takes.

    AWS: SageMaker developer guide, "How to use SageMaker AI execution roles", and "PULL" above.
    """
    parts = ECR.fullmatch(image)
    if parts is None:
        return True
    repository = f"arn:aws:ecr:{parts['region']}:{parts['account']}:repository/{parts['repository']}"
    needed = [("GetAuthorizationToken", "*"), *((each, repository) for each in PULLING)]
    return all([acting.may_on("ecr", action, resource) for action, resource in needed])


def _wrong(image: str, parts: re.Match[str] | None, account: str, region: str) -> str:
    """Which part of an image's name AWS would not take; empty when it would take all of it."""
    if parts is None:
        # AWS publishes its images there as well; whether a job takes them from there, nobody here has tried.
        return "" if image.startswith("public.ecr.aws/") else "registry"
    if parts["place"] != _place(region):
        return "region"
    if parts["account"] == account:
        return ""
    if parts["account"] != catalogue()["accounts"].get(region):
        return "account"
    name, repositories = parts["repository"], catalogue()["repositories"]
    if name in catalogue()["without_a_stand_in"]:
        return ""
    if name not in repositories:
        return "repository"
    return "" if parts["tag"] in repositories[name]["tags"] else "tag"


def _place(region: str) -> str:
    return f"{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def _repositories(purpose: str) -> list[str]:
    return [name for name, each in catalogue()["repositories"].items() if each["purpose"] == purpose]
