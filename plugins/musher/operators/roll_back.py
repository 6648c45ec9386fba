"""Back to what served before, by a person's decision."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException
from botocore.exceptions import BotoCoreError, ClientError

from musher import names, record
from musher.costs import prices
from musher.errors import UserError
from musher.hooks import release_guard, scaling
from musher.hooks.deployment_lock import DeploymentLock
from musher.hooks.function import LiveFunction, move_alias_back
from musher.hooks.served_before import ServedBefore
from musher.hooks.serving import ServingHook, found
from musher.operators.base import MusherOperator, plainly, run_of
from musher.request_parameters import release

if TYPE_CHECKING:
    from airflow.sdk import Context

LIMIT_SECONDS = 7200


class RollBackDeploymentOperator(MusherOperator):
    """Have everything serve as before the last release: the endpoint's configuration, with as many instances as there
    are now, its auto-scaling, and the version of the function that stood in front of it. Returns the configuration.

    A release that is under way is stopped instead, and AWS goes back by itself. What served until now becomes what
    served before, so that a second roll-back brings it back. Writes the part `roll_back` of its own run, with what it
    cost; a retry goes on from there.

    Raises UserError where nothing is deployed, or nothing served before.
    """

    aws_hook_class = ServingHook

    @plainly
    def execute(self, context: Context) -> str:
        self.production, self.run = names.Stack(self.environment.project), run_of(context)
        cloudwatch = self.hook.client("cloudwatch")
        now = self._there(self.hook.describe_endpoint(self.production.endpoint))
        if now["EndpointStatus"] == "Updating" and release_guard.trip(
            cloudwatch, self.production, "Rolled back by a person."
        ):
            self.log.info("A release is under way: it is stopped, and %s goes on serving", now["EndpointConfigName"])
            return self._settled()["EndpointConfigName"]
        with DeploymentLock(self.client("s3"), self.environment.bucket, self.run).held():
            return self._roll_back(self._settled())

    def _roll_back(self, now: Mapping[str, Any]) -> str:
        part = self._begun(now)
        if part.outcome == "rolled back":  # a try before ended with the last thing that it does
            return part.config
        if now["EndpointConfigName"] != part.config:
            part = part.replace(seconds=self._endpoint_back(now, part))
            self._write(part)
        problems = self._function_back(part)
        self._scaling_back(part)
        before = ServedBefore(part.previous_config, part.previous_version, self.run.key)
        before.keep(self.hook.conn, now["EndpointArn"])
        part = self._told(part.replace(outcome="rolled back", problems=problems, cost_usd=self._cost(part)))
        self._write(part)
        self._remember(part)
        self.log.info("%s", part.sentence)
        return part.config

    def _remember(self, part: record.RollBack) -> None:
        """Add the run to its DAG's history; what was rolled back is, with or without that."""
        past = record.PastRun(
            dag=self.run.dag_id,
            run_id=self.run.run_id,
            run=self.run.key,
            at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            seconds=part.seconds,
            state="passed",
            headline="Rolled back by hand",
            because=part.sentence,
            cost_usd=part.cost_usd,
            instance_type=part.instance_type,
            config=part.config,
        )
        try:
            record.remember(self.client("s3"), self.environment.bucket, past)
        except (record.RecordError, BotoCoreError, ClientError) as error:
            self.log.warning("The history is without this run: %s", error)

    def _begun(self, now: Mapping[str, Any]) -> record.RollBack:
        """From where to where this run goes, as its first try found it."""
        s3, bucket = self.client("s3"), self.environment.bucket
        if kept := record.read(s3, bucket, self.run.key, record.RollBack):
            return kept
        before, serving = self._before(now), now["EndpointConfigName"]
        instances, kind = scaling.desired(now), self.hook.instance_type(before.config)
        part = record.RollBack(
            config=before.config,
            previous_config=serving,
            version=before.version,
            previous_version=self._function().serving_version(),
            scaling_run=before.run,
            instances=instances,
            instance_type=kind,
        )
        requests = scaling.describe(self.hook.client("application-autoscaling"), self.production.endpoint)
        self._write(record.ScalingBefore(requests=requests, instances=instances, restored=True))
        self._write(part)
        hour = self._cost(part.replace(seconds=3600.0))
        self.log.info(
            "Going back from %s to %s: %s x %s more until the update has ended, %s",
            serving,
            before.config,
            instances,
            kind,
            "at a price that prices.json does not have" if hour is None else f"{hour:.3g} USD an hour",
        )
        return part

    def _endpoint_back(self, now: Mapping[str, Any], part: record.RollBack) -> float:
        """Update the endpoint; how many seconds that took."""
        serving, began = now["EndpointConfigName"], time.monotonic()
        autoscaling = self.hook.client("application-autoscaling")
        scaled = scaling.describe(autoscaling, self.production.endpoint)
        if scaled and self.hook.instance_type(serving) != part.instance_type:
            # AWS fails an update to another instance type while a scalable target is registered.
            scaling.deregister(autoscaling, self.production.endpoint)
        try:
            request = release.back(stack=self.production, config_name=part.config)
            self.hook.update_settled_endpoint(request, self.environment.poll_seconds, LIMIT_SECONDS)
            now = self._settled()
        finally:
            scaling.restore(autoscaling, scaled)
        if now["EndpointConfigName"] != part.config:
            reason = now.get("FailureReason") or "no reason given"
            raise AirflowException(f"{part.config} could not be brought back, {serving} serves as before: {reason}")
        self.log.info("%s serves %s again", self.production.endpoint, part.config)
        return round(time.monotonic() - began, 1)

    def _function_back(self, part: record.RollBack) -> list[str]:
        """Have the version answer that answered then; a sentence where that is not possible."""
        if part.version in (None, part.previous_version):
            return []
        function = self._function()
        if function.configuration(part.version) is None:
            problem = f"The version {part.version} of {function.name} does not exist any more: {part.previous_version} "
            self.log.warning("%sgoes on answering", problem)
            return [f"{problem}goes on answering."]
        move_alias_back(
            function.client,
            function.name,
            version=part.version,
            poll_seconds=self.environment.poll_seconds,
            log=self.log,
        )
        return []

    def _scaling_back(self, part: record.RollBack) -> None:
        """Have auto-scaling as it was then, where its record is there; else it stays as it is."""
        if part.scaling_run is None:
            return
        kept = record.read(self.client("s3"), self.environment.bucket, part.scaling_run, record.ScalingBefore)
        autoscaling = self.hook.client("application-autoscaling")
        if kept and kept.requests:
            scaling.restore(autoscaling, kept.requests)
        elif kept and scaling.deregister(autoscaling, self.production.endpoint):
            self.log.info("%s did not scale then, and does not any more", self.production.endpoint)

    def _before(self, now: Mapping[str, Any]) -> ServedBefore:
        before = ServedBefore.of(self.hook.conn, now["EndpointArn"])
        if not before.config:
            raise UserError(
                f"Nothing served on {self.production.endpoint} before {now['EndpointConfigName']}: there is nothing to "
                "go back to. Deploy another model with deploy_image_classifier and its model_package_arn."
            )
        if found(lambda: self.hook.conn.describe_endpoint_config(EndpointConfigName=before.config)) is None:
            raise UserError(
                f"{before.config}, which served before, was deleted: deploy its model with deploy_image_classifier "
                "instead."
            )
        return before

    def _cost(self, part: record.RollBack) -> float | None:
        """What the second set of instances costs for the part's seconds."""
        return prices.endpoint_cost_if_known(part.instance_type, part.seconds or 0, part.instances)

    def _told(self, part: record.RollBack) -> record.RollBack:
        problem = self.notify("the deployment was rolled back", part.sentence)
        return part.replace(problems=[*part.problems, problem]) if problem else part

    def _function(self) -> LiveFunction:
        return LiveFunction(
            self.hook.client("lambda"),
            self.production.function,
            poll_seconds=self.environment.poll_seconds,
            log=self.log,
        )

    def _write(self, part: record.Part) -> None:
        record.write(self.client("s3"), self.environment.bucket, self.run.key, part)

    def _settled(self) -> Mapping[str, Any]:
        now = self.hook.settled_endpoint(self.production.endpoint, self.environment.poll_seconds, LIMIT_SECONDS)
        return self._there(now)

    def _there(self, now: Mapping[str, Any] | None) -> Mapping[str, Any]:
        if now is None:
            raise UserError(f"There is no endpoint {self.production.endpoint}: nothing is deployed, or it was removed.")
        return now
