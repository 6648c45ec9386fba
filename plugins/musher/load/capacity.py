"""How many requests a second one instance can take, and the scaling target that follows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from musher.errors import UserError
from musher.load.generator import run_phase
from musher.load.outcome import Target
from musher.load.schedule import Phase

LEAST_RPS = 0.5
ACHIEVED_SHARE = 0.95


class CapacityError(UserError):
    """One instance cannot take even the lowest rate within the limits."""


def measure(
    target: Target,
    payloads: Sequence[bytes],
    *,
    latency_limit_ms: float,
    start_rps: float = 5.0,
    factor: float = 2.0,
    step_seconds: float = 1.5,
    refinements: int = 3,
    max_seconds: float = 20.0,
    ceiling_rps: float | None = None,
    max_error_rate: float = 0.0,
    on_step: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Find the highest rate one instance takes with its p99 within the latency limit.

    Steps of `step_seconds` at `start_rps`, x `factor`, x `factor` again, until one fails; that one is tried once more,
    since a single hiccup is not a limit. Then the gap is halved (geometrically) `refinements` times. A step fails when
    its p99 is above the limit, requests fail or are throttled beyond `max_error_rate`, answers come slower than
    requests, or the load could not be offered. Nothing new is begun after `max_seconds`.

    Parameters
    ----------
    ceiling_rps: highest rate to try, where more is of no interest.

    Returns
    -------
    `{max_rps_per_instance, p50_ms, p99_ms, limited_by, latency_limit_ms, seconds, steps: [{offered_rps, achieved_rps,
    p50_ms, p99_ms, ok, why}]}`; the percentiles are those at the highest rate. `limited_by` is the reason of the
    lowest step that failed, or `ceiling` or `time`.

    Raises
    ------
    CapacityError: even `LEAST_RPS` is too much; the sentence has the measured value.
    """
    ramp = _Ramp(target, payloads, latency_limit_ms, step_seconds, max_seconds, max_error_rate, on_step)
    highest = ceiling_rps or math.inf
    limited_by = ramp.climb(min(start_rps, highest), factor, highest)
    if ramp.best is None:
        ramp.descend(start_rps, factor)
    for _ in range(refinements):
        if ramp.lowest_failed is None or not ramp.time_left:
            break
        ramp.step(math.sqrt(ramp.best["offered_rps"] * ramp.lowest_failed["offered_rps"]))
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
        step_seconds: float,
        max_seconds: float,
        max_error_rate: float,
        on_step: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        self.target = target
        self.payloads = payloads
        self.latency_limit_ms = latency_limit_ms
        self.step_seconds = step_seconds
        self.max_error_rate = max_error_rate
        self.on_step = on_step
        self.began = time.monotonic()
        self.ends = self.began + max_seconds
        self.steps: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.lowest_failed: dict[str, Any] | None = None

    @property
    def time_left(self) -> bool:
        return time.monotonic() + self.step_seconds <= self.ends

    def climb(self, rps: float, factor: float, highest: float) -> str:
        while self.step(rps) or self.step(rps):
            if rps >= highest:
                return "ceiling"
            if not self.time_left:
                return "time"
            rps = min(rps * factor, highest)
        return "latency"

    def descend(self, rps: float, factor: float) -> None:
        while self.best is None:
            rps /= factor
            if rps < LEAST_RPS:
                raise CapacityError(
                    f"one instance does not take even {self.steps[-1]['offered_rps']:g} requests a second: "
                    f"{self.steps[-1]['why']}"
                )
            self.step(rps)

    def step(self, rps: float) -> bool:
        seconds = max(self.step_seconds, 3 / rps)
        phase = Phase(name=f"capacity at {rps:.1f}/s", kind="rate", rps=rps, seconds=seconds)
        result = run_phase(phase, self.target, self.payloads, poll_seconds=0.1, lead_seconds=0.1)
        record = result.record()
        # what is in flight when the schedule ends is no backlog if it takes no longer than the others did
        lasted = max((sample.done for sample in result.samples), default=seconds) - (record["p50_ms"] or 0) / 1000
        achieved = record["succeeded"] / max(seconds, lasted)
        why = self._why_not(record, achieved)
        step = {
            "offered_rps": round(rps, 2),
            "achieved_rps": round(achieved, 2),
            "p50_ms": record["p50_ms"],
            "p99_ms": record["p99_ms"],
            "ok": why is None,
            "why": why,
        }
        self.steps.append(step)
        if step["ok"] and (self.best is None or rps > self.best["offered_rps"]):
            self.best = step
            if self.lowest_failed and self.lowest_failed["offered_rps"] <= step["offered_rps"]:
                self.lowest_failed = None  # it failed once, and passed when tried again
        if not step["ok"] and (self.lowest_failed is None or rps < self.lowest_failed["offered_rps"]):
            self.lowest_failed = step
        if self.on_step:
            self.on_step(step)
        return step["ok"]

    def _why_not(self, record: dict[str, Any], achieved_rps: float) -> str | None:
        if record["invalid_because"]:
            return f"the load could not be offered: {record['invalid_because']}"
        refused = record["failed"] + record["throttled"]
        if refused > record["sent"] * self.max_error_rate:
            error = record["errors"][0]
            return f"{refused} of {record['sent']} requests failed, most by {error['kind']}: {error['example']}"
        if record["p99_ms"] is not None and record["p99_ms"] > self.latency_limit_ms:
            return f"p99 is {record['p99_ms']:.0f} ms, above the limit of {self.latency_limit_ms:g} ms"
        if achieved_rps < record["sent"] / record["seconds"] * ACHIEVED_SHARE * (1 - self.max_error_rate):
            return f"{achieved_rps:.1f} answers a second came for {record['offered_rps']:.1f} requests a second"
        return None
