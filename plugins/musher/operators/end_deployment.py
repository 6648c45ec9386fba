"""The last task of a deployment: nothing of a release that nobody finished is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from musher import names, record
from musher.hooks import release_guard, scaling
from musher.hooks.deployment_lock import DeploymentLock
from musher.hooks.function import LiveFunction
from musher.hooks.served_before import ServedBefore
from musher.hooks.serving import ServingHook
from musher.operators.base import MusherOperator, run_of
from musher.request_parameters import release

if TYPE_CHECKING:
    from airflow.sdk import Context

LIMIT_SECONDS = release.MOST_TIMEOUT + 3600


class EndDeploymentOperator(MusherOperator):
    """Take back what a release that was not finished has left, and give the lock of the deployment back.

    A release whose worker was lost, or whose run was marked failed, may still be under way: AWS takes it back at once.
    Auto-scaling and the number of instances become what they were, the alarms and the configuration that nobody serves
    go, and environments of the function that nobody calls are given up. After a release that was finished, and where
    another run has the lock, nothing of that happens.
    """

    aws_hook_class = ServingHook

    def execute(self, context: Context) -> None:
        run, s3 = run_of(context), self.client("s3")
        lock = DeploymentLock(s3, self.environment.bucket, run)
        if lock.is_ours():
            self.production = names.Stack(self.environment.project)
            before = record.read(s3, self.environment.bucket, run.key, record.ScalingBefore)
            under_way = release_guard.is_under_way(self.hook.client("cloudwatch"), self.production)
            config = run.name(self.environment.project, names.DEPLOY_ENDPOINT)
            if before and (under_way or not before.restored):
                self._take_back(config, before)
            if before:
                self._delete_unserved(config)
            self._give_up_environments()
        lock.give_back()

    def _take_back(self, config: str, before: record.ScalingBefore) -> None:
        cloudwatch, endpoint = self.hook.client("cloudwatch"), self.production.endpoint
        now = self.hook.describe_endpoint(endpoint)
        if now is None:
            return
        pending = (now.get("PendingDeploymentSummary") or {}).get("EndpointConfigName")
        if pending == config:
            self.log.warning("The release of %s was left behind: it is taken back", config)
            release_guard.trip(cloudwatch, self.production, "The run has ended.")
        now = self._settled()
        if now is None:
            return
        if now["EndpointConfigName"] != config:
            self.notify(
                "a release was rolled back",
                f"Nobody watched the release of {config} to {endpoint} any more: it was taken back, and "
                f"{now['EndpointConfigName']} serves as before.",
            )
        scaling.as_before(self.hook, self.production, before)
        self._settled()
        release_guard.remove(cloudwatch, self.production)

    def _delete_unserved(self, config: str) -> None:
        """Delete the run's configuration and model where they neither serve nor did so before."""
        now = self.hook.describe_endpoint(self.production.endpoint)
        if now is None:
            return
        if config not in {now["EndpointConfigName"], ServedBefore.of(self.hook.conn, now["EndpointArn"]).config}:
            for gone in self.hook.delete_endpoint_config(config):
                self.log.info("Deleted the %s, which was not released", gone)

    def _settled(self) -> Any:
        return self.hook.settled_endpoint(self.production.endpoint, self.environment.poll_seconds, LIMIT_SECONDS)

    def _give_up_environments(self) -> None:
        function = LiveFunction(
            self.hook.client("lambda"),
            self.production.function,
            poll_seconds=self.environment.poll_seconds,
            log=self.log,
        )
        function.give_up_unused()
