"""Whether a person wants the model released, asked in Airflow's UI."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param
from botocore.exceptions import BotoCoreError, ClientError

from musher import names, record, request_parameters
from musher.config import AWS_CONN_ID, Environment
from musher.hooks.deployment_lock import DeploymentLock
from musher.hooks.in_service import NotToBeTold, in_service
from musher.hooks.notifications import notify
from musher.hooks.serving import ServingHook
from musher.operators.base import deployment_config, plainly, run_of
from musher.release import approval
from musher.release.registered import Accuracy

if TYPE_CHECKING:
    from airflow.sdk import Context

APPROVE, REJECT = "Approve", "Reject"
WHY = "why"


class ApproveReleaseOperator(HITLOperator):
    """Ask a person ("Required Actions" in Airflow's UI) whether the model may take calls, where the run asks for it.

    Parameters: `model` what ChooseModelOperator returned; `stack` where the model was tried out: what serves already
    needs no approval; `verdict` the load test's, None where it was left out; `projected` what
    CheckProjectedCostOperator returned.

    The topic of the Variable is told that an approval waits, and the deployment's lock is given back meanwhile. Returns
    `{approved, why, serving}`: `why` a sentence, `serving` the endpoint configuration that the figures are of. A
    rejection, and the end of the time for an answer, are answers as well: the release is skipped, the report is written
    and the rehearsal is taken down. Who decided, and why, is in the run record's part `approval` and in the registry: a
    rejected package is Rejected from then on, unless it serves.

    Airflow's ApprovalOperator skips what follows by itself, and says of it no more than that; HITLOperator, on which it
    rests, leaves that to us. Up to Airflow 3.2 the triggerer waits for the answer, from 3.3 on the scheduler does.
    """

    template_fields = ("subject", "body", "model", "stack", "verdict", "projected")

    def __init__(
        self,
        *,
        model: Any,
        stack: Any,
        verdict: Any = None,
        projected: Any = None,
        aws_conn_id: str | None = AWS_CONN_ID,
        **kwargs: Any,
    ) -> None:
        # The form has this field alone: Airflow hands the DAG's own over as well, and leaves those out by their source.
        kwargs["params"] = {
            WHY: Param(
                "",
                source="task",
                type=["string", "null"],
                title="Why",
                description="Kept with the model in the registry.",
            )
        }
        super().__init__(subject="Release the model?", options=[APPROVE, REJECT], defaults=[REJECT], **kwargs)
        self.model, self.stack, self.verdict, self.projected = model, stack, verdict, projected
        self.aws_conn_id = aws_conn_id

    @plainly
    def execute(self, context: Context) -> Any:
        params = {name: value for name, value in context["params"].items() if name != WHY}
        config = deployment_config({**context, "params": params})
        now = dt.datetime.now(dt.UTC)
        if config.approval == "none" or self.stack == names.PRODUCTION:
            return {"approved": True, "why": "Nobody had to approve it."}
        verdict = record.Verdict.from_json(self.verdict) if self.verdict else None
        if verdict and not verdict.passed:
            return {"approved": True, "why": "Nobody was asked: the load test did not pass, and that decides."}
        env, arn = Environment.load(), self.model["package_arn"]
        run, problems = record.read_run(self._s3(env), env.bucket, self.model["run_key"]), []
        until = now + dt.timedelta(hours=config.approval_limit_hours)
        self.response_timeout = until - now
        self.subject = f"Release {approval.short(arn)}?"
        self.body = approval.body(
            run,
            arn,
            self._serving(env, run),
            verdict=verdict,
            month_usd=(self.projected or {}).get("afterwards_per_month_usd"),
        )
        message = f"{self.body}\n\nAnswer until {until:%Y-%m-%d %H:%M} UTC{self._place(context)}; later is a rejection."
        if problem := notify(env, self.subject, message, aws_conn_id=self.aws_conn_id, log=self.log):
            problems.append(problem)
        asked = record.Approval(
            outcome="waiting",
            package_arn=arn,
            asked_at=now.isoformat(timespec="seconds"),
            until=until.isoformat(timespec="seconds"),
            serving=self._configuration(env),
            problems=problems,
        )
        record.write(self._s3(env), env.bucket, self.model["run_key"], asked)
        # While a person thinks, what serves can be rolled back or removed; the release takes the lock again.
        DeploymentLock(self._s3(env), env.bucket, run_of(context)).give_back()
        return super().execute(context)

    @plainly
    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        env = Environment.load()
        s3, key = self._s3(env), self.model["run_key"]
        asked = record.read(s3, env.bucket, key, record.Approval)
        if event.get("timedout") or event.get("error_type") == "timeout":
            decided = asked.replace(outcome="timed out")
        else:
            answer = super().execute_complete(context, event)
            decided = asked.replace(
                outcome="approved" if APPROVE in answer["chosen_options"] else "rejected",
                by=_name(answer["responded_by_user"]),
                at=answer["responded_at"].isoformat(timespec="seconds"),
                reason=((answer["params_input"] or {}).get(WHY) or "").strip(),
            )
            decided = decided.replace(problems=[*decided.problems, *self._noted(env, decided)])
        record.write(s3, env.bucket, key, decided)
        self.log.info("%s", decided.sentence)
        return {"approved": decided.outcome == "approved", "why": decided.sentence, "serving": decided.serving}

    def _noted(self, env: Environment, decided: record.Approval) -> list[str]:
        """Write the decision down in the registry; what went wrong there, which undoes no decision."""
        sagemaker = self._hook(env).conn
        try:
            known = sagemaker.describe_model_package(ModelPackageName=decided.package_arn)
            request = request_parameters.release_decision(
                known,
                approved=decided.outcome == "approved",
                by=decided.by or "",
                at=decided.at or "",
                sentence=decided.sentence,
                keeps_status=self._serves(env, decided.package_arn),
            )
            sagemaker.update_model_package(**request)
        except (BotoCoreError, ClientError) as error:
            problem = f"The decision was not written to {decided.package_arn}: {error}"
            self.log.warning("%s", problem)
            return [problem]
        return []

    def _configuration(self, env: Environment) -> str | None:
        now = self._hook(env).describe_endpoint(names.Stack(env.project).endpoint)
        return now["EndpointConfigName"] if now else None

    def _serves(self, env: Environment, package_arn: str) -> bool:
        try:
            found = in_service(self._hook(env).conn, names.Stack(env.project).endpoint)
        except NotToBeTold:
            return False
        return found is not None and found.arn == package_arn

    def _serving(self, env: Environment, run: record.RunRecord) -> approval.Serving:
        """What serves now, as far as AWS tells."""
        try:
            found = in_service(self._hook(env).conn, names.Stack(env.project).endpoint)
        except NotToBeTold as reason:
            return approval.Serving(None, None, f"What serves now is not known: {reason}.")
        if found is None:
            return approval.Serving(None, None, "Nothing serves now.")
        compared = run.model.compared_with if run.model else None
        if compared and compared.package_arn == found.arn:
            return approval.Serving(found.arn, Accuracy(compared.accuracy, compared.images))
        try:
            accuracy = Accuracy(float(found.properties["test_accuracy"]))
        except (KeyError, ValueError):
            return approval.Serving(found.arn, None)
        return approval.Serving(
            found.arn,
            accuracy,
            "The accuracy of what serves is that of its own registration, on its own test pictures.",
        )

    def _place(self, context: Mapping[str, Any]) -> str:
        """Where the answer is given; nothing where Airflow does not know its own address."""
        try:
            return f" at {self.generate_link_to_ui(task_instance=context['ti'])}"
        except (ValueError, AttributeError):
            return ' under "Required Actions" in Airflow'

    def _hook(self, env: Environment) -> ServingHook:
        return ServingHook(aws_conn_id=self.aws_conn_id, region_name=env.region)

    def _s3(self, env: Environment) -> Any:
        return self._hook(env).client("s3")


def _name(user: Any) -> str:
    """Who answered: Airflow gives a mapping or an object, with a name or with an id alone."""
    if user is None:
        return "somebody"
    told = user if isinstance(user, Mapping) else vars(user)
    return str(told.get("name") or told.get("id") or "somebody")
