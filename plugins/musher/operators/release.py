"""A model released to an endpoint that serves already: a canary, a judge, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from musher import names, record, request_parameters
from musher.costs import prices
from musher.hooks import release_guard, scaling
from musher.hooks.deployment_lock import DeploymentLock
from musher.hooks.function import LiveFunction
from musher.hooks.release_guard import ReleaseGuard
from musher.hooks.served_before import ServedBefore
from musher.hooks.serving import CHANGING
from musher.load.pictures import labelled_pictures
from musher.load.targets import EndpointTarget
from musher.operators.base import deployment_config, plainly, run_of
from musher.operators.endpoint import LIMIT_SECONDS, EndpointOperator
from musher.release.plan import ReleasePlan, plan
from musher.release.sampling import Sampling
from musher.release.watch import Watch
from musher.request_parameters import release

if TYPE_CHECKING:
    from airflow.sdk import Context

# What the old fleet is asked before the release, to know how often it fails by itself.
REQUESTS_BEFORE = 40
# Between two looks at the endpoint and at what the judge has so far.
MOST_LOOK_SECONDS = 5.0


class ReleaseEndpointOperator(EndpointOperator):
    """Move an endpoint's calls to a new model by AWS's blue/green deployment, and judge it while it bakes.

    Parameters: `model` what ChooseModelOperator returned; `tried_on` the stack on which it was tried out: on production
    itself there is nothing left to release, and the task is skipped; `verdict` the load test's, which has to have
    passed, None where it was left out; `approval` what ApproveReleaseOperator returned.

    The task sends labelled pictures of its own, and compares the new fleet's answers with the old one's of the same
    minutes (musher.release.judge). Only a pass lets the release go on: a failure, too few answers, or this task's end
    in whatever way make AWS go back (musher.hooks.release_guard). The number of instances is kept, the configuration
    before stays, and auto-scaling is as it was. Writes the part `release`; returns what DeployEndpointOperator does.

    A retry finds the update of the try before, waits until AWS has taken it back, and begins anew.
    Source: SageMaker developer guide, "Deployment guardrails".
    """

    template_fields = aws_template_fields("model", "tried_on", "verdict", "approval")

    def __init__(self, *, model: Any, tried_on: Any, verdict: Any = None, approval: Any = None, **kwargs: Any) -> None:
        super().__init__(model=model, **kwargs)
        self.tried_on = tried_on
        self.verdict = verdict
        self.approval = approval

    @plainly
    def execute(self, context: Context) -> dict[str, Any]:
        if self.tried_on == names.PRODUCTION:
            raise AirflowSkipException("The model was tried out where it serves: there is nothing left to release.")
        if self.verdict and not record.Verdict.from_json(self.verdict).passed:
            raise AirflowFailException("The rehearsal's load test did not pass: the model is not released.")
        if self.approval and not self.approval["approved"]:
            raise AirflowSkipException(f"Not released: {self.approval['why']}")
        if self._approved_against:  # the lock was given back while a person had to answer
            DeploymentLock(self.client("s3"), self.environment.bucket, run_of(context)).take()
        self.config, self.cloudwatch = deployment_config(context), self.hook.client("cloudwatch")
        self.autoscaling = self.hook.client("application-autoscaling")
        now, wanted = self._settled(context), self._config_name(context)
        if now["EndpointConfigName"] == wanted:
            self.log.info("The endpoint %s serves %s already", self.named.endpoint, wanted)
            return self._endpoint(wanted)
        if self._approved_against not in (None, now["EndpointConfigName"]):
            raise AirflowFailException(
                f"The release was approved while {self._approved_against} served, and {now['EndpointConfigName']} "
                "serves now: start a new run, to have it approved against that."
            )
        self._create_configuration(context)
        self._check_archive(wanted)
        before = self._before(context, now)
        try:
            part = self._release(context, now, wanted, before)
        finally:
            self._as_before(context, before)
        if part.outcome != "released":
            part = self._told(part)
        self.write_part(self.model["run_key"], part)
        if part.outcome != "released":
            self.hook.delete_endpoint_config(wanted)
            raise AirflowFailException(
                f"The release of {part.package_arn} was taken back, {part.previous_config} serves as before: {part.why}"
            )
        self._keep(context, part)
        return self._endpoint(wanted)

    def _told(self, part: record.Release) -> record.Release:
        """Tell the topic of the Variable of a release that was taken back, and add what was wrong with that."""
        message = (
            f"The release of {part.package_arn} to {self.named.endpoint} was taken back after {part.seconds:.0f} "
            f"seconds. {part.previous_config} serves as before.\n\n{part.why}"
        )
        problem = self.notify("a release was rolled back", message)
        return part.replace(problems=[*part.problems, problem]) if problem else part

    @property
    def _approved_against(self) -> str | None:
        """The endpoint configuration that served when somebody was asked; None where nobody was."""
        return (self.approval or {}).get("serving")

    def on_kill(self) -> None:
        """A person has ended the task: AWS goes back at once, instead of when the heartbeat is missed."""
        if hasattr(self, "cloudwatch"):
            release_guard.trip(self.cloudwatch, self.named, "The task was ended by a person.")

    def _settled(self, context: Context) -> Mapping[str, Any]:
        """The endpoint, once nobody changes it; a release that a try before left behind is taken back."""
        endpoint = self.named.endpoint
        now = self._there(self.hook.describe_endpoint(endpoint))
        pending = (now.get("PendingDeploymentSummary") or {}).get("EndpointConfigName")
        if pending == self._config_name(context) and now["EndpointStatus"] == "Updating":
            self.log.info("A try before has left this release unwatched: it is taken back, and begins anew")
            release_guard.trip(self.cloudwatch, self.named, "The try before has ended.")
        now = self._wait("the end of the change of the endpoint")
        if now["EndpointStatus"] != "InService":
            raise AirflowException(
                f"The endpoint {endpoint} is {now['EndpointStatus']}: {now.get('FailureReason') or 'no reason given'}"
            )
        return now

    def _wait(self, what: str) -> Mapping[str, Any]:
        limit = release.MOST_TIMEOUT + LIMIT_SECONDS
        poll_seconds = self.environment.poll_seconds
        endpoint = self.named.endpoint
        return self._there(self.hook.settled_endpoint(endpoint, poll_seconds, limit, f"{what} {endpoint}"))

    def _there(self, now: Mapping[str, Any] | None) -> Mapping[str, Any]:
        if now is None:
            raise AirflowException(
                f"There is no endpoint {self.named.endpoint} any more: clear this run from plan_release on."
            )
        return now

    # --- instances and auto-scaling

    def _before(self, context: Context, now: Mapping[str, Any]) -> record.ScalingBefore:
        """Auto-scaling and instances as they were before the first try of this task, which may have changed them."""
        s3, bucket, key = self.client("s3"), self.environment.bucket, run_of(context).key
        kept = record.read(s3, bucket, key, record.ScalingBefore)
        if kept and not kept.restored:
            return kept
        found = record.ScalingBefore(
            requests=scaling.describe(self.autoscaling, self.named.endpoint), instances=scaling.desired(now)
        )
        record.write(s3, bucket, key, found)
        return found

    def _as_before(self, context: Context, before: record.ScalingBefore) -> None:
        if scaling.as_before(self.hook, self.named, before):
            self._wait("the return to the instances that there were at")
        record.write(self.client("s3"), self.environment.bucket, run_of(context).key, before.replace(restored=True))

    def _prepare_fleet(self, now: Mapping[str, Any], wanted: str, before: Mapping[str, Any]) -> ReleasePlan:
        """Have as many instances as the release needs, and no auto-scaling that would be in its way."""
        planned = plan(self.config, scaling.desired(now))
        if before and self.hook.instance_type(now["EndpointConfigName"]) != self.hook.instance_type(wanted):
            # AWS fails an update to another instance type while a scalable target is registered.
            scaling.deregister(self.autoscaling, self.named.endpoint)
        elif before and before["target"]["MinCapacity"] < planned.instances:
            target = before["target"] | {"MinCapacity": planned.instances}
            target["MaxCapacity"] = max(target["MaxCapacity"], planned.instances)
            self.autoscaling.register_scalable_target(**target)
        if planned.raised_from:
            self.hook.conn.update_endpoint_weights_and_capacities(
                **release.instances(stack=self.named, variant=names.VARIANT, count=planned.instances)
            )
            self._wait("the start of a second instance at")
        self.log.info("The release is %s", planned)
        return planned

    # --- the release itself

    def _release(
        self, context: Context, now: Mapping[str, Any], wanted: str, before: record.ScalingBefore
    ) -> record.Release:
        planned = self._prepare_fleet(now, wanted, before.requests)
        s3, env = self.client("s3"), self.environment
        asked = Sampling(
            EndpointTarget(self.named.endpoint, self.client_factory, keep_answer=True),
            labelled_pictures(s3, env, self.model["dataset_uri"], most=max(100, self.config.judge_answers // 2)),
            new_model=wanted,
        )
        tags = request_parameters.tags(env, run_of(context))
        with ReleaseGuard(self.cloudwatch, self.named, poll_seconds=env.poll_seconds, tags=tags) as guard:
            rps = self.config.judge_requests_per_second
            first = REQUESTS_BEFORE if planned.kind == "CANARY" else self.config.judge_answers
            asked.send(rps, first / rps, 0.0, released=False)
            self._update(release.release(self.config, planned, stack=self.named, config_name=wanted))
            watch = Watch(
                self.config,
                planned,
                asked,
                guard,
                describe=lambda: self.hook.describe_endpoint(self.named.endpoint) or {},
                is_changing=lambda state: state.get("EndpointStatus") in CHANGING,
                look_seconds=min(MOST_LOOK_SECONDS, max(1.0, env.poll_seconds)),
            )
            watch.until_settled()
        release_guard.remove(self.cloudwatch, self.named)
        previous = now["EndpointConfigName"]
        if watch.state.get("EndpointConfigName") == wanted and not (watch.decide() and watch.passed):
            # AWS was done before the judge was: the way back is an update of its own.
            self.log.warning("The release is taken back by an update: %s", watch.decide().why)
            self._update(release.back(stack=self.named, config_name=previous))
            watch.state = self._wait("the return to what served before of")
        part = watch.part(
            package_arn=self.model["package_arn"],
            config=wanted,
            previous=previous,
            why=watch.state.get("FailureReason") or "",
        )
        # Of the second fleet and of an added instance.
        cost = prices.endpoint_cost_if_known(self.config.instance_type, part.seconds, planned.more_instances)
        return part.replace(cost_usd=cost)

    def _update(self, request: Mapping[str, Any]) -> None:
        limit = release.MOST_TIMEOUT + LIMIT_SECONDS
        self.hook.update_settled_endpoint(request, self.environment.poll_seconds, limit)

    def _keep(self, context: Context, part: record.Release) -> None:
        """Write down what served before, and delete what served before that. The function is still the one of before:
        it is released after the model."""
        conn, arn = self.hook.conn, self.hook.describe_endpoint(self.named.endpoint)["EndpointArn"]
        older = ServedBefore.of(conn, arn).config
        if older and older not in {part.previous_config, part.config}:
            for gone in self.hook.delete_endpoint_config(older):
                self.log.info("Deleted the %s, which served before the one before", gone)
        function = LiveFunction(self.hook.client("lambda"), self.named.function, poll_seconds=1.0, log=self.log)
        ServedBefore(part.previous_config, function.serving_version(), run_of(context).key).keep(conn, arn)

    def _endpoint(self, wanted: str) -> dict[str, Any]:
        return record.Endpoint(
            name=self.named.endpoint, config=wanted, instance_type=self.config.instance_type
        ).to_json()
