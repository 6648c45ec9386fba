"""Sends what the schedule says, when it says so."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from musher.load.outcome import Outcome, PreparingTarget, Sample, Target
from musher.load.results import OfferLimits, PhaseResult
from musher.load.schedule import Phase

SPARE_WORKERS = 4
DROP_AFTER_SECONDS = 5.0
# How long a burst waits at most for the answers to the one before it.
STRAGGLERS_SECONDS = 30.0

Condition = Callable[[], bool]


def run_phases(
    phases: Sequence[Phase],
    target: Target,
    payloads: Sequence[bytes],
    *,
    conditions: Mapping[str, Condition] | None = None,
    limits: OfferLimits | None = None,
    tries: int = 1,
    on_phase: Callable[[Phase], None] | None = None,
    on_result: Callable[[PhaseResult], None] | None = None,
) -> list[PhaseResult]:
    """Run the phases one after the other, each once the answers of the one before have come in.

    One whose load was not offered as promised says nothing about the target, and is run again. What it waits for has
    happened by then, so that one with an `until` is not. Returns what was measured in the order in which it was, each
    try (`last_tries` parts them).

    Parameters
    ----------
    payloads: request bodies, taken in turn.
    conditions: what a phase's `until` names; called about once a second, True ends the phase.
    tries: how often a phase is run at most.
    on_phase, on_result: called before and after each phase (a log line, the time line's offered rate).

    Raises
    ------
    ValueError: a phase names a condition that is not among `conditions`, or there is no payload.
    """
    known = dict(conditions or {})
    for phase in phases:
        if phase.until is not None and phase.until not in known:
            raise ValueError(f"phase {phase.name}: no condition {phase.until!r}; known are {sorted(known)}")
    results = []
    for phase in phases:
        for _ in range(1 if phase.until else tries):
            if on_phase:
                on_phase(phase)
            results.append(
                run_phase(phase, target, payloads, until=known[phase.until] if phase.until else None, limits=limits)
            )
            if on_result:
                on_result(results[-1])
            if not results[-1].invalid_because:
                break
    return results


def last_tries(results: Sequence[PhaseResult]) -> tuple[list[PhaseResult], list[PhaseResult]]:
    """What `run_phases` measured: the last try of each phase, and those that were repeated."""
    last = {result.phase.name: result for result in results}
    return list(last.values()), [result for result in results if result is not last[result.phase.name]]


def run_phase(
    phase: Phase,
    target: Target,
    payloads: Sequence[bytes],
    *,
    until: Condition | None = None,
    limits: OfferLimits | None = None,
    max_workers: int = 500,
    poll_seconds: float = 1.0,
    lead_seconds: float = 0.5,
) -> PhaseResult:
    """Run one phase and wait for every answer.

    A request that could not leave within `DROP_AFTER_SECONDS` of its time is not sent; the result then says that the
    promised load was not offered. A burst is due once the one before it has been answered, however long after its time
    that is, up to `STRAGGLERS_SECONDS`: two that overlap would be one larger burst. The target's own time limit bounds
    the wait for answers. The phase begins `lead_seconds` after the first connections have been asked for.
    """
    if not payloads and phase.offered_rps:
        raise ValueError(f"phase {phase.name}: there is nothing to send, payloads is empty")
    with _quick_switching():
        run = _Run(phase, target, payloads, max_workers, lead_seconds)
        return run.execute(until, poll_seconds, limits or OfferLimits())


class _Run:
    """One phase in progress. Each worker claims the next due time, prepares, waits, sends and comes back for more.

    There is no queue between a dispatcher and the workers, so that a request's way from its due time to the wire is
    one thread waking up.
    """

    def __init__(
        self, phase: Phase, target: Target, payloads: Sequence[bytes], max_workers: int, lead_seconds: float
    ) -> None:
        self.phase = phase
        self.payloads = payloads
        self.max_workers = max_workers
        self.lead_seconds = lead_seconds
        self.prepare = target.prepare if isinstance(target, PreparingTarget) else _prepare_plain(target)
        self.slots = enumerate(phase.offsets())
        self.bursts = _Bursts(phase.size, lead_seconds) if phase.kind == "bursts" else None
        self.samples: list[Sample] = []
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.workers: list[threading.Thread] = []
        self.waiting = 0
        self.exhausted = False
        self.failure: BaseException | None = None

    def execute(self, until: Condition | None, poll_seconds: float, limits: OfferLimits) -> PhaseResult:
        for payload in dict.fromkeys(self.payloads):
            self.prepare(payload, self.lead_seconds)
        self.start = time.perf_counter() + self.lead_seconds
        started_at = time.time() + self.lead_seconds
        try:
            for _ in range((self.phase.offered_concurrency or 0) + SPARE_WORKERS if self.phase.offered_rps else 0):
                self._hire()
            met = self._wait(until, poll_seconds)
        finally:
            self._end()
            for worker in self.workers:  # grows no more: stop is set
                worker.join()
        if self.failure:
            raise self.failure
        seconds = min(self.ended - self.start, self.phase.limit_seconds + self._late)
        return PhaseResult(
            phase=self.phase,
            samples=sorted(self.samples, key=lambda sample: sample.due),
            promised=self.phase.promised(seconds),
            seconds=seconds,
            started_at=started_at,
            condition_met=met if until else None,
            limits=limits,
        )

    def _wait(self, until: Condition | None, poll_seconds: float) -> bool:
        """Wait for the end of the schedule, or for the condition and then its hold time; True when it was met."""
        end = self.start + self.phase.limit_seconds
        met = False
        while (left := end + self._late - time.perf_counter()) > 0 and not self.failure:
            if until and not met and until():
                met = True
                end = min(end, time.perf_counter() + self.phase.hold_seconds)
                continue
            time.sleep(min(left, poll_seconds))
        self.ended = time.perf_counter()
        if self.phase.kind == "rate" and met:
            return True
        patience = DROP_AFTER_SECONDS + (STRAGGLERS_SECONDS if self.bursts else 0)
        late = self._late
        while not self._schedule_done() and time.perf_counter() < self.ended + self._late - late + patience:
            time.sleep(0.01)  # requests that are due but late: still to be sent, their lag tells
        return met

    @property
    def _late(self) -> float:
        """By how many seconds bursts have put off what comes after them."""
        return self.bursts.late if self.bursts else 0.0

    def _end(self) -> None:
        self.stop.set()
        if self.bursts:
            self.bursts.end()

    def _schedule_done(self) -> bool:
        with self.lock:
            return (self.exhausted and self.waiting == 0) or self.failure is not None or not self.workers

    def _hire(self) -> None:
        with self.lock:
            if self.stop.is_set() or self.exhausted or len(self.workers) >= self.max_workers:
                return
            worker = threading.Thread(target=self._work, name=f"load-{self.phase.name}", daemon=True)
            self.workers.append(worker)
        worker.start()

    def _claim(self) -> tuple[int, float] | None:
        with self.lock:
            slot = next(self.slots, None)
            if slot is None:
                self.exhausted = True
            else:
                self.waiting += 1
            return slot

    def _work(self) -> None:
        try:
            while not self.stop.is_set() and (slot := self._claim()) is not None:
                self._send(*slot)
        except BaseException as error:  # a fault of the generator or of the target's code: the caller hears of it
            self.failure = error
            self._end()

    def _send(self, index: int, due: float) -> None:
        try:
            call = self.prepare(self.payloads[index % len(self.payloads)], self.start + due - time.perf_counter())
            if self.bursts:
                due = self.bursts.due(index, due, self.start)
            early = self.start + due - time.perf_counter()
            if early > 0:
                self.stop.wait(early)
            if self.stop.is_set() and time.perf_counter() < self.start + due:
                return  # the phase ended before this request was due
        finally:
            with self.lock:
                self.waiting -= 1
                short = self.waiting < SPARE_WORKERS
        if short:
            self._hire()
        sent = time.perf_counter() - self.start
        if sent - due <= DROP_AFTER_SECONDS:
            outcome = call()
            self.samples.append(Sample(due, sent, time.perf_counter() - self.start, outcome))
        if self.bursts:
            self.bursts.over()


class _Bursts:
    """When the bursts of a phase are due: at their times, but not before the one before has been answered.

    Parameters: `size` calls of each; `lead_seconds` what a burst that had to wait gets to have all its calls ready.
    """

    def __init__(self, size: int, lead_seconds: float) -> None:
        self.size, self.lead_seconds = size, lead_seconds
        self.late = 0.0
        self._times: dict[int, float] = {}
        self._over = 0
        self._ended = False
        self._changed = threading.Condition()

    def due(self, index: int, planned: float, start: float) -> float:
        """When a request is due, once that is known, in seconds from the phase's start (`start`, on the clock).

        Parameters: `index` which request of the phase; `planned` when the schedule has it.
        """
        burst = index // self.size
        with self._changed:
            wait = start + planned + self.late + STRAGGLERS_SECONDS - time.perf_counter()
            self._changed.wait_for(
                lambda: self._ended or burst in self._times or self._over >= burst * self.size, timeout=max(0, wait)
            )
            if burst not in self._times:
                now, due = time.perf_counter() - start, planned + self.late
                self._times[burst] = due if now <= due else now + self.lead_seconds
                self.late = self._times[burst] - planned
            return self._times[burst]

    def over(self) -> None:
        """One more call has come back, or was dropped."""
        with self._changed:
            self._over += 1
            self._changed.notify_all()

    def end(self) -> None:
        """Keep nobody waiting any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def _prepare_plain(send: Callable[[bytes], Outcome]) -> Callable[[bytes, float], Callable[[], Outcome]]:
    return lambda payload, _ahead_seconds: partial(send, payload)


@contextmanager
def _quick_switching() -> Iterator[None]:
    """Let a thread that wakes up wait half a millisecond for the interpreter at most, not Python's usual five."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
