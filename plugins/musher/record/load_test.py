"""The load test and the verdict on it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from musher.record.part import Entry, Part


class PhaseError(Entry):
    """Calls of a phase that were throttled or failed in the same way, with an example of the message."""

    status: str
    kind: str
    count: int
    example: str = ""


class LoadPhase(Entry):
    """One phase of the load.

    Rates in requests a second, latencies in milliseconds from the scheduled time, `started_at` in Unix seconds.
    `promised`, `sent`, `succeeded`, `throttled`, `failed` count requests; `max_concurrency` and `cold_starts` are what
    the function reports of itself, `max_in_flight` what the sender had open. `condition_met` whether what the phase
    waited for came about, None where it waited for nothing; `invalid_because` why it is no measurement.
    """

    name: str
    offered_rps: float | None = None
    offered_concurrency: int | None = None
    promised: int | None = None
    sent: int | None = None
    succeeded: int | None = None
    throttled: int | None = None
    failed: int | None = None
    max_concurrency: int | None = None
    max_in_flight: int | None = None
    environments: int | None = None
    cold_starts: int | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    send_lag_p99_ms: float | None = None
    seconds: float | None = None
    started_at: float | None = None
    condition_met: bool | None = None
    errors: list[PhaseError] = []
    invalid_because: str | None = None


class LoadTest(Part):
    """The phases in the order they were run; `repeated` those tries that say nothing, because the load was not offered
    as promised, and that were followed by another; `cloudwatch_throttles` is CloudWatch's count over all of them."""

    NAME: ClassVar[str] = "load_test"

    phases: list[LoadPhase]
    repeated: list[LoadPhase] = []
    cloudwatch_throttles: int | None = None
    latency_limit_ms: float | None = None


class Check(Entry):
    """One check of the verdict; `measured` and `required` are for people. One that is `inconclusive` has neither passed
    nor failed: the load that it goes by was not offered."""

    name: str
    passed: bool
    inconclusive: bool = False
    measured: Any = None
    required: Any = None


class Verdict(Part):
    """Whether the deployment passed; `refused_because` where the load was not offered, so that nobody can say."""

    NAME: ClassVar[str] = "verdict"

    passed: bool
    refused_because: str | None = None
    checks: list[Check]

    @classmethod
    def of(cls, checks: Iterable[Check]) -> Verdict:
        """The verdict where nothing but these has to hold."""
        return cls(passed=True, checks=[]).with_checks(checks)

    def with_checks(self, checks: Iterable[Check]) -> Verdict:
        """The same, that more has to hold for."""
        more = [*self.checks, *checks]
        return self.replace(checks=more, passed=all(each.passed for each in more))
