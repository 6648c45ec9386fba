"""Before a release: what has to be done, and whether somebody wants it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator

from musher import names
from musher.hooks.deployment_lock import DeploymentLock
from musher.hooks.serving import ServingHook
from musher.operators.base import MusherOperator, deployment_config, plainly, run_of

if TYPE_CHECKING:
    from airflow.sdk import Context

APPROVE, REJECT = "Approve", "Reject"


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


class ApproveReleaseOperator(HITLOperator):
    """Ask a person in the Airflow UI ("Required actions") whether the model may take calls, where the run asks for it.

    Parameters: `body` what is decided on; `stack` where the model was tried out: what serves already needs no approval.
    Returns `{approved, by, at}`. A rejection, and the end of the time for an
    answer, are answers as well: the release is skipped, the report is written and the rehearsal is taken down.
    """

    template_fields = ("subject", "body", "stack")

    def __init__(self, *, stack: Any, **kwargs: Any) -> None:
        super().__init__(options=[APPROVE, REJECT], defaults=[REJECT], **kwargs)
        self.stack = stack

    def execute(self, context: Context) -> Any:
        config = deployment_config(context)
        if config.approval == "none" or self.stack == names.PRODUCTION:
            return {"approved": True, "by": None, "at": None}
        self.response_timeout = dt.timedelta(hours=config.approval_limit_hours)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        if event.get("error_type") == "timeout":
            return {"approved": False, "by": None, "at": None}
        answer = super().execute_complete(context, event)
        by = answer.get("responded_by_user") or {}
        at = answer.get("responded_at")
        return {
            "approved": APPROVE in answer["chosen_options"],
            "by": by.get("name") if isinstance(by, dict) else getattr(by, "name", None),
            "at": at.isoformat() if hasattr(at, "isoformat") else at,
        }
