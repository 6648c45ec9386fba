"""One update of an endpoint, carried out: the new fleet comes up and takes the traffic, or all of it goes back.

AWS: SageMaker developer guide, "Blue/green deployments", "Use rolling deployments", "Auto-rollback configuration".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from local_aws.clock import Clock
from local_aws.endpoints import progress
from local_aws.endpoints.deployment import Counts, Plan, Step
from local_aws.endpoints.fleet import Fleet
from local_aws.endpoints.instance import StartFailed

LOOK_SECONDS = 0.05


class Tripped(Exception):
    """An alarm of the deployment is in the ALARM state."""


class TimedOut(Exception):
    """The deployment has taken longer than it may."""


class Ended(Exception):
    """The local AWS ends: nothing is to be done any more."""


@dataclass
class Rollout:
    """The steps of `plan`, from `old` to `new`.

    Waits are AWS seconds, as alarms' periods are; what is not a wait, such as launching, takes its real time, and the
    two together are what MaximumExecutionTimeoutInSeconds limits.

    Parameters: `alarms` gives those of some alarms that are in ALARM; `route` is called with the share of the calls
    that the new fleet is to answer; `changed` after every change of what DescribeEndpoint says; `gone` is set when the
    local AWS ends.
    """

    plan: Plan
    old: Fleet
    new: Fleet
    clock: Clock
    alarms: Callable[[Iterable[str]], list[str]]
    route: Callable[[float], None]
    changed: Callable[[], None]
    gone: threading.Event
    _spent: float = 0.0
    _expired: threading.Event = field(default_factory=threading.Event)
    _whole: int = 0

    def __post_init__(self) -> None:
        self._whole = sum(variant.desired for variant in self.old.variants)

    def run(self) -> None:
        """Until all calls are the new fleet's and the last bake is over; `old` has still to be closed then.

        Raises Tripped, TimedOut, StartFailed, OSError: it has to be rolled back. Raises Ended.
        """
        if not self.plan.rolling:
            self._launch(self.plan.steps[-1].new)
        for step in self.plan.steps:
            if self.plan.rolling:
                self._launch(step.new)
            self._activate(step)
            self._bake(step)
            if self.plan.rolling and step.share < 1:
                self._terminate(step.old)
        for variant in self.new.variants:
            variant.active = None

    def finish(self) -> None:
        """Terminate the old fleet."""
        self._say_all(self.old, progress.terminating)
        self.old.close()

    def roll_back(self) -> None:
        """All calls are the old fleet's again, and the new one is terminated.

        Raises StartFailed, OSError: what a rolling deployment had terminated did not start, and a mix of both serves.
        """
        for variant in self.old.variants:
            variant.active = None
        if self.plan.rolling:
            try:
                self._bring_back()
            except (StartFailed, OSError):
                self.route(1 - len(self.old.variants[0].instances) / self._whole)  # those that there are serve again
                raise
            finally:
                self.old.variants[0].desired = self._whole
        self.route(0.0)
        self._say_all(self.new, progress.terminating)
        self.new.close()
        for variant in self.old.variants:
            variant.status = None

    # --- the stages

    def _launch(self, counts: Counts) -> None:
        for variant in self.new.variants:
            variant.active = len(variant.instances) if self.plan.rolling else 0
            variant.status = progress.launching(counts[variant.name] - len(variant.instances), bool(variant.instances))
        self.changed()
        began, timer = time.monotonic(), self._timer()
        try:
            for variant in self.new.variants:
                variant.scale(counts[variant.name])
        except (StartFailed, OSError):
            if not self._expired.is_set():
                raise
        finally:
            timer.cancel()
            self._spent += time.monotonic() - began
        if self._expired.is_set():
            raise self._timed_out()

    def _timer(self) -> threading.Timer:
        """Ends the launch when the time is up."""

        def expire() -> None:
            self._expired.set()
            for variant in self.new.variants:
                variant.closed.set()

        left = threading.TIMEOUT_MAX if self.plan.timeout is None else max(0.0, self.plan.timeout - self._spent)
        timer = threading.Timer(left, expire)
        timer.daemon = True
        if self.plan.timeout is not None:
            timer.start()
        return timer

    def _activate(self, step: Step) -> None:
        for variant in self.new.variants:
            variant.status = progress.activating(step.new[variant.name], step.share < 1)
        self.changed()
        for variant in self.new.variants:
            variant.active = step.new[variant.name]
        self.route(step.share)
        # Only now: what the new fleet does not answer yet must find the old one as it was.
        for variant in self.old.variants:
            variant.active = step.old.get(variant.name, 0)

    def _bake(self, step: Step) -> None:
        """Wait, and look at the alarms all the while; once where there is nothing to wait for."""
        for variant in self.new.variants:
            variant.status = progress.baking(step.wait, step.name, step.new[variant.name], step.share < 1)
        self.changed()
        began, wait = time.monotonic(), self.clock.real(step.wait)
        while True:
            ringing = self.alarms(self.plan.alarms)
            if ringing:
                raise Tripped(ringing[0])
            passed = time.monotonic() - began
            if self.plan.timeout is not None and self._spent + passed * self.clock.speed > self.plan.timeout:
                raise self._timed_out()
            if passed >= wait:
                break
            if self.gone.wait(min(LOOK_SECONDS, wait - passed)):
                raise Ended
        self._spent += step.wait

    def _terminate(self, counts: Counts) -> None:
        began = time.monotonic()
        for variant in self.old.variants:
            surplus = len(variant.instances) - counts[variant.name]
            if surplus > 0:
                variant.status = progress.terminating(surplus)
                self.changed()
                variant.scale(counts[variant.name])
                variant.status = None
        self._spent += time.monotonic() - began

    def _bring_back(self) -> None:
        (old,), (new,) = self.old.variants, self.new.variants
        while len(old.instances) < self._whole:
            count = min(self._whole, len(old.instances) + self.plan.way_back)
            old.status = progress.launching(count - len(old.instances), True)
            self.changed()
            old.scale(count)
            share = 1 - count / self._whole
            left = min(len(new.instances), int(share * self.plan.steps[-1].new[new.name] + 1e-9))
            self.route(share if left else 0.0)
            if left < len(new.instances):
                new.scale(left)

    # --- inside

    def _say_all(self, fleet: Fleet, message: Callable[[int], progress.Status]) -> None:
        for variant in fleet.variants:
            variant.status = message(len(variant.instances))
        self.changed()

    def _timed_out(self) -> TimedOut:
        return TimedOut(
            f"The deployment was rolled back: it took longer than its MaximumExecutionTimeoutInSeconds, "
            f"{self.plan.timeout} seconds."
        )
