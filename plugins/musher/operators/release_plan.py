"""Before a release: what has to be done."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from musher import names, record, staging
from musher.hooks import rehearsals
from musher.hooks.deployment_lock import DeploymentLock
from musher.hooks.function import account
from musher.hooks.serving import ServingHook, found
from musher.operators.base import MusherOperator, deployment_config, plainly, run_of
from musher.release import rehearsal

if TYPE_CHECKING:
    from airflow.sdk import Context


# What a deployment finds out about a model, and another deployment of the same one may have found out before.
FOUND = (record.Parity, record.LoadTest, record.Verdict, record.Approval, record.Release)


class PlanReleaseOperator(MusherOperator):
    """How much of a rehearsal the model needs, and where: musher.release.rehearsal says why.

    Parameters: `model` what ChooseModelOperator returned. Writes the part `rehearsal`; returns it, with `stack`, the
    one that the rehearsal's tasks work on, and which of them are wanted: `rehearse` any, `register` auto-scaling,
    `load` the load test. Takes the lock of the deployment, which operators.end_deployment gives back, and takes back
    what an earlier deployment of the model has written: its verdict is not this one's.
    """

    aws_hook_class = ServingHook
    template_fields = aws_template_fields("model")

    def __init__(self, *, model: Any, **kwargs: Any) -> None:
        super().__init__(multiple_outputs=True, **kwargs)
        self.model = model

    @plainly
    def execute(self, context: Context) -> dict[str, Any]:
        config, env, s3 = deployment_config(context), self.environment, self.client("s3")
        DeploymentLock(s3, env.bucket, run_of(context)).take()
        code = hashlib.sha256(staging.function_archive(staging.lambda_folder(env))).hexdigest()
        facts = rehearsal.facts(config, image=self.model["image"], archive=self.model["archive"], function=code[:16])
        first, no_room = self._is_first(), self._no_room(config.reserved_concurrency)
        part = rehearsal.rehearse(
            config.rehearsal,
            first=first,
            facts=facts,
            unknown=rehearsal.missing(self.model["archive"]),
            no_room=no_room,
            before=rehearsals.recall(s3, env.bucket, facts, concurrency=first or not no_room) if facts else None,
            newest=rehearsals.newest(s3, env.bucket),
        )
        self.log.info("%s", part.why)
        record.take_back(s3, env.bucket, self.model["run_key"], FOUND)
        self.write_part(self.model["run_key"], part)
        return {
            "stack": part.stack,
            "rehearse": part.extent != "none",
            "register": part.extent == "full" or part.stack == names.PRODUCTION,
            "load": part.extent == "full",
            "rehearsal": part.to_json(),
        }

    def _is_first(self) -> bool:
        """Whether nothing serves. One that is being updated, or was left half updated, may answer somebody; one that is
        being created has never answered: a try before has begun it."""
        now = self.hook.describe_endpoint(names.Stack(self.environment.project).endpoint)
        return now is None or now["EndpointStatus"] in {"Creating", "Failed", "Deleting"}

    def _no_room(self, reserve: int) -> str | None:
        """Why the account cannot hold a second reserve; what a rehearsal has of it already counts as free."""
        client = self.hook.client("lambda")
        name = names.Stack(self.environment.project, rehearsal=True).function
        held = found(lambda: client.get_function_concurrency(FunctionName=name)) or {}
        return account(client).no_room_for(reserve - held.get("ReservedConcurrentExecutions", 0))
