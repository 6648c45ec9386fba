"""A release under way: asked, looked at and judged, until the endpoint is in service again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from musher import record
from musher.config import DeploymentConfig
from musher.config.deployment import ALARM_SECONDS
from musher.release import sampling
from musher.release.judge import Judgement, Tolerances, judge
from musher.release.plan import ReleasePlan
from musher.release.sampling import Sampling

# So many answers in a row of the new fleet alone: the old one takes no calls any more.
ALL_NEW = 10

MOST_RPS_AFTERWARDS = 4.0

log = logging.getLogger(__name__)


class Guard(Protocol):
    """What can take a release back, and says whether somebody has."""

    @property
    def tripped(self) -> str | None: ...

    def trip(self, reason: str) -> None: ...


class Watch:
    """Decides, while AWS moves the calls, whether it may go on.

    Parameters: `describe` the endpoint as AWS describes it; `is_changing` whether that is a state that it will leave;
    `clock` seconds that only go forward.
    """

    def __init__(
        self,
        config: DeploymentConfig,
        plan: ReleasePlan,
        asked: Sampling,
        guard: Guard,
        *,
        describe: Callable[[], Mapping[str, Any]],
        is_changing: Callable[[Mapping[str, Any]], bool],
        look_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config, self.plan, self.asked, self.guard = config, plan, asked, guard
        self.describe, self.is_changing, self.look_seconds = describe, is_changing, look_seconds
        self.tolerances = Tolerances(
            slower=config.slower_allowed,
            less_accurate=config.less_accurate_allowed,
            least_requests=config.judge_answers,
        )
        self._clock, self._began = clock, clock()
        self.judgement: Judgement | None = None
        self.taken_back: tuple[str, float] | None = None
        self.state: Mapping[str, Any] = {}

    @property
    def seconds(self) -> float:
        """Since the release began."""
        return self._clock() - self._began

    @property
    def passed(self) -> bool:
        return self.judgement is not None and self.judgement.outcome == "pass" and self.taken_back is None

    def until_settled(self) -> None:
        """Ask and judge until the endpoint has stopped changing."""
        while True:
            self.asked.send(self._rps, self.look_seconds, self.seconds, released=True)
            self.state = self.describe()
            if self.taken_back is None and (reason := self.guard.tripped):
                self.taken_back = reason, self.seconds
            if not self.is_changing(self.state):
                return
            if self.taken_back is None:
                self._look()

    @property
    def _rps(self) -> float:
        """As many requests as the judge asks for; once it has judged, enough to notice a failure."""
        wanted = self.config.judge_requests_per_second
        return wanted if self.judgement is None else min(wanted, MOST_RPS_AFTERWARDS)

    def decide(self) -> Judgement:
        """What the judge says in the end, with what there is."""
        if self.judgement is None:
            self.judgement = self._judge(final=True)
        return self.judgement

    def _look(self) -> None:
        early = self._judge(final=False)
        if early.outcome == "fail":
            self._take_back(early)
        elif self.judgement is None:
            final = self._judge(final=True)
            if final.outcome == "pass":
                log.info("The judge lets the release go on: %s", final.why)
                self.judgement = final
            elif final.outcome == "fail" or self._over():
                self._take_back(final)

    def _judge(self, *, final: bool) -> Judgement:
        answers = self.asked.answers(concurrent=self.plan.kind == "CANARY")
        return judge(answers, self.tolerances, final=final)

    def _over(self) -> bool:
        """Whether the time for more answers is up: AWS would go on before an alarm reached it, or has."""
        first = self.asked.first_new
        if first is None:
            return False
        if self.seconds - first > self.config.bake_seconds - ALARM_SECONDS:
            return True
        last = [each.outcome.model_name == self.asked.new_model for each in self.asked.during[-ALL_NEW:]]
        return self.plan.kind == "CANARY" and len(last) == ALL_NEW and all(last) and self.plan.share < 1

    def _take_back(self, judgement: Judgement) -> None:
        self.judgement, self.taken_back = judgement, (judgement.why, self.seconds)
        self.guard.trip(f"{judgement.outcome}: {judgement.why}")

    def part(self, *, package_arn: str, config: str, previous: str, why: str = "") -> record.Release:
        """The run record's `release`, once the endpoint has settled.

        Parameters: `config` and `previous` the endpoint configurations of this release and of before; `why` what AWS
        said of a roll-back that nobody here asked for.
        """
        judgement, released = self.decide(), self.state.get("EndpointConfigName") == config
        during = self.asked.during
        said = judgement.why
        if self.taken_back:
            said = self.taken_back[0]
        elif not released:
            said = why or f"AWS took it back and gives no reason; until then, {judgement.why}"
        return record.Release(
            outcome="released" if released else "rolled back",
            why=said,
            package_arn=package_arn,
            plan=str(self.plan),
            instances=self.plan.instances,
            config=config,
            previous_config=previous,
            seconds=round(self.seconds, 1),
            seconds_to_roll_back=round(self.seconds - self.taken_back[1], 1) if self.taken_back else None,
            requests=len(during),
            failed=sum(not each.succeeded for each in during),
            judged=judgement.outcome,
            checks=list(judgement.checks),
            timeline=[record.ReleasePoint(**each) for each in sampling.points(self.asked, self.look_seconds)],
        )
