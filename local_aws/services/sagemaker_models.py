"""SageMaker's models: moto keeps them, and what AWS refuses is refused before."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from local_aws import images
from local_aws.endpoints import models
from local_aws.endpoints.instance import StartFailed
from local_aws.errors import validation
from local_aws.services.base import FORWARD, Call, Service


class SageMakerModels(Service):
    """CreateModel, which looks at the images; source: SageMaker API reference, CreateModel, ContainerDefinition."""

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
        return FORWARD
