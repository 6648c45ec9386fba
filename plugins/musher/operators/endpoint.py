"""The endpoint of a registered model: created, or updated without a gap in service."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowException
from botocore.exceptions import ClientError

from musher import record, request_parameters
from musher.errors import UserError
from musher.hooks import scaling
from musher.hooks.in_service import model_data
from musher.hooks.serving import CHANGING, ServingHook, found, is_being_changed
from musher.job_output import sha256
from musher.operators.base import StackOperator, deployment_config, plainly, run_of
from musher.triggers.endpoint import EndpointTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

LIMIT_SECONDS = 3600


def check_archive(sagemaker: Any, s3: Any, arn: str, log: logging.Logger) -> None:
    """Compare the archive that SageMaker is about to read with the digest that its registration wrote down.

    Whoever may write to `jobs/` can replace it in between, an EC2 training instance for one. What SageMaker reads
    after this look is not checked. Raises UserError.
    """
    package = sagemaker.describe_model_package(ModelPackageName=arn)
    uri = model_data(package["InferenceSpecification"]["Containers"][0])
    registered = (package.get("CustomerMetadataProperties") or {}).get("sha256")
    if not registered:
        log.warning("%s was registered without a SHA-256: its archive %s could not be checked", arn, uri)
        return
    try:
        found = sha256(s3, uri)
    except s3.exceptions.NoSuchKey:
        found = "nothing, since it is gone"
    if found != registered:
        raise UserError(
            f"The archive {uri} of {arn} was registered with the SHA-256 {registered}, and now has {found}: "
            "somebody has changed it, so it is not deployed. Name another model_package_arn, or train again."
        )
    log.info("The archive %s is the one that was registered", uri)


class EndpointOperator(StackOperator):
    """Base of the operators that bring a registered model to an endpoint.

    Parameters: `model` what ChooseModelOperator returned; `stack` whose endpoint it is.
    """

    aws_hook_class = ServingHook
    template_fields = aws_template_fields("model", "stack", "needed")

    def __init__(self, *, model: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model

    def _create_configuration(self, context: Context) -> str:
        """Create this run's model and endpoint configuration, unless an earlier try did; returns the name of both."""
        config, env, run = deployment_config(context), self.environment, run_of(context)
        name, expires = self._config_name(context), self.expires(context)
        self._create_once(
            "model",
            request_parameters.model(
                env,
                name=name,
                run=run,
                package_arn=self.model["package_arn"],
                specification=self.model["specification"],
                expires=expires,
            ),
        )
        self._create_once(
            "endpoint_config",
            request_parameters.endpoint_config(
                config,
                env,
                name=name,
                run=run,
                model_name=name,
                expires=expires,
                capture=not self.named.rehearsal,
            ),
        )
        return name

    def _check_archive(self, config_name: str) -> None:
        """As `check_archive` does. Raises UserError, with nothing of this run left behind."""
        try:
            check_archive(self.hook.conn, self.client("s3"), self.model["package_arn"], self.log)
        except UserError:
            self.hook.delete_endpoint_config(config_name)
            raise

    def _config_name(self, context: Context) -> str:
        """The name of this run's endpoint configuration and of its model."""
        return run_of(context).name(self.environment.project, self.named.step)

    def _create_once(self, what: str, request: Mapping[str, Any]) -> None:
        name_field = {"model": "ModelName", "endpoint_config": "EndpointConfigName"}[what]
        describe = getattr(self.hook.conn, f"describe_{what}")
        if found(lambda: describe(**{name_field: request[name_field]})) is None:
            getattr(self.hook.conn, f"create_{what}")(**request)


class DeployEndpointOperator(EndpointOperator):
    """Create the endpoint or update it without a gap in service; returns its name, configuration and instance type.

    Parameters: `model` what ChooseModelOperator returned; `stack` whose endpoint it is.

    AWS changes an endpoint once at a time. One that somebody else is changing (auto-scaling, AWS's own maintenance, a
    person) is waited for, and then looked at anew; a change that an earlier try of this task began is attached to. An
    endpoint that could not be created is deleted again; a failed update leaves the old model in service, and is noticed
    although the endpoint is InService. An archive that is not the one that was registered is not deployed.
    Source of the states: SageMaker API reference, DescribeEndpoint.
    """

    @plainly
    def execute(self, context: Context) -> Any:
        self._create_configuration(context)
        return self._go_on(context)

    @plainly
    def settled(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Somebody else's change of the endpoint has ended, or its time was up."""
        if event["status"] == "TimedOut":
            endpoint = self.named.endpoint
            self.hook.delete_endpoint_config(self._config_name(context))
            raise AirflowException(
                f"The endpoint {endpoint} is still being changed by somebody else after {LIMIT_SECONDS} seconds: see "
                "what scales or updates it, then clear this task."
            )
        return self._go_on(context, previous=event["previous"])

    def _go_on(self, context: Context, previous: str | None = None) -> Any:
        """Whatever the endpoint needs now to serve this run's configuration: nothing, a change, or a wait.

        Parameters: `previous` the configuration that served before a wait.
        """
        endpoint, wanted = self.named.endpoint, self._config_name(context)
        now = self.hook.describe_endpoint(endpoint)
        if now is None:
            self._check_archive(wanted)
            request = request_parameters.create_endpoint(
                self.environment, name=endpoint, config_name=wanted, run=run_of(context), expires=self.expires(context)
            )
            self.hook.conn.create_endpoint(**request)
            return self._wait("resume", None)
        if expires := self.expires(context):
            tags = request_parameters.tags(self.environment, run_of(context), expires)
            self.hook.conn.add_tags(ResourceArn=now["EndpointArn"], Tags=tags)
        status, serving = now["EndpointStatus"], now["EndpointConfigName"]
        if status in CHANGING:
            return self._wait_for_change(now, wanted)
        if status in {"Failed", "Deleting"}:
            if status == "Failed":
                self.log.info("Removing the endpoint %s, which is Failed", endpoint)
                self.hook.delete_endpoint(endpoint)
            return self._wait("settled", serving)
        if serving == wanted and status == "InService":
            self.log.info("The endpoint %s serves %s already", endpoint, wanted)
            return self._deployed(context, previous)
        self._check_archive(wanted)
        self._stop_scaling(endpoint)
        try:
            self.hook.conn.update_endpoint(**request_parameters.update_endpoint(name=endpoint, config_name=wanted))
        except ClientError as error:
            if not is_being_changed(error):
                raise
            return self._wait_for_change(self.hook.describe_endpoint(endpoint) or now, wanted)
        return self._wait("resume", serving)

    def _wait_for_change(self, now: Mapping[str, Any], wanted: str) -> None:
        """Wait for a change that runs: this task's own, of an earlier try, or somebody else's."""
        endpoint, status, serving = now["EndpointName"], now["EndpointStatus"], now["EndpointConfigName"]
        pending = (now.get("PendingDeploymentSummary") or {}).get("EndpointConfigName")
        if status == "Creating" and serving == wanted:
            self.log.info("Attaching to the creation of %s that an earlier try began", endpoint)
            self._wait("resume", None)
        if pending == wanted != serving:
            self.log.info("Attaching to the update of %s that an earlier try began", endpoint)
            self._wait("resume", serving)
        self.log.info("The endpoint %s is %s: waiting until that has ended", endpoint, status)
        self._wait("settled", serving)

    def _wait(self, method_name: str, previous: str | None) -> None:
        env = self.environment
        self.defer(
            trigger=EndpointTrigger(
                name=self.named.endpoint,
                previous=previous,
                poll_seconds=env.poll_seconds,
                deadline=time.time() + LIMIT_SECONDS,
                aws_conn_id=self.aws_conn_id,
                region_name=env.region,
            ),
            method_name=method_name,
        )

    @plainly
    def resume(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """This task's change has ended: the endpoint must be in service, with the configuration of this run."""
        endpoint, previous = self.named.endpoint, event["previous"]
        wanted, reason = self._config_name(context), event["reason"] or "no reason given"
        if event["status"] != "InService":
            # An endpoint that served before may still need both configurations: AWS forbids to delete one in use.
            if previous is None:
                self.hook.delete_settled_endpoint(endpoint, self.environment.poll_seconds)
                self.hook.delete_endpoint_config(wanted)
            raise AirflowException(f"The endpoint {endpoint} is {event['status']}: {reason}")
        if event["config"] != wanted:
            self.hook.delete_endpoint_config(wanted)
            raise AirflowException(
                f"The update of the endpoint {endpoint} was rolled back; {event['config']} still serves: {reason}"
            )
        return self._deployed(context, previous)

    def _deployed(self, context: Context, previous: str | None) -> dict[str, Any]:
        config_name = self._config_name(context)
        if previous and previous != config_name:
            for gone in self.hook.delete_endpoint_config(previous):
                self.log.info("Deleted the %s, which nothing uses any more", gone)
        return record.Endpoint(
            name=self.named.endpoint,
            config=config_name,
            instance_type=deployment_config(context).instance_type,
        ).to_json()

    def _stop_scaling(self, endpoint: str) -> None:
        """AWS refuses a change of the instance type while a scalable target is registered; capacity is measured on one
        instance, so the target would be replaced in any case."""
        client = self.hook.client("application-autoscaling")
        if scaling.deregister(client, endpoint):
            self.log.info("Deregistered the scalable target of %s until its capacity is known again", endpoint)
