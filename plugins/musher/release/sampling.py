"""What the judge goes by: labelled pictures sent to an endpoint, each answer put down to the fleet that gave it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from musher.load.generator import run_phase
from musher.load.outcome import Outcome, Target
from musher.load.pictures import LabelledPicture
from musher.load.results import OfferLimits, PhaseResult
from musher.load.schedule import Phase
from musher.release.judge import Answer, Fleet
from musher.release.parity import predictions_in

OFFER_LIMITS = OfferLimits()


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: the picture, what came of it, `milliseconds` from when it was due, and when that was, in seconds on
    the release's clock."""

    picture: LabelledPicture
    outcome: Outcome
    milliseconds: float
    at: float

    @property
    def succeeded(self) -> bool:
        return self.outcome.status == "succeeded"

    def answer(self, fleet: Fleet) -> Answer:
        """It as the judge takes it. An answer without predictions is a failure, whatever its status."""
        predictions = predictions_in(self.outcome.answer)
        told = self.succeeded and bool(predictions)
        predicted = predictions[0][0] if told else None
        return Answer(fleet, told, self.milliseconds, self.picture.file, self.picture.label, predicted)


@dataclass
class Sampling:
    """Sends the pictures in turn, and keeps what came back.

    Parameters: `target` keeps the answers; `new_model` is the name that the new fleet's answers carry (MODEL_NAME).

    A failure says of no model that it was its. Before the release the old fleet has shown how often it fails; failures
    beyond that share are the new fleet's. So a doubt is never in favour of the new model.
    """

    target: Target
    pictures: Sequence[LabelledPicture]
    new_model: str
    before: list[Asked] = field(default_factory=list)
    during: list[Asked] = field(default_factory=list)
    _turn: int = 0

    def send(self, rps: float, seconds: float, now: float, *, released: bool) -> PhaseResult:
        """Send for some seconds; returns what came of it.

        Parameters: `released` whether the new fleet may take calls already; `now` seconds on the release's clock.
        """
        turned = [self.pictures[(self._turn + each) % len(self.pictures)] for each in range(len(self.pictures))]
        phase = Phase(name="release", kind="rate", rps=rps, seconds=max(seconds, 1 / rps))
        result = run_phase(
            phase, self.target, [each.data for each in turned], poll_seconds=0.1, lead_seconds=0.1, limits=OFFER_LIMITS
        )
        for sample in result.samples:
            number = round(sample.due * rps)
            milliseconds = (sample.done - sample.due) * 1000
            asked = Asked(turned[number % len(turned)], sample.outcome, milliseconds, now + sample.due)
            (self.during if released else self.before).append(asked)
        self._turn = (self._turn + len(result.samples)) % len(self.pictures)
        return result

    @property
    def first_new(self) -> float | None:
        """When the new fleet is known to have answered first, in seconds on the release's clock."""
        return next((each.at for each in self.during if each.outcome.model_name == self.new_model), None)

    def answers(self, *, concurrent: bool) -> list[Answer]:
        """Answers of both fleets, as the judge takes them.

        Parameters: `concurrent` True for a canary: of the old fleet only what it answered beside the new one; False
        where all calls move at once, and the old fleet is known by what it answered before.
        """
        share = self._failed_before()
        moved = [self._is_first(index) for index in range(len(self.during))]
        first = next((index for index, is_new in enumerate(moved) if is_new), len(self.during))
        beside = self.during[first:]
        old = sum(each.succeeded and each.outcome.model_name != self.new_model for each in beside)
        excused = round(old * share / (1 - share)) if share < 1 else len(beside)
        found = [each.answer("old") for each in self.before] if not concurrent else []
        for each in beside:
            if each.outcome.status == "throttled":
                continue
            fleet: Fleet = "new"
            if each.succeeded:
                fleet = "new" if each.outcome.model_name == self.new_model else "old"
            elif excused > 0:
                fleet, excused = "old", excused - 1
            if fleet == "new" or concurrent:
                found.append(each.answer(fleet))
        return found

    def _is_first(self, index: int) -> bool:
        """Whether the new fleet may have given this answer: by its name, or a failure that the old one is not known
        for."""
        outcome = self.during[index].outcome
        if outcome.model_name == self.new_model:
            return True
        return outcome.status == "failed" and self._failed_before() == 0

    def _failed_before(self) -> float:
        failed = sum(each.outcome.status == "failed" for each in self.before)
        return failed / len(self.before) if self.before else 0.0


def points(sampling: Sampling, every: float) -> list[dict[str, Any]]:
    """The release over time, for its page: for each stretch of `every` seconds the share of the answers that the new
    fleet gave, and per fleet median latency in milliseconds and failures."""
    found = []
    for at, group in itertools.groupby(sampling.during, key=lambda each: int(each.at // every)):
        rows = list(group)
        fleets: dict[str, list[float]] = {"old": [], "new": []}
        failed = 0
        for each in rows:
            if not each.succeeded:
                failed += 1
                continue
            fleets["new" if each.outcome.model_name == sampling.new_model else "old"].append(each.milliseconds)
        answered = sum(map(len, fleets.values()))
        found.append(
            {
                "seconds": round(at * every, 1),
                "new_share": round(len(fleets["new"]) / answered, 3) if answered else None,
                "old_ms": _median(fleets["old"]),
                "new_ms": _median(fleets["new"]),
                "failed": failed,
                "sent": len(rows),
            }
        )
    return found


def _median(values: list[float]) -> float | None:
    return round(sorted(values)[len(values) // 2], 2) if values else None
