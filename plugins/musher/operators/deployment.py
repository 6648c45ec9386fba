"""A registered model in service: which one, its auto-scaling, its function; the endpoint itself is in endpoint.py."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowException

from musher import images, names, record, request_parameters, staging
from musher.errors import ConfigError
from musher.hooks import function_url, registry
from musher.hooks.function import LiveFunction, previous_version
from musher.hooks.in_service import model_data
from musher.hooks.serving import ServingHook, found
from musher.load.capacity import scaling_target
from musher.load.pictures import pictures_to_send
from musher.operators.base import MusherOperator, StackOperator, deployment_config, plainly, run_of
from musher.release import rehearsal

if TYPE_CHECKING:
    from airflow.sdk import Context

MOST_SMOKE_TESTED = 10


class ChooseModelOperator(MusherOperator):
    """Which model to deploy: the one named, else the one just registered, else the newest approved one.

    Returns `{package_arn, specification, image, archive, run_key, model_data, dataset_uri}`; `run_key` is the run
    record that deployment adds to, `specification` the package's inference specification for this run's instance type
    and `image` what it runs, `archive` what the registration says of the network (musher.release.rehearsal.ARCHIVE).
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(multiple_outputs=True, **kwargs)

    @plainly
    def execute(self, context: Context) -> dict[str, Any]:
        config, env = deployment_config(context), self.environment
        sagemaker = self.client("sagemaker")
        arn = config.model_package_arn or _announced(context)
        if arn:
            package = found(lambda: sagemaker.describe_model_package(ModelPackageName=arn))
            if package is None:
                raise ConfigError(f"model_package_arn is {arn!r}; there is no such model package.")
        else:
            package = registry.newest_approved(sagemaker, env.model_package_group)
            if package is None:
                raise ConfigError(
                    f"model_package_arn is empty, and the group {env.model_package_group} has no approved model: "
                    "train one first, or name a model package."
                )
        if package["ModelApprovalStatus"] != "Approved":
            why = package.get("ApprovalDescription") or "it has not been approved"
            raise ConfigError(
                f"model_package_arn is {package['ModelPackageArn']!r}, which is {package['ModelApprovalStatus']} "
                f"({why}): only approved models are deployed."
            )
        return chosen(package, config.instance_type, run_of(context).key, self.log)


def chosen(package: Mapping[str, Any], instance_type: str, run_key: str, log: logging.Logger) -> dict[str, Any]:
    """What ChooseModelOperator returns of a package; `run_key` for one that no run of ours has registered."""
    device = images.device("instance_type", instance_type, images.INFERENCE)
    specification, image = request_parameters.inference_specification(package, device)
    log.info("The endpoint's instances, %s, run %s", instance_type, image)
    if warning := images.support(image, dt.datetime.now(dt.UTC).date()):
        log.warning("%s", warning)
    known = package.get("CustomerMetadataProperties") or {}
    return {
        "package_arn": package["ModelPackageArn"],
        "specification": specification,
        "image": image,
        "archive": {name: known[name] for name in rehearsal.ARCHIVE if name in known},
        "run_key": known.get("run_key") or run_key,
        "model_data": model_data(package["InferenceSpecification"]["Containers"][0]),
        "dataset_uri": known.get("dataset_uri"),
    }


def _announced(context: Context) -> str | None:
    """The model package that the newest asset event names, for a run that an asset started."""
    events = [event for group in (context.get("triggering_asset_events") or {}).values() for event in group]
    arns = [event.extra["model_package_arn"] for event in events if (event.extra or {}).get("model_package_arn")]
    return arns[-1] if arns else None


class SmokeTestOperator(MusherOperator):
    """A prediction of a real test picture of each class, or of some; fails when an answer is no prediction.

    Returns the first one.
    """

    template_fields = aws_template_fields("endpoint", "model")

    def __init__(self, *, endpoint: Any, model: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.endpoint = endpoint
        self.model = model

    @plainly
    def execute(self, context: Context) -> dict[str, Any]:
        pictures = pictures_to_send(
            self.client("s3"), self.environment, self.model["dataset_uri"], most=MOST_SMOKE_TESTED
        )
        client = self.client("sagemaker-runtime")
        predictions = [self._predicted(client, picture) for picture in pictures]
        return predictions[0]

    def _predicted(self, client: Any, picture: bytes) -> dict[str, Any]:
        try:
            answer = client.invoke_endpoint(
                EndpointName=self.endpoint["name"], ContentType="application/x-image", Body=picture
            )
        except client.exceptions.ModelError as error:
            # The container's message may be a whole traceback; what went wrong is at one of its ends.
            lines = (error.response.get("OriginalMessage") or str(error)).strip().splitlines()
            raise AirflowException(
                f"The endpoint {self.endpoint['name']} failed at a test picture: {lines[-1].strip()} "
                f"(its log: {error.response.get('LogStreamArn')})"
            ) from None
        predictions = json.loads(answer["Body"].read()).get("predictions")
        if not predictions or not 0 <= predictions[0]["probability"] <= 1:
            raise AirflowException(
                f"The endpoint {self.endpoint['name']} answered without predictions: {predictions!r}"
            )
        self.log.info("%s says %s", self.endpoint["name"], predictions[0])
        return predictions[0]


class RegisterScalingOperator(MusherOperator):
    """Register auto-scaling with the target that follows from the measured capacity. Returns the target.

    Parameters: `endpoint` what DeployEndpointOperator returned; `capacity` what MeasureCapacityOperator did.
    """

    aws_hook_class = ServingHook
    template_fields = aws_template_fields("endpoint", "capacity", "needed")

    def __init__(self, *, endpoint: Any, capacity: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.endpoint = endpoint
        self.capacity = capacity

    @plainly
    def execute(self, context: Context) -> dict[str, Any]:
        config, name = deployment_config(context), self.endpoint["name"]
        target = round(scaling_target(self.capacity["max_rps_per_instance"], config.safety_factor), 3)
        settings = record.Autoscaling(
            target_metric="SageMakerVariantInvocationsPerInstance",
            target_value=target,
            min=config.min_instances,
            max=config.max_instances,
        ).to_json()
        if not config.scales:
            self.log.info("min_instances equals max_instances: the endpoint does not scale")
            return settings
        client = self.hook.client("application-autoscaling")
        client.register_scalable_target(**request_parameters.scalable_target(config, endpoint_name=name))
        client.put_scaling_policy(**request_parameters.scaling_policy(config, endpoint_name=name, target=target))
        self.log.info("%s scales at %.1f invocations per instance and minute", name, target)
        return settings


class DeployFunctionOperator(StackOperator):
    """Publish a version of the function if its code or settings changed, and have the alias's callers answered by it.

    The environments of the new version are ready before the alias moves (hooks.function.LiveFunction.serve); the
    version before stays for a roll-back, older ones are deleted. A function that is as it should be is not touched.
    Where `function_url` asks for an address, it is made and tried; where not, there is none afterwards.

    Parameters: `endpoint` what DeployEndpointOperator returned; `stack` whose function it is; `rehearsal` what
    PlanReleaseOperator returned as that, for a rehearsal's function: it reserves nothing where the account has no room.
    Returns the run record's `lambda`.
    """

    aws_hook_class = ServingHook
    template_fields = aws_template_fields("endpoint", "stack", "rehearsal")

    def __init__(self, *, endpoint: Any, rehearsal: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.endpoint = endpoint
        self.rehearsal = rehearsal

    @plainly
    def execute(self, context: Context) -> dict[str, Any]:
        config = deployment_config(context)
        function = LiveFunction(
            self.hook.client("lambda"),
            self.named.function,
            poll_seconds=self.environment.poll_seconds,
            log=self.log,
        )
        reserved, provisioned = config.reserved_concurrency, config.provisioned_concurrency
        if self.rehearsal and not record.Rehearsal.from_json(self.rehearsal).concurrency:
            reserved, provisioned = None, 0
        version = self._version(function, context)
        function.serve(version, provisioned=provisioned, reserved=reserved)
        for gone in function.delete_older():
            self.log.info("Deleted version %s of %s", gone, function.name)
        url = function_url.offer(function.client, function.name, wanted=config.function_url == "signed")
        if url:
            credentials, region = self.hook.get_credentials(), self.environment.region
            function_url.check(url, credentials, region, poll_seconds=self.environment.poll_seconds)
        part = record.Function(
            function=function.name,
            version=version,
            previous_version=previous_version(function.alias() or {}),
            alias=names.ALIAS,
            memory_mb=config.function_memory_mb,
            reserved=reserved,
            provisioned=provisioned,
            url=url or None,
        )
        self.log.info("%s", part)
        return part.to_json()

    def _version(self, function: LiveFunction, context: Context) -> str:
        """The version with this code and these settings: the one that serves, or one that is published now."""
        config, env, run = deployment_config(context), self.environment, run_of(context)
        archive = staging.function_archive(staging.lambda_folder(env))
        settings = {"stack": self.named, "endpoint_name": self.endpoint["name"]}
        wanted = request_parameters.update_function_configuration(config, env, **settings)
        digest = base64.b64encode(hashlib.sha256(archive).digest()).decode()  # as Lambda writes it
        now, expires = function.configuration(), self.expires(context)
        if now is None:
            function.client.create_function(
                **request_parameters.create_function(config, env, run=run, archive=archive, expires=expires, **settings)
            )
            now = function.settled()
        elif expires:
            tags = run.tags(env.project, expires)
            function.client.tag_resource(Resource=now["FunctionArn"], Tags=tags)
        alias = function.alias()
        live = function.configuration(alias["FunctionVersion"]) if alias else None
        if live and live["CodeSha256"] == digest and request_parameters.same_settings(live, wanted):
            self.log.info("Version %s of %s has this code and these settings already", live["Version"], function.name)
            return live["Version"]
        now = function.settled()
        if not request_parameters.same_settings(now, wanted):
            function.client.update_function_configuration(**wanted)
            now = function.settled()
        if now["CodeSha256"] != digest:
            function.client.update_function_code(
                **request_parameters.update_function_code(name=function.name, archive=archive)
            )
            function.settled()
        version = function.client.publish_version(
            **request_parameters.publish_version(name=function.name, code_sha256=digest, run=run)
        )["Version"]
        function.settled(version)
        return version
