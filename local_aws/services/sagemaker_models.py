"""SageMaker's models: moto keeps them, and what AWS refuses is refused before."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError
from moto.backends import get_backend

from local_aws import images
from local_aws.endpoints import models
from local_aws.endpoints.instance import StartFailed
from local_aws.errors import validation
from local_aws.services.base import FORWARD, Call, Service


class SageMakerModels(Service):
    """CreateModel, which looks at the images; source: SageMaker API reference, CreateModel, ContainerDefinition.

    Moto would forget EnableNetworkIsolation.
    """

    name = "sagemaker"

    def create_model(self, call: Call) -> dict[str, Any]:
        primary = call.params.get("PrimaryContainer")
        for definition in [primary] if primary else call.params.get("Containers") or []:
            try:
                image = models.resolved(self.aws.client("sagemaker"), definition).get("Image")
            except StartFailed as error:
                raise validation(str(error)) from None
            except ClientError as error:
                raise validation(error.response["Error"]["Message"]) from None
            if image is None:
                continue
            refused = images.refusal(image, "inference", account=call.account, region=call.region)
            if refused:
                raise validation(refused)
        return self._create_isolated(call) if call.params.get("EnableNetworkIsolation") else FORWARD

    @staticmethod
    def _create_isolated(call: Call) -> dict[str, Any]:
        params = call.params
        model = get_backend("sagemaker")[call.account][call.region].create_model(
            model_name=params["ModelName"],
            execution_role_arn=params.get("ExecutionRoleArn", ""),
            primary_container=params.get("PrimaryContainer"),
            vpc_config=params.get("VpcConfig"),
            containers=params.get("Containers"),
            tags=params.get("Tags"),
        )
        model.enable_network_isolation = True
        return {"ModelArn": model.arn}
