"""The variants of SageMaker's endpoints as what Application Auto Scaling scales."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from local_aws import instance_types
from local_aws.endpoints.endpoint import Endpoint
from local_aws.errors import validation
from local_aws.scaling.kinds import Metric, Scalable, State

if TYPE_CHECKING:
    from local_aws.services.sagemaker_endpoints import SageMakerEndpoints

CHANGING = ("Updating", "Creating", "RollingBack", "SystemUpdating")


class Variants(Scalable):
    """Source: SageMaker developer guide, "Automatically scale Amazon SageMaker AI models"."""

    namespace, dimension = "sagemaker", "sagemaker:variant:DesiredInstanceCount"
    form, pattern = "endpoint/NAME/variant/NAME", re.compile(r"endpoint/([^/]+)/variant/([^/]+)")
    what, capacity, service = "a SageMaker variant", "instance count", "AmazonSageMaker"
    lowest, cooldown, has_steps = 1, 300, True
    metrics = {
        "SageMakerVariantInvocationsPerInstance": Metric("AWS/SageMaker", "InvocationsPerInstance", "Sum", 60, True),
        "SageMakerVariantConcurrentRequestsPerModelHighResolution": Metric(
            "AWS/SageMaker", "ConcurrentRequestsPerModel", "Average", 10, False
        ),
    }

    @property
    def _endpoints(self) -> SageMakerEndpoints:
        from local_aws.services.sagemaker_endpoints import SageMakerEndpoints

        return self.aws.service(SageMakerEndpoints)

    def watch(self, registered: Callable[[], Iterable[str]]) -> None:
        def refusal(endpoint: Endpoint, config: dict[str, Any]) -> str | None:
            return self._refusal_of_update(registered(), endpoint, config)

        self._endpoints.refuses_update.append(refusal)

    def check(self, resource: str) -> None:
        variant = self._variant(*self._names(resource))
        if variant is None:
            raise validation(f"SageMaker endpoint or variant doesn't exist: {resource}")
        instance_type = variant.config.get("InstanceType", "")
        if instance_types.is_burstable(instance_type):
            raise validation(
                f"The instance type {instance_type} of {resource} is burstable: automatic scaling is not supported "
                "for burstable instance types such as T2 and T3."
            )

    def state(self, resource: str) -> State | None:
        name, variant_name = self._names(resource)
        endpoint = self._endpoints.find(name)
        if endpoint is None:
            return None
        variant = self._variant(name, variant_name) if endpoint.status == "InService" else None
        return State(
            endpoint.status in CHANGING, endpoint.failure or "", variant.desired if variant is not None else None
        )

    def scale(self, resource: str, desired: int) -> None:
        self._endpoints.set_capacity(*self._names(resource), desired)

    def dimensions(self, resource: str) -> dict[str, str]:
        endpoint, variant = self._names(resource)
        return {"EndpointName": endpoint, "VariantName": variant}

    def _names(self, resource: str) -> tuple[str, str]:
        """Of the endpoint and the variant."""
        endpoint, variant = self.pattern.fullmatch(resource).groups()
        return endpoint, variant

    def _variant(self, endpoint: str, variant: str) -> Any:
        found = self._endpoints.find(endpoint)
        return found.fleet.variant(variant) if found and found.fleet else None

    def _refusal_of_update(self, resources: Iterable[str], endpoint: Endpoint, config: dict[str, Any]) -> str | None:
        for name, variant_name in map(self._names, resources):
            variant = self._variant(name, variant_name) if name == endpoint.name else None
            if variant is None:
                continue
            new = next((each for each in config["ProductionVariants"] if each["VariantName"] == variant.name), None)
            if new is None or new.get("InstanceType") != variant.config.get("InstanceType"):
                return (
                    f"The variant {variant.name} of endpoint {endpoint.name} is registered as a scalable target: "
                    "deregister it from Application Auto Scaling before its instance type is changed or it is removed."
                )
        return None
