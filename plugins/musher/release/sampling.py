"""What the judge goes by: labelled pictures sent to an endpoint, each answer put down to the fleet that gave it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from musher.load.generator import run_phase
from musher.load.outcome import Outcome, Target
from musher.load.pictures import LabelledPicture
from musher.load.results import OfferLimits, PhaseResult
from musher.load.schedule import Phase
from musher.release.judge import Answer
from musher.release.parity import predictions_in

OFFER_LIMITS = OfferLimits()


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
    before: list[tuple[LabelledPicture, Outcome, float]] = field(default_factory=list)
    during: list[tuple[LabelledPicture, Outcome, float, float]] = field(default_factory=list)
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
            picture, milliseconds = turned[number % len(turned)], (sample.done - sample.due) * 1000
            if released:
                self.during.append((picture, sample.outcome, milliseconds, now + sample.due))
            else:
                self.before.append((picture, sample.outcome, milliseconds))
        self._turn = (self._turn + len(result.samples)) % len(self.pictures)
        return result

    @property
    def first_new(self) -> float | None:
        """When the new fleet is known to have answered first, in seconds on the release's clock."""
        return next((at for _, outcome, _, at in self.during if outcome.model_name == self.new_model), None)

    def answers(self, *, concurrent: bool) -> list[Answer]:
        """Answers of both fleets, as the judge takes them.

        Parameters: `concurrent` True for a canary: of the old fleet only what it answered beside the new one; False
        where all calls move at once, and the old fleet is known by what it answered before.
        """
        share = self._failed_before()
        moved = [self._is_first(index) for index in range(len(self.during))]
        first = next((index for index, is_new in enumerate(moved) if is_new), len(self.during))
        beside = self.during[first:]
        old = sum(_succeeded(outcome) and outcome.model_name != self.new_model for _, outcome, _, _ in beside)
        excused = round(old * share / (1 - share)) if share < 1 else len(beside)
        found = [_answer("old", *each) for each in self.before] if not concurrent else []
        for picture, outcome, milliseconds, _ in beside:
            if outcome.status == "throttled":
                continue
            fleet: Literal["old", "new"] = "new"
            if _succeeded(outcome):
                fleet = "new" if outcome.model_name == self.new_model else "old"
            elif excused > 0:
                fleet, excused = "old", excused - 1
            if fleet == "new" or concurrent:
                found.append(_answer(fleet, picture, outcome, milliseconds))
        return found

    def _is_first(self, index: int) -> bool:
        """Whether the new fleet may have given this answer: by its name, or a failure that the old one is not known
        for."""
        outcome = self.during[index][1]
        if outcome.model_name == self.new_model:
            return True
        return outcome.status == "failed" and self._failed_before() == 0

    def _failed_before(self) -> float:
        failed = sum(outcome.status == "failed" for _, outcome, _ in self.before)
        return failed / len(self.before) if self.before else 0.0


def _succeeded(outcome: Outcome) -> bool:
    return outcome.status == "succeeded"


def _answer(fleet: Literal["old", "new"], picture: LabelledPicture, outcome: Outcome, milliseconds: float) -> Answer:
    """An answer as the judge takes it. One without predictions is a failure, whatever its status."""
    predictions = predictions_in(outcome.answer)
    told = _succeeded(outcome) and bool(predictions)
    return Answer(fleet, told, milliseconds, picture.file, picture.label, predictions[0][0] if told else None)


def points(sampling: Sampling, every: float) -> list[dict[str, Any]]:
    """The release over time, for its page: for each stretch of `every` seconds the share of the answers that the new
    fleet gave, and per fleet median latency in milliseconds and failures."""
    found = []
    for at, group in itertools.groupby(sampling.during, key=lambda each: int(each[3] // every)):
        rows = list(group)
        fleets: dict[str, list[float]] = {"old": [], "new": []}
        failed = 0
        for _, outcome, milliseconds, _ in rows:
            if not _succeeded(outcome):
                failed += 1
                continue
            fleets["new" if outcome.model_name == sampling.new_model else "old"].append(milliseconds)
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
