"""Back to the model that served before, by a person's decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException

from musher import names
from musher.errors import UserError
from musher.hooks import release_guard, scaling
from musher.hooks.deployment_lock import DeploymentLock
from musher.hooks.serving import CHANGING, ServingHook, found, pairs, wait_until
from musher.operators.base import MusherOperator, plainly, run_of
from musher.operators.release import PREVIOUS_CONFIG
from musher.request_parameters import release

if TYPE_CHECKING:
    from airflow.sdk import Context

LIMIT_SECONDS = 7200


class RollBackDeploymentOperator(MusherOperator):
    """Have the endpoint serve the configuration before, with the instances that it has; returns its name.

    A release that is under way is stopped instead, and AWS goes back by itself. What served until now becomes what
    served before, so that a second roll-back brings it back. The function is not touched: it serves any model.

    Raises UserError where nothing is deployed, or nothing served before.
    """

    aws_hook_class = ServingHook

    @plainly
    def execute(self, context: Context) -> str:
        self.production = names.Stack(self.environment.project)
        cloudwatch = self.hook.client("cloudwatch")
        now = self.hook.describe_endpoint(self.production.endpoint)
        if now is None:
            raise UserError(f"There is no endpoint {self.production.endpoint}: nothing is deployed, or it was removed.")
        if now["EndpointStatus"] == "Updating" and release_guard.is_under_way(cloudwatch, self.production):
            self.log.info("A release is under way: it is stopped, and %s goes on serving", now["EndpointConfigName"])
            cloudwatch.set_alarm_state(**release.trip(self.production, "Rolled back by a person."))
            return self._settled()["EndpointConfigName"]
        with DeploymentLock(self.client("s3"), self.environment.bucket, run_of(context)).held():
            return self._roll_back(self._settled())

    def _roll_back(self, now: dict[str, Any]) -> str:
        serving, before = now["EndpointConfigName"], self._before(now)
        autoscaling = self.hook.client("application-autoscaling")
        scaled = scaling.describe(autoscaling, self.production.endpoint)
        if scaled and self.hook.instance_type(serving) != self.hook.instance_type(before):
            scaling.deregister(autoscaling, self.production.endpoint)
        try:
            self.hook.conn.update_endpoint(**release.back(stack=self.production, config_name=before))
            now = self._settled()
        finally:
            scaling.restore(autoscaling, scaled)
        if now["EndpointConfigName"] != before:
            reason = now.get("FailureReason") or "no reason given"
            raise AirflowException(f"{before} could not be brought back, {serving} serves as before: {reason}")
        self.hook.conn.add_tags(ResourceArn=now["EndpointArn"], Tags=[{"Key": PREVIOUS_CONFIG, "Value": serving}])
        self.log.info("%s serves %s again", self.production.endpoint, before)
        return before

    def _before(self, now: dict[str, Any]) -> str:
        tags = pairs(self.hook.conn.list_tags(ResourceArn=now["EndpointArn"])["Tags"])
        before = tags.get(PREVIOUS_CONFIG)
        if not before:
            raise UserError(
                f"Nothing served on {self.production.endpoint} before {now['EndpointConfigName']}: there is nothing to "
                "go back to. Deploy another model with deploy_image_classifier and its model_package_arn."
            )
        if found(lambda: self.hook.conn.describe_endpoint_config(EndpointConfigName=before)) is None:
            raise UserError(
                f"{before}, which served before, was deleted: deploy its model with deploy_image_classifier instead."
            )
        return before

    def _settled(self) -> dict[str, Any]:
        return wait_until(
            lambda: self.hook.describe_endpoint(self.production.endpoint),
            lambda state: state is not None and state["EndpointStatus"] not in CHANGING,
            what=f"the end of the change of the endpoint {self.production.endpoint}",
            poll_seconds=self.environment.poll_seconds,
            limit_seconds=LIMIT_SECONDS,
        )
