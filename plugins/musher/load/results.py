"""From samples to the run record's fields of one phase."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from musher.load.histogram import percentiles_ms
from musher.load.outcome import Sample
from musher.load.schedule import Phase


@dataclass(frozen=True, kw_only=True)
class OfferLimits:
    """When a phase counts as offered: p99 of the send lag, and the share of the promised requests that left."""

    send_lag_p99_ms: float = 50.0
    sent_share: float = 0.99

    @classmethod
    def within(cls, latency_limit_ms: float) -> Self:
        """A lag of a tenth of what is asked of a prediction does not decide about it."""
        return cls(send_lag_p99_ms=max(cls.send_lag_p99_ms, latency_limit_ms / 10))


@dataclass(frozen=True, kw_only=True)
class PhaseResult:
    """What one phase measured; `record` is what goes into the run record."""

    phase: Phase
    samples: Sequence[Sample]
    promised: int
    seconds: float
    started_at: float
    condition_met: bool | None
    limits: OfferLimits

    def record(self) -> dict[str, Any]:
        """The run record's fields of a phase: durations in milliseconds, `started_at` in unix seconds.

        Latencies are those of every request that was not throttled: a refusal comes back at once, and would flatter
        the percentiles the more of them there are.
        """
        answered = [sample for sample in self.samples if sample.outcome.status != "throttled"]
        p50, p95, p99 = percentiles_ms((sample.done - sample.due for sample in answered), 50, 95, 99)
        statuses = [sample.outcome.status for sample in self.samples]
        return {
            "name": self.phase.name,
            "offered_rps": round(self.phase.offered_rps, 3),
            "offered_concurrency": self.phase.offered_concurrency,
            "promised": self.promised,
            "sent": len(self.samples),
            "succeeded": statuses.count("succeeded"),
            "throttled": statuses.count("throttled"),
            "failed": statuses.count("failed"),
            "max_concurrency": self.max_concurrency(),
            "max_in_flight": self.max_in_flight(),
            "environments": len({s.outcome.environment for s in self.samples if s.outcome.environment}),
            "cold_starts": sum(sample.outcome.initialization == "cold" for sample in self.samples),
            "p50_ms": p50,
            "p95_ms": p95,
            "p99_ms": p99,
            "send_lag_p99_ms": self.send_lag_p99_ms,
            "seconds": round(self.seconds, 3),
            "started_at": round(self.started_at, 3),
            "condition_met": self.condition_met,
            "errors": self.errors(),
            "invalid_because": self.invalid_because,
        }

    def max_in_flight(self) -> int:
        """Most calls that were unanswered at one moment, as the sender saw it."""
        return max_overlap((sample.sent, sample.done) for sample in self.samples)

    def max_concurrency(self) -> int | None:
        """Most executions the function itself says ran at the same time; None where no target said so."""
        executions = [
            (sample.outcome.started_at, sample.outcome.started_at + sample.outcome.duration_ms / 1000)
            for sample in self.samples
            if sample.outcome.started_at is not None and sample.outcome.duration_ms is not None
        ]
        return max_overlap(executions) if executions else None

    def errors(self) -> list[dict[str, Any]]:
        """Throttles and failures by kind, the most frequent first, each with one example of its message."""
        kinds: dict[tuple[str, str], dict[str, Any]] = {}
        for sample in self.samples:
            outcome = sample.outcome
            if outcome.status == "succeeded":
                continue
            entry = {"status": outcome.status, "kind": outcome.kind, "count": 0, "example": outcome.message}
            kinds.setdefault((outcome.status, outcome.kind), entry)["count"] += 1
        return sorted(kinds.values(), key=lambda entry: -entry["count"])

    @property
    def send_lag_p99_ms(self) -> float | None:
        """How late requests left; None when none did."""
        return percentiles_ms((sample.sent - sample.due for sample in self.samples), 99)[0]

    @property
    def invalid_because(self) -> str | None:
        """Why the phase says nothing about the target: its load was not the promised one. None when it was."""
        lag_p99_ms = self.send_lag_p99_ms
        if len(self.samples) < self.promised * self.limits.sent_share:
            return (
                f"{len(self.samples)} of the {self.promised} promised requests were sent, "
                f"at least {self.limits.sent_share:.0%} are required"
            )
        if lag_p99_ms is not None and lag_p99_ms > self.limits.send_lag_p99_ms:
            most = self.limits.send_lag_p99_ms
            return f"requests left late: send lag p99 {lag_p99_ms:.1f} ms, at most {most:g} ms is allowed"
        if self.phase.kind == "bursts" and (most := self.max_in_flight()) > self.phase.size:
            return (
                f"{most} calls were unanswered at once where bursts of {self.phase.size} were promised: a burst left "
                "before the one before it had been answered"
            )
        return None


def max_overlap(intervals: Iterable[tuple[float, float]]) -> int:
    """Most intervals that hold at one moment; one that ends when another starts does not overlap it."""
    edges: list[tuple[float, int]] = []
    for start, end in intervals:
        if end > start:
            edges += [(start, 1), (end, -1)]
    most = now = 0
    for _, step in sorted(edges):  # at the same moment, -1 (an end) sorts before +1 (a start)
        now += step
        most = max(most, now)
    return most
