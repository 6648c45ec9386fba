"""CreateModelPackageGroup, CreateModelPackage, UpdateModelPackage: the model registry."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from musher import images, instances
from musher.config import Environment
from musher.names import Run, label
from musher.request_parameters import common

_LONGEST_DESCRIPTION = 1024

CONTENT_TYPES = [*(f"image/{kind}" for kind in ("jpeg", "png", "gif", "bmp", "tiff", "webp")), "application/x-image"]
RESPONSE_TYPES = ["application/json"]


def container(env: Environment, model_data: str, device: str) -> dict[str, Any]:
    """The inference container of a model archive that carries its own `code/inference.py`, for instances with CPUs
    or with GPUs.
    """
    return {
        "Image": env.inference_image or images.image(images.INFERENCE, device, env.region),
        "ModelDataUrl": model_data,
        "Environment": {
            "SAGEMAKER_PROGRAM": "inference.py",
            "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
            "SAGEMAKER_REGION": env.region,
            "SAGEMAKER_CONTAINER_LOG_LEVEL": "20",
        },
    }


def model_package_group(env: Environment, run: Run) -> dict[str, Any]:
    """CreateModelPackageGroup request. The versions registered in the group share its tags: they take none."""
    return {
        "ModelPackageGroupName": env.model_package_group,
        "ModelPackageGroupDescription": f"Image classifiers of the project {env.project}.",
        "Tags": common.tags(env, run),
    }


def model_package(
    env: Environment,
    run: Run,
    *,
    model_data: str,
    accepted: bool,
    reason: str,
    properties: Mapping[str, object],
    evaluation: str = "",
) -> dict[str, Any]:
    """CreateModelPackage request: a version in the group, Approved or Rejected with the reason.

    Parameters: `model_data` the model archive (an s3:// URI); `reason` one sentence of the quality gate; `properties`
    what a later run needs to know of it (dataset version, accuracy, test set, training job...), as `names.label` leaves
    them; `evaluation` the s3:// URI of evaluation.json. The token makes a retry of the same run
    register nothing twice. Which instances a deployment takes is not known yet, so AWS's image for GPUs is registered
    beside the one for CPUs.
    Source: SageMaker API reference, CreateModelPackage.
    """
    known = {"dag": run.dag_id, "run": run.run_id, "run_key": run.key, "reason": reason, **properties}
    request: dict[str, Any] = {
        "ModelPackageGroupName": env.model_package_group,
        "ModelPackageDescription": reason[:_LONGEST_DESCRIPTION],
        "ModelApprovalStatus": _status(accepted),
        "Domain": "COMPUTER_VISION",
        "Task": "IMAGE_CLASSIFICATION",
        "InferenceSpecification": _specification(container(env, model_data, instances.CPU)),
        "CustomerMetadataProperties": {name: label(value) for name, value in known.items()},
        "ClientToken": hashlib.sha256(f"{run.key} {model_data}".encode()).hexdigest()[:32],
    }
    if not env.inference_image:
        specification = _specification(container(env, model_data, instances.GPU))
        request["AdditionalInferenceSpecifications"] = [{"Name": instances.GPU, **specification}]
    if evaluation:
        statistics = {"ContentType": "application/json", "S3Uri": evaluation}
        request["ModelMetrics"] = {"ModelQuality": {"Statistics": statistics}}
    return request


def model_approval(package_arn: str, *, accepted: bool, reason: str) -> dict[str, Any]:
    """UpdateModelPackage request that sets the status and, where the console shows it, the reason.

    CreateModelPackage takes no approval description, so this follows it.
    """
    return {
        "ModelPackageArn": package_arn,
        "ModelApprovalStatus": _status(accepted),
        "ApprovalDescription": reason[:_LONGEST_DESCRIPTION],
    }


def release_decision(
    package: Mapping[str, Any], *, approved: bool, by: str, at: str, sentence: str, keeps_status: bool
) -> dict[str, Any]:
    """UpdateModelPackage request that writes down what a person decided on a model's release.

    Parameters: `package` as DescribeModelPackage describes it; `sentence` says who decided when and why;
    `keeps_status` for a package that serves, which a rejected release of it does not make a bad model. What the console
    shows begins with the decision, and ends with the quality gate's reason. Source: SageMaker API reference,
    UpdateModelPackage: ApprovalDescription has at most 1,024 characters, a property 256.
    """
    gate = (package.get("CustomerMetadataProperties") or {}).get("reason", "")
    decision = "approved" if approved else "rejected"
    request = {
        "ModelPackageArn": package["ModelPackageArn"],
        "ApprovalDescription": f"Release {decision}. {sentence} {gate}".strip()[:_LONGEST_DESCRIPTION],
        "CustomerMetadataProperties": {
            "release": decision,
            "release_decided_by": label(by),
            "release_decided_at": label(at),
            "release_reason": label(sentence),
        },
    }
    return request if keeps_status else {**request, "ModelApprovalStatus": _status(approved)}


def inference_specification(package: Mapping[str, Any], device: str) -> tuple[str, str]:
    """Which of a package's inference specifications instances with this device take, and the image that it names.

    Parameters: `package` as DescribeModelPackage describes it. The first one has no name (`""`); it is also the answer
    for GPUs where no other one was registered: an image of one's own.
    """
    for each in package.get("AdditionalInferenceSpecifications") or ():
        if each["Name"] == device:
            return device, each["Containers"][0]["Image"]
    return "", package["InferenceSpecification"]["Containers"][0]["Image"]


def _specification(inside: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "Containers": [inside],
        "SupportedContentTypes": CONTENT_TYPES,
        "SupportedResponseMIMETypes": RESPONSE_TYPES,
    }


def _status(accepted: bool) -> str:
    return "Approved" if accepted else "Rejected"
