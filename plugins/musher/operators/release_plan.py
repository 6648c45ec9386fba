"""Before a release: what has to be done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from musher import names
from musher.hooks.deployment_lock import DeploymentLock
from musher.hooks.serving import ServingHook
from musher.operators.base import MusherOperator, deployment_config, plainly, run_of

if TYPE_CHECKING:
    from airflow.sdk import Context


class PlanReleaseOperator(MusherOperator):
    """Where the model is tried out: where it will serve if nothing serves yet, else on a stack of its own.

    Returns `{stack, rehearse}`: the stack that the rehearsal's tasks work on, and whether they are wanted. Takes the
    lock of the deployment, which operators.end_deployment gives back.
    """

    aws_hook_class = ServingHook

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(multiple_outputs=True, **kwargs)

    @plainly
    def execute(self, context: Context) -> dict[str, Any]:
        DeploymentLock(self.client("s3"), self.environment.bucket, run_of(context)).take()
        endpoint = names.Stack(self.environment.project).endpoint
        now = self.hook.describe_endpoint(endpoint)
        # One that is changing, or was left half changed, may answer somebody.
        if now is None or now["EndpointStatus"] in {"Failed", "Deleting"} or self._is_first(now):
            self.log.info("Nothing serves yet: the model is tried out where it will serve")
            return {"stack": names.PRODUCTION, "rehearse": True}
        rehearse = deployment_config(context).rehearsal == "always"
        self.log.info(
            "%s serves %s: the model is %s before it takes calls",
            endpoint,
            now["EndpointConfigName"],
            "tried out beside it" if rehearse else "not tried out",
        )
        return {"stack": names.REHEARSAL, "rehearse": rehearse}

    @staticmethod
    def _is_first(now: dict[str, Any]) -> bool:
        """An endpoint that is being created has never answered: a try before has begun it."""
        return now["EndpointStatus"] == "Creating"
