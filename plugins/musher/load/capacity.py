"""How many requests a second one instance can take, and the scaling target that follows."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from musher.errors import UnreachableError, UserError
from musher.load.generator import run_phase
from musher.load.outcome import Sample, Target, cut_off
from musher.load.results import OfferLimits
from musher.load.schedule import Phase

LEAST_RPS, START_RPS, MOST_RPS = 0.5, 5.0, 2000.0  # the last: more than the generator offers on time
FACTOR = 2.0
STEP_SECONDS = 1.5
REFINEMENTS = 3
# Nothing new is looked for after this; what was found is still confirmed.
SEARCH_SECONDS = 20.0
# A 99th percentile of fewer is nothing but the slowest of them.
REQUESTS_OF_A_P99 = 100
LONGEST_CONFIRMATION_SECONDS = 60.0
CONFIRMATIONS = 2  # tries, where the load could not be offered
ACHIEVED_SHARE = 0.95
# A quarter of what one call after the other would make: a call that takes four times as long still meets no other one.
SHARE_OF_ONE_BY_ONE = 0.25


def gentle_rps(seconds: Sequence[float], most: float) -> float:
    """A rate at which calls do not wait for each other, after what some took that were made one after the other.

    Parameters: `most` the rate that is gentle however fast they were.
    """
    return max(LEAST_RPS, min(most, SHARE_OF_ONE_BY_ONE / statistics.median(seconds)))


class CapacityError(UserError):
    """One instance cannot take even the lowest rate within the limits."""


def measure(
    target: Target,
    payloads: Sequence[bytes],
    *,
    latency_limit_ms: float,
    on_step: Callable[[dict[str, Any]], None] = lambda step: None,
) -> dict[str, Any]:
    """Find the highest rate one instance takes with its p99 within the latency limit.

    Steps of `STEP_SECONDS` at `START_RPS`, twice that, twice again, until one fails; that one is tried once more, since
    a single hiccup is not a limit. Then the gap is halved (geometrically) `REFINEMENTS` times. The rate that comes out
    is confirmed, where its step was too short to have a p99: a step of `REQUESTS_OF_A_P99` requests; if that fails, the
    next lower rate is. A step fails when its p99 (with fewer requests, the slowest of them) is above the limit, when
    a request fails or is throttled, when answers come slower than requests, or when the load could not be offered.

    Returns
    -------
    `{max_rps_per_instance, p50_ms, p99_ms, limited_by, latency_limit_ms, seconds, steps: [{offered_rps, achieved_rps,
    requests, p50_ms, p99_ms, slowest_ms, ok, why}]}`; the percentiles are those at the highest rate, and `p99_ms` is
    None where fewer than `REQUESTS_OF_A_P99` were sent: at a rate so low that they would take longer than
    `LONGEST_CONFIRMATION_SECONDS`, or from a machine too busy to send them on time. `limited_by` is the reason of the
    lowest step that failed, or `ceiling` or `time`.

    Raises
    ------
    CapacityError: even `LEAST_RPS` is too much; the sentence has the measured value.
    UnreachableError: most of a step's calls were cut off, as by a restart of whoever answers.
    """
    ramp = _Ramp(target, payloads, latency_limit_ms, on_step)
    limited_by = ramp.climb(START_RPS)
    if ramp.best is None:
        ramp.descend(START_RPS)
    for _ in range(REFINEMENTS):
        if ramp.lowest_failed is None or not ramp.time_left:
            break
        ramp.step(math.sqrt(ramp.best["offered_rps"] * ramp.lowest_failed["offered_rps"]))
    ramp.confirm()
    return {
        "max_rps_per_instance": ramp.best["offered_rps"],
        "p50_ms": ramp.best["p50_ms"],
        "p99_ms": ramp.best["p99_ms"],
        "limited_by": ramp.lowest_failed["why"] if ramp.lowest_failed else limited_by,
        "latency_limit_ms": latency_limit_ms,
        "seconds": round(time.monotonic() - ramp.began, 1),
        "steps": ramp.steps,
    }


def scaling_target(max_rps_per_instance: float, safety_factor: float) -> float:
    """Target of `SageMakerVariantInvocationsPerInstance`: invocations per instance and minute.

    Source: SageMaker developer guide, "Load testing your auto scaling configuration": maximum requests per second
    x safety factor x 60, starting at a safety factor of 0.5.
    """
    if max_rps_per_instance <= 0:
        raise ValueError(f"max_rps_per_instance is {max_rps_per_instance:g}; a scaling target needs more than 0")
    if not 0 < safety_factor <= 1:
        raise ValueError(f"safety_factor is {safety_factor:g}; it has to be above 0 and at most 1")
    return max_rps_per_instance * safety_factor * 60


class _Ramp:
    def __init__(
        self,
        target: Target,
        payloads: Sequence[bytes],
        latency_limit_ms: float,
        on_step: Callable[[dict[str, Any]], None],
    ) -> None:
        self.target = target
        self.payloads = payloads
        self.latency_limit_ms = latency_limit_ms
        self.on_step = on_step
        self.began = time.monotonic()
        self.steps: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.lowest_failed: dict[str, Any] | None = None
        self.offered = True

    @property
    def time_left(self) -> bool:
        return time.monotonic() + STEP_SECONDS <= self.began + SEARCH_SECONDS

    def climb(self, rps: float) -> str:
        rps = min(rps, MOST_RPS)
        while self.step(rps) or self.step(rps):
            if rps >= MOST_RPS:
                return "ceiling"
            if not self.time_left:
                return "time"
            rps = min(rps * FACTOR, MOST_RPS)
        return "latency"

    def descend(self, rps: float) -> None:
        """Look below a rate for the first one that is taken. Raises CapacityError when none is."""
        while self.best is None:
            rps /= FACTOR
            if rps < LEAST_RPS:
                raise CapacityError(
                    f"one instance does not take even {self.steps[-1]['offered_rps']:g} requests a second: "
                    f"{self.steps[-1]['why']}"
                )
            self.step(rps)

    def confirm(self) -> None:
        """Have the best rate be one whose p99 is known, as far as it can be offered and takes no more than a minute."""
        while self.best["requests"] < REQUESTS_OF_A_P99:
            rps = self.best["offered_rps"]
            seconds = min(REQUESTS_OF_A_P99 / rps, LONGEST_CONFIRMATION_SECONDS)
            for _ in range(CONFIRMATIONS):
                if self.step(rps, seconds):
                    return
                if self.offered:
                    break
            if not self.offered:
                return  # a sender that is late says nothing of the instance: the short step's word stands
            lower = [step for step in self.steps if step["ok"] and step["offered_rps"] < rps]
            self.best = max(lower, key=lambda step: step["offered_rps"], default=None)
            if self.best is None:
                self.descend(rps)

    def step(self, rps: float, seconds: float = 0.0) -> bool:
        confirming = seconds > 0
        found = offer(
            self.target,
            self.payloads,
            name=f"capacity at {rps:.1f}/s",
            rps=rps,
            seconds=max(STEP_SECONDS, 3 / rps, seconds),
            latency_limit_ms=self.latency_limit_ms,
        )
        outcomes = [sample.outcome for sample in found.samples]
        if sum(outcome.unreachable for outcome in outcomes) > len(outcomes) / 2:
            raise UnreachableError(f"{cut_off(outcomes)}: nothing is known of the instance.")
        step, self.offered = found.step, found.offered
        self.steps.append(step)
        if step["ok"] and (self.best is None or step["offered_rps"] >= self.best["offered_rps"]):
            self.best = step
            if self.lowest_failed and self.lowest_failed["offered_rps"] <= step["offered_rps"]:
                self.lowest_failed = None  # it failed once, and passed when tried again
        counts = self.offered or not confirming
        if not step["ok"] and counts and (self.lowest_failed is None or rps < self.lowest_failed["offered_rps"]):
            self.lowest_failed = step
        self.on_step(step)
        return step["ok"]


@dataclass(frozen=True)
class Offer:
    """What came of one rate: its `step` as `measure` lists them, whether the load was `offered` as promised, and the
    samples."""

    step: dict[str, Any]
    offered: bool
    samples: Sequence[Sample]


def offer(
    target: Target,
    payloads: Sequence[bytes],
    *,
    name: str,
    rps: float,
    seconds: float,
    latency_limit_ms: float,
    most_failed: float = 0.0,
    limits: OfferLimits | None = None,
) -> Offer:
    """Offer one rate for some seconds, and see whether it is taken, as `measure` says.

    Parameters: `most_failed` the share of the requests that may fail; `limits` as `run_phase` takes them.
    """
    phase = Phase(name=name, kind="rate", rps=rps, seconds=seconds)
    result = run_phase(phase, target, payloads, poll_seconds=0.1, lead_seconds=0.1, limits=limits)
    record = result.record()
    answered = [sample.done - sample.due for sample in result.samples if sample.outcome.status != "throttled"]
    record["slowest_ms"] = round(max(answered) * 1000, 3) if answered else None
    if len(answered) < REQUESTS_OF_A_P99:
        record["p99_ms"] = None
    # what is in flight when the schedule ends is no backlog if it takes no longer than the others did
    lasted = max((sample.done for sample in result.samples), default=seconds) - (record["p50_ms"] or 0) / 1000
    achieved = record["succeeded"] / max(seconds, lasted)
    why = _why_not(record, achieved, latency_limit_ms, most_failed)
    step = {
        "offered_rps": round(rps, 2),
        "achieved_rps": round(achieved, 2),
        "requests": record["sent"],
        "p50_ms": record["p50_ms"],
        "p99_ms": record["p99_ms"],
        "slowest_ms": record["slowest_ms"],
        "ok": why is None,
        "why": why,
    }
    return Offer(step, not record["invalid_because"], result.samples)


def _why_not(record: dict[str, Any], achieved_rps: float, latency_limit_ms: float, most_failed: float) -> str | None:
    if record["invalid_because"]:
        return f"the load could not be offered: {record['invalid_because']}"
    if (refused := record["failed"] + record["throttled"]) > most_failed * record["sent"]:
        error = record["errors"][0]
        return f"{refused} of {record['sent']} requests failed, most by {error['kind']}: {error['example']}"
    limit = f"above the limit of {latency_limit_ms:g} ms"
    if record["p99_ms"] is not None and record["p99_ms"] > latency_limit_ms:
        return f"p99 is {record['p99_ms']:.0f} ms, {limit}"
    if record["p99_ms"] is None and (record["slowest_ms"] or 0) > latency_limit_ms:
        return f"the slowest of {record['sent']} requests took {record['slowest_ms']:.0f} ms, {limit}"
    if achieved_rps < record["sent"] / record["seconds"] * ACHIEVED_SHARE:
        return f"{achieved_rps:.1f} answers a second came for {record['offered_rps']:.1f} requests a second"
    return None
