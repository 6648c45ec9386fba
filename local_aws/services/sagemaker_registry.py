"""The part of SageMaker's model registry that moto lacks or gets wrong; moto keeps the records."""

from __future__ import annotations

import inspect
from typing import Any

from moto.backends import get_backend

from local_aws.errors import AwsError, of_moto, validation
from local_aws.events import sagemaker
from local_aws.services.base import FORWARD, Call, Service
from local_aws.tags import check_tags


class SageMakerRegistry(Service):
    """UpdateModelPackage that keeps what it is not told to change, and the deletions.

    Source: SageMaker API reference, UpdateModelPackage, DeleteModelPackage, DeleteModelPackageGroup.
    """

    name = "sagemaker"

    def create_model_package_group(self, call: Call) -> dict[str, Any]:
        check_tags(call.params.get("Tags"))
        group = self._backend(call).model_package_groups.get(call.params["ModelPackageGroupName"])
        if group is not None:
            raise validation(f"Model Package Group already exists: {group.arn}")
        return FORWARD

    def create_model_package(self, call: Call) -> dict[str, Any]:
        """As moto does, and the event that it does not send."""
        create = self._backend(call).create_model_package
        given = {name: call.params.get(name.title().replace("_", "")) for name in inspect.signature(create).parameters}
        with of_moto():
            arn = create(**given | {"certify_for_marketplace": bool(given["certify_for_marketplace"])})
        self._announce(self._package(call, arn))
        return {"ModelPackageArn": arn}

    def update_model_package(self, call: Call) -> dict[str, Any]:
        """Moto would clear the metadata and the approval description that a call does not repeat."""
        params, package = call.params, self._package(call, call.params["ModelPackageArn"])
        if params.get("ModelApprovalStatus"):
            package.set_model_approval_status(params["ModelApprovalStatus"])
        if "ApprovalDescription" in params:
            package.approval_description = params["ApprovalDescription"]
        properties = dict(package.customer_metadata_properties or {}) | (params.get("CustomerMetadataProperties") or {})
        for name in params.get("CustomerMetadataPropertiesToRemove") or ():
            properties.pop(name, None)
        package.customer_metadata_properties = properties or None
        package.add_additional_inference_specifications(params.get("AdditionalInferenceSpecificationsToAdd"))
        package.modifications_done()
        self._announce(package)
        return {"ModelPackageArn": package.arn}

    def delete_model_package(self, call: Call) -> None:
        backend, package = self._backend(call), self._package(call, call.params["ModelPackageName"])
        backend.model_packages = {name: each for name, each in backend.model_packages.items() if each is not package}

    def delete_model_package_group(self, call: Call) -> None:
        backend, name = self._backend(call), call.params["ModelPackageGroupName"]
        if name not in backend.model_package_groups:
            raise validation(f"Model package group {name} does not exist.")
        if any(each.model_package_group_name == name for each in backend.model_packages.values()):
            raise AwsError("ConflictException", f"The model package group {name} still has model packages.")
        del backend.model_package_groups[name]

    def _announce(self, package: Any) -> None:
        self.aws.events.send(
            sagemaker.MODEL_PACKAGE,
            package.arn,
            lambda: sagemaker.detail(sagemaker.MODEL_PACKAGE, package.gen_response_object()),
            sagemaker.SOURCE,
        )

    @staticmethod
    def _backend(call: Call) -> Any:
        return get_backend("sagemaker")[call.account][call.region]

    def _package(self, call: Call, name: str) -> Any:
        backend = self._backend(call)
        package = backend.model_packages.get(backend.model_package_name_mapping.get(name, name))
        if package is None:
            raise validation(f"ModelPackage {name} does not exist.")
        return package
