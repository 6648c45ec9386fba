"""Measuring what was deployed: one instance's capacity, then the load test through the function, then the verdict."""

from __future__ import annotations

import datetime as dt
import functools
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowFailException

from musher import record
from musher.hooks import rehearsals
from musher.hooks.serving import ServingHook, metric_sum, wait_until
from musher.load import capacity, generator, plan, verdict
from musher.load.pictures import pictures_to_send
from musher.load.results import OfferLimits
from musher.load.targets import EndpointTarget, LambdaTarget
from musher.load.timeline import Timeline
from musher.operators.base import MusherOperator, deployment_config, plainly
from musher.release import rehearsal

if TYPE_CHECKING:
    from airflow.sdk import Context

    from musher.config import DeploymentConfig
    from musher.load.results import PhaseResult
    from musher.load.schedule import Phase

# CloudWatch's datapoints of Lambda arrive with a delay of some minutes.
CLOUDWATCH_LIMIT_SECONDS = 600
SETTLE_LIMIT_SECONDS = 1800
# How often a phase is run whose load could not be offered as promised: a machine is often busy, and seldom for long.
TRIES = 3


class MeasureCapacityOperator(MusherOperator):
    """Find the highest request rate that one instance takes within the latency limit, by a short ramp.

    Parameters: `endpoint` what DeployEndpointOperator returned; `model` what ChooseModelOperator returned; `rehearsal`
    what PlanReleaseOperator returned as that: a short one takes over what an equal one has measured. Writes the part
    `endpoint`; returns its `capacity`.
    """

    aws_hook_class = ServingHook
    template_fields = aws_template_fields("endpoint", "model", "rehearsal")

    def __init__(self, *, endpoint: Any, model: Any, rehearsal: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.endpoint = endpoint
        self.model = model
        self.rehearsal = rehearsal

    @plainly
    def execute(self, context: Context) -> dict[str, Any]:
        capacity = self._known() or self._measured(deployment_config(context))
        part = record.Endpoint.from_json(self.endpoint).replace(capacity=capacity)
        self.write_part(self.model["run_key"], part)
        return capacity.to_json()

    def _known(self) -> record.Capacity | None:
        before = record.Rehearsal.from_json(self.rehearsal).before if self.rehearsal else None
        if before is None:
            return None
        known = before.capacity
        self.log.info("One instance takes %.1f requests/s, says %s", known.max_rps_per_instance, before.named)
        return known

    def _measured(self, config: DeploymentConfig) -> record.Capacity:
        pictures = pictures_to_send(self.client("s3"), self.environment, self.model["dataset_uri"])
        name, poll_seconds = self.endpoint["name"], self.environment.poll_seconds
        now = self.hook.settled_endpoint(name, poll_seconds, SETTLE_LIMIT_SECONDS) or {"ProductionVariants": []}
        running = sum(each["CurrentInstanceCount"] for each in now["ProductionVariants"])
        measured = capacity.measure(
            EndpointTarget(name, self.client_factory),
            pictures,
            latency_limit_ms=config.latency_limit_ms,
            on_step=lambda step: self.log.info("%s", step),
        )
        measured["max_rps_per_instance"] = round(measured["max_rps_per_instance"] / max(1, running), 3)
        self.log.info("One instance takes %.1f requests/s", measured["max_rps_per_instance"])
        return record.Capacity(**measured)


class LoadTestOperator(MusherOperator):
    """Drive the function with an open-loop load and watch what scales, throttles and starts cold.

    Parameters: `model`, `rehearsal`, `endpoint`, `function`, `parity`, `capacity`, `scaling` what the earlier operators
    returned. Writes the parts `lambda`, `load_test` and `autoscaling`; returns the verdict, which is written as well. A
    rehearsal that passed is remembered, so that an equal one need not be as long.
    """

    aws_hook_class = ServingHook
    template_fields = aws_template_fields(
        "model", "rehearsal", "endpoint", "function", "parity", "capacity", "scaling", "needed"
    )

    def __init__(
        self,
        *,
        model: Any,
        rehearsal: Any,
        endpoint: Any,
        function: Any,
        parity: Any,
        capacity: Any,
        scaling: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.rehearsal = rehearsal
        self.endpoint = endpoint
        self.function = function
        self.parity = parity
        self.capacity = capacity
        self.scaling = scaling

    @plainly
    def execute(self, context: Context) -> dict[str, Any]:
        config, rehearsed = deployment_config(context), record.Rehearsal.from_json(self.rehearsal)
        phases = self._phases(config, rehearsed.concurrency)
        pictures = pictures_to_send(self.client("s3"), self.environment, self.model["dataset_uri"])
        target = LambdaTarget(self.function["function"], self.function["alias"], self.client_factory)
        observer = Timeline(self._instances, interval_seconds=min(1.0, self.environment.poll_seconds))
        if config.scales:
            self._settle(config)
        throttles = self._throttles()
        before = throttles()

        def begin(phase: Phase) -> None:
            observer.offered_rps = phase.offered_rps
            self.log.info("Phase %s begins", phase.name)

        with observer:
            results = generator.run_phases(
                phases,
                target,
                pictures,
                conditions={
                    plan.SCALED_OUT: observer.in_service_at_least(config.min_instances + 1),
                    plan.SCALED_IN: observer.in_service_at_most(config.min_instances),
                },
                limits=OfferLimits.within(config.latency_limit_ms),
                tries=TRIES,
                on_phase=begin,
                on_result=lambda result: self.log.info("%s", result.record()),
            )
        measured, repeated = (
            [record.LoadPhase(**result.record()) for result in part] for part in generator.last_tries(results)
        )
        seen = sum(phase.throttled for phase in (*measured, *repeated))
        parts = [
            record.LoadTest(
                phases=measured,
                repeated=repeated,
                cloudwatch_throttles=self._settled_throttles(lambda: throttles() - before, seen),
                latency_limit_ms=config.latency_limit_ms,
            ),
            record.Autoscaling.from_json(self.scaling).replace(timeline=observer.points, **_scaled(results, config)),
            record.Function.from_json(self.function),
        ]
        limits = verdict.Limits(
            p99_ms=config.latency_limit_ms,
            error_rate=config.max_error_rate,
            scales=config.scales,
            concurrency=rehearsed.concurrency,
        )
        of_load = record.Verdict(**verdict.decide({part.NAME: part.to_json() for part in parts}, limits))
        decided = of_load.with_checks(rehearsal.checks(record.Parity.from_json(self.parity), rehearsed))
        for part in (*parts, decided):
            self.write_part(self.model["run_key"], part)
        if decided.passed and rehearsed.facts:
            self._remember(rehearsed)
        return decided.to_json()

    def _remember(self, rehearsed: record.Rehearsal) -> None:
        passed = record.PassedRehearsal(
            facts=rehearsed.facts,
            run=self.model["run_key"],
            package_arn=self.model["package_arn"],
            passed_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            capacity=record.Capacity.from_json(self.capacity),
        )
        bucket = self.environment.bucket
        uri = rehearsals.remember(self.client("s3"), bucket, passed, concurrency=rehearsed.concurrency)
        self.log.info("Remembered in %s, so that an equal rehearsal need not be as long", uri)

    def _phases(self, config: DeploymentConfig, concurrency: bool) -> list[Phase]:
        return plan.build(
            provisioned=config.provisioned_concurrency,
            reserved=config.reserved_concurrency,
            capacity=self.capacity,
            safety_factor=config.safety_factor,
            scale_out_load=config.scale_out_load,
            overload_factor=config.overload_factor,
            bursts=config.bursts,
            least_interval_seconds=config.burst_interval_seconds,
            scale_out_limit_seconds=config.scale_out_limit_seconds,
            scale_in_limit_seconds=config.scale_in_limit_seconds,
            scales=config.scales,
            concurrency=concurrency,
        )

    def _settle(self, config: DeploymentConfig) -> None:
        """Wait for the fewest instances: the measuring of capacity may have scaled the endpoint out already, and then
        this load could not be seen to do it."""
        wait_until(
            self._instances,
            lambda state: max(state.values()) <= config.min_instances,
            what=f"the return of {self.endpoint['name']} to {config.min_instances} instance(s) before the load test",
            poll_seconds=self.environment.poll_seconds,
            limit_seconds=config.scale_in_limit_seconds,
        )

    def _instances(self) -> dict[str, int]:
        endpoint = self._sagemaker.describe_endpoint(EndpointName=self.endpoint["name"])
        variants = endpoint["ProductionVariants"]
        return {
            "desired": sum(each["DesiredInstanceCount"] for each in variants),
            "in_service": sum(each["CurrentInstanceCount"] for each in variants),
        }

    @functools.cached_property
    def _sagemaker(self) -> Any:
        return self.client("sagemaker")

    def _throttles(self):
        """A function that gives CloudWatch's sum of the function's throttles since a while before the load test."""
        client = self.client("cloudwatch")
        start = (dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)).replace(second=0, microsecond=0)

        def total() -> float:
            end = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
            dimensions = {"FunctionName": self.function["function"]}
            return metric_sum(client, "AWS/Lambda", "Throttles", dimensions, start, end)

        return total

    def _settled_throttles(self, total, seen: int) -> int:
        """CloudWatch's count, once it has caught up with what was seen, or what it says when it never does."""
        began = time.monotonic()
        try:
            state = wait_until(
                lambda: {"throttles": total()},
                lambda state: state["throttles"] >= seen,
                what="CloudWatch's count of throttles",
                poll_seconds=self.environment.poll_seconds,
                limit_seconds=CLOUDWATCH_LIMIT_SECONDS if self.environment.poll_seconds > 5 else 20,
            )
            self.log.info("CloudWatch caught up after %.0f s", time.monotonic() - began)
            return int(state["throttles"])
        except TimeoutError:
            return int(total())


def _scaled(results: list[PhaseResult], config: DeploymentConfig) -> dict[str, Any]:
    """Whether the endpoint scaled out under load and in afterwards."""
    if not config.scales:
        return {"scaled_out": None, "scaled_in": None}
    met: Mapping[str, bool | None] = {result.phase.name: result.condition_met for result in results}
    return {"scaled_out": bool(met.get(plan.SCALE_OUT)), "scaled_in": bool(met.get(plan.QUIET))}


class AssertVerdictOperator(MusherOperator):
    """Fail the run when the verdict failed: the last task, so that the report is there in either case.

    Parameters: `verdict` what LoadTestOperator returned, None where it was left out; `rehearsal` why that was.
    """

    template_fields = aws_template_fields("verdict", "rehearsal")

    def __init__(self, *, verdict: Any, rehearsal: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.verdict = verdict
        self.rehearsal = rehearsal

    def execute(self, context: Context) -> str:
        if self.verdict is None:
            return record.Rehearsal.from_json(self.rehearsal).why
        verdict = record.Verdict.from_json(self.verdict)
        if verdict.refused_because:
            raise AirflowFailException(f"There is no verdict: {verdict.refused_because}")
        failed = [check for check in verdict.checks if not check.passed]
        if failed:
            sentences = "; ".join(f"{each.name}: measured {each.measured}, required {each.required}" for each in failed)
            raise AirflowFailException(f"The verdict is failed: {sentences}")
        return f"All {len(verdict.checks)} checks passed"
