"""Whether what was deployed answers what its model said when it was judged, and in time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from musher import names, record
from musher.hooks import registry
from musher.hooks.serving import ServingHook
from musher.load.capacity import REQUESTS_OF_A_P99, gentle_rps
from musher.load.generator import run_phase
from musher.load.outcome import cut_off
from musher.load.pictures import LabelledPicture, labelled_pictures
from musher.load.results import OfferLimits
from musher.load.schedule import Phase
from musher.load.targets import EndpointTarget, LambdaTarget
from musher.operators.base import StackOperator, deployment_config, plainly
from musher.release import pace, parity, registered, rehearsal

if TYPE_CHECKING:
    from airflow.sdk import Context

    from musher.load.outcome import Outcome

FIRST_CALLS = 5
# An endpoint that is being changed may have no instances: the local AWS starts them anew when it is restarted.
BACK_SECONDS = 1800
# At a gentle rate a call meets no other one in the only provisioned environment either: none waits for a cold start.
MOST_RPS = 10.0


class CheckParityOperator(StackOperator):
    """Send labelled test pictures through the function, and hold its answers against the model's evaluation.

    Parameters: `model` what ChooseModelOperator returned; `function` what DeployFunctionOperator returned; `stack` the
    one that it belongs to; `rehearsal` what PlanReleaseOperator returned as that. In a full one a load test follows,
    which judges latency on the load that was planned: it is measured here, and fails nothing. A short one has its
    verdict from here.

    A few calls one after the other tell how fast it is; then at least 100, which a 99th percentile needs, leave at a
    quarter of that rate. In a rehearsal the endpoint that serves and the rehearsal's are asked a few times as well, in
    turn (musher.release.pace). Writes the part `parity` and returns it.

    Fails when an answer is not the evaluation's, as musher.release.parity tells it; when the latency is above
    `latency_limit_ms`, or above that of what serves by more than `slower_in_rehearsal_allowed`; when a call fails or is
    throttled. A model that was registered without predictions, as those of others are, fails when its answers are
    certainly less accurate than its registration says.
    """

    aws_hook_class = ServingHook
    template_fields = aws_template_fields("model", "function", "stack", "rehearsal")

    def __init__(self, *, model: Any, function: Any, rehearsal: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.function = function
        self.rehearsal = rehearsal

    @plainly
    def execute(self, context: Context) -> dict[str, Any]:
        config = deployment_config(context)
        limit_ms = config.latency_limit_ms
        s3, env = self.client("s3"), self.environment
        pictures = labelled_pictures(s3, env, self.model["dataset_uri"])
        judged = record.read(s3, env.bucket, self.model["run_key"], record.Predictions)
        self.hook.settled_endpoint(self.named.endpoint, env.poll_seconds, BACK_SECONDS)
        asked, load = self._ask(pictures, limit_ms)
        outcomes = [outcome for _, outcome in asked]
        if lost := cut_off(outcomes):  # such as by a restart, after which calls are throttled as well
            raise AirflowException(f"{lost}: nothing is known of {self.function['function']}.")
        answers = [
            parity.Answer(each.file, len(each.data), each.label, parity.predictions_in(outcome.answer))
            for each, outcome in asked
            if outcome.status == "succeeded"
        ]
        comparison = parity.compare(answers, judged)
        rehearsed = record.Rehearsal.from_json(self.rehearsal)
        judges_latency = rehearsed.extent == "short"
        unmeasured = load.invalid_because if judges_latency else None
        judged_by = limit_ms if judges_latency and not unmeasured else None
        accuracy = None
        if comparison.not_compared:
            accuracy = self._against_registration(answers, config.less_accurate_allowed)
        beside = self._beside_what_serves(pictures, config.slower_in_rehearsal_allowed)
        reasons = parity.why_not(comparison, answers, outcomes, load, judged_by)
        reasons += [accuracy.why] if accuracy and accuracy.less else []
        reasons += [beside.why] if beside and beside.outcome == "fail" else []
        part = record.Parity(
            stack=self.named.name,
            function=self.function["function"],
            alias=self.function["alias"],
            weights=parity.told(outcomes, "weights"),
            model_names=parity.told(outcomes, "model_name"),
            pictures=len(pictures),
            accuracy=parity.accuracy(answers),
            comparison=comparison,
            registered=accuracy,
            pace=beside,
            load=load,
            latency_limit_ms=limit_ms,
            passed=not reasons and unmeasured is None,
            reasons=reasons or [each for each in [unmeasured] if each],
        )
        self.write_part(self.model["run_key"], part)
        self.log.info("%s", part)
        if judges_latency or not part.passed:
            checks = rehearsal.checks(part, rehearsed)
            self.write_part(self.model["run_key"], record.Verdict.of(checks))
        if reasons:
            raise AirflowFailException(f"The function {part.function} is not fit to serve: {'; '.join(reasons)}.")
        if unmeasured:  # a fault of this machine, which may be less busy another time
            raise AirflowException(f"The latency of {part.function} was not measured: {unmeasured}.")
        return part.to_json()

    def _against_registration(self, answers: Sequence[parity.Answer], allowed: float) -> record.AccuracyCheck | None:
        """The answers against the accuracy of the model's registration; None where it says none."""
        package = self.client("sagemaker").describe_model_package(ModelPackageName=self.model["package_arn"])
        known = registered.known(package, registry.evaluation(self.client("s3"), package))
        return registered.compare(answers, known, allowed=allowed) if known else None

    def _beside_what_serves(self, pictures: Sequence[LabelledPicture], allowed: float) -> record.JudgeCheck | None:
        """The rehearsal's endpoint against the one that serves; None where the rehearsal's is that one."""
        if not self.named.rehearsal:
            return None
        serving = names.Stack(self.environment.project)
        fleets = [EndpointTarget(stack.endpoint, self.client_factory) for stack in (serving, self.named)]
        found = pace.compare(*fleets, pictures, allowed=allowed)
        self.log.info("%s", found)
        return found

    def _ask(
        self, pictures: Sequence[LabelledPicture], limit_ms: float
    ) -> tuple[list[tuple[LabelledPicture, Outcome]], record.LoadPhase]:
        """Every call's picture and outcome, and what the calls at a steady rate measured."""
        target = LambdaTarget(self.function["function"], self.function["alias"], self.client_factory, keep_answer=True)
        asked, took = [], []
        for each in pictures[:FIRST_CALLS]:
            began = time.perf_counter()
            asked.append((each, target(each.data)))
            took.append(time.perf_counter() - began)
        rps = gentle_rps(took, MOST_RPS)
        requests = max(REQUESTS_OF_A_P99, len(pictures))
        phase = Phase(name="parity", kind="rate", rps=rps, seconds=requests / rps)
        self.log.info("%d requests at %.1f a second", requests, rps)
        result = run_phase(
            phase,
            target,
            [each.data for each in pictures],
            limits=OfferLimits.within(limit_ms),
        )
        # Requests are due evenly spaced, and take the pictures in turn.
        asked += [(pictures[round(each.due * rps) % len(pictures)], each.outcome) for each in result.samples]
        return asked, record.LoadPhase(**result.record())
