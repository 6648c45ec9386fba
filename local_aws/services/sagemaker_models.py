"""SageMaker's models and endpoint configurations: moto keeps them, and what AWS refuses is refused before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError
from moto.backends import get_backend

from local_aws import images
from local_aws.endpoints import models
from local_aws.endpoints.instance import StartFailed
from local_aws.errors import of_moto, validation
from local_aws.services.base import FORWARD, Call, Service, page
from local_aws.services.listing import chosen
from local_aws.storage import parse_s3_uri
from local_aws.tags import check_tags


class SageMakerModels(Service):
    """CreateModel, which looks at images and data, and what moto's answers about both kinds lack.

    Source: SageMaker API reference, CreateModel, ContainerDefinition, CreateEndpointConfig. Moto replaces one of the
    same name, forgets EnableNetworkIsolation, filters no list, and describes what was not given as {}.
    """

    name = "sagemaker"

    def create_model(self, call: Call) -> dict[str, Any]:
        params, name = call.params, call.params["ModelName"]
        check_tags(params.get("Tags"))
        arn = call.arn(f"model/{name.lower()}")
        if name in self._moto._models:
            raise validation(f'Cannot create already existing model "{arn}".')
        primary, several = params.get("PrimaryContainer"), params.get("Containers")
        if bool(primary) == bool(several):
            raise validation("A model needs PrimaryContainer or Containers, one of the two.")
        if len(several or ()) > 1:
            raise validation("Containers: the local AWS serves models of one container, no inference pipelines.")
        for definition in [primary] if primary else several:
            self._check_container(call, definition, params.get("ExecutionRoleArn"))
        return self._create_isolated(call) if params.get("EnableNetworkIsolation") else FORWARD

    def _check_container(self, call: Call, given: dict[str, Any], role: str | None) -> None:
        try:
            definition = models.resolved(self.aws.client("sagemaker"), given)
        except StartFailed as error:
            raise validation(str(error)) from None
        except ClientError as error:
            raise validation(error.response["Error"]["Message"]) from None
        # The data of a model package were looked at when it was registered.
        image, data = definition.get("Image"), given.get("ModelDataUrl")
        if image is None:
            raise validation("A container of a model needs an Image or a ModelPackageName.")
        refused = images.refusal(image, "inference", account=call.account, region=call.region)
        if refused:
            raise validation(refused)
        if given.get("ModelDataSource"):
            raise validation("ModelDataSource: the local AWS takes a model from an archive: name it by ModelDataUrl.")
        if data:
            try:
                bucket, key = parse_s3_uri(data)
            except ValueError as error:
                raise validation(f"ModelDataUrl: {error}") from None
            if not self.aws.s3.bucket_exists(bucket) or all(each.key != key for each in self.aws.s3.list(bucket, key)):
                raise validation(f"Could not find model data at {data}.")
            if role:
                self._check_access(call, role, data, bucket, key)

    def _check_access(self, call: Call, role: str, data: str, bucket: str, key: str) -> None:
        """Whether the model's role can be taken, and may read its archive. AWS's sentence as users have quoted it."""
        acting = models.acting_of(self.aws, role)
        if acting.trusted() and acting.may("s3", "HeadObject", Bucket=bucket, Key=key):
            return
        raise validation(
            f'Could not access model data at {data}. Please ensure that the role "{role}" exists and that its trust '
            'relationship policy allows the action "sts:AssumeRole" for the service principal '
            '"sagemaker.amazonaws.com". Also ensure that the role has "s3:GetObject" permissions and that the object '
            f"is located in {call.region}. If your Model uses multiple models or uncompressed models, please ensure "
            'that the role has "s3:ListBucket" permission.'
        )

    def _create_isolated(self, call: Call) -> dict[str, Any]:
        params = call.params
        model = self._moto.create_model(
            model_name=params["ModelName"],
            execution_role_arn=params.get("ExecutionRoleArn", ""),
            primary_container=params.get("PrimaryContainer"),
            vpc_config=params.get("VpcConfig"),
            containers=params.get("Containers"),
            tags=params.get("Tags"),
        )
        model.enable_network_isolation = True
        return {"ModelArn": model.arn}

    def describe_model(self, call: Call) -> dict[str, Any]:
        with of_moto():
            return _without_empty(self._moto.describe_model(call.params["ModelName"]).response_object)

    def list_models(self, call: Call) -> dict[str, Any]:
        found = chosen(
            list(self._moto._models.values()),
            call.params,
            name=lambda each: each.model_name,
            created=lambda each: each.creation_time,
        )
        summaries = [
            {"ModelName": each.model_name, "ModelArn": each.arn, "CreationTime": each.creation_time} for each in found
        ]
        return page(summaries, call, key="Models", default=10)

    # --- endpoint configurations

    def create_endpoint_config(self, call: Call) -> dict[str, Any]:
        params, name = call.params, call.params["EndpointConfigName"]
        check_tags(params.get("Tags"))
        if name in self._moto.endpoint_configs:
            arn = call.arn(f"endpoint-config/{name.lower()}")
            raise validation(f'Cannot create already existing endpoint configuration "{arn}".')
        if params.get("ShadowProductionVariants"):
            raise validation("ShadowProductionVariants: the local AWS has no shadow variants.")
        if params.get("DataCaptureConfig"):
            try:
                parse_s3_uri(params["DataCaptureConfig"]["DestinationS3Uri"])
            except ValueError as error:
                raise validation(f"DataCaptureConfig.DestinationS3Uri cannot be used: {error}") from None
        if params.get("AsyncInferenceConfig"):
            raise validation("AsyncInferenceConfig: the local AWS has no asynchronous endpoints.")
        for variant in params["ProductionVariants"]:
            if variant.get("ServerlessConfig"):
                raise validation(
                    f"ServerlessConfig of the variant {variant['VariantName']}: the local AWS has no serverless "
                    "endpoints; give it an InstanceType and an InitialInstanceCount."
                )
        names = [each["VariantName"] for each in params["ProductionVariants"]]
        if len(set(names)) < len(names):
            raise validation(f"The names of the production variants must differ, not be {', '.join(names)}.")
        return FORWARD

    def describe_endpoint_config(self, call: Call) -> dict[str, Any]:
        with of_moto():
            return _without_empty(self._moto.describe_endpoint_config(call.params["EndpointConfigName"]))

    def list_endpoint_configs(self, call: Call) -> dict[str, Any]:
        found = chosen(
            list(self._moto.endpoint_configs.values()),
            call.params,
            name=lambda each: each.endpoint_config_name,
            created=lambda each: each.creation_time,
        )
        summaries = [
            {
                "EndpointConfigName": each.endpoint_config_name,
                "EndpointConfigArn": each.endpoint_config_arn,
                "CreationTime": each.creation_time,
            }
            for each in found
        ]
        return page(summaries, call, key="EndpointConfigs", default=10)

    @property
    def _moto(self) -> Any:
        return get_backend("sagemaker")[self.aws.account][self.aws.region]


def _without_empty(described: Mapping[str, Any]) -> dict[str, Any]:
    """AWS leaves a member out that was not given."""
    return {name: value for name, value in described.items() if value not in (None, {}, [])}
