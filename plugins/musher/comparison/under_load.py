"""The two models themselves, asked: blocks of an open loop, and the labelled pictures one by one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

from musher.comparison.blocks import VARIANTS, Block, Picture, Variant
from musher.load.capacity import gentle_rps, offer
from musher.load.generator import run_phase
from musher.load.outcome import Outcome, Target
from musher.load.pictures import LabelledPicture
from musher.load.results import OfferLimits
from musher.load.schedule import Phase
from musher.release.parity import predictions_in

# A model that fails more of a block's requests than this does not take the rate.
MOST_FAILED = 0.05
FIRST_CALLS = 5
MOST_RPS = 20.0
# Pictures that one model is asked about before the other one is.
STRETCH = 10
# From one turn to the next: no divisor of a usual number of pictures, so that all have their turns.
TURN = 37


class UnderLoad:
    """Asks two models.

    Parameters: `targets` keep the answers; `on_block` is told of each block.
    """

    def __init__(
        self,
        targets: Mapping[Variant, Target],
        pictures: Sequence[LabelledPicture],
        *,
        latency_limit_ms: float,
        step_seconds: float,
        on_block: Callable[[Block], None] = lambda block: None,
    ) -> None:
        self.targets, self.pictures = targets, pictures
        self.latency_limit_ms, self.step_seconds, self.on_block = latency_limit_ms, step_seconds, on_block
        self.limits = OfferLimits.within(latency_limit_ms)
        self.calls = 0

    def measure(self, variant: Variant, rps: float, turn: int) -> Block:
        """Offer a rate to a model, with the pictures whose turn it is."""
        seconds = max(self.step_seconds, 3 / rps)
        first = turn * TURN % len(self.pictures)
        turned = [*self.pictures[first:], *self.pictures[:first]][: math.ceil(seconds * rps)]
        offered = offer(
            self.targets[variant],
            [each.data for each in turned],
            name=f"{variant} at {rps:.1f}/s",
            rps=rps,
            seconds=seconds,
            latency_limit_ms=self.latency_limit_ms,
            most_failed=MOST_FAILED,
            limits=self.limits,
        )
        block = Block.of(variant, offered)
        self.calls += block.sent
        self.on_block(block)
        return block

    def labelled(self) -> tuple[list[Picture], dict[Variant, list[str]]]:
        """What both models say of every picture, asked in turn, a few pictures each; and the weights that answered.

        A model that answers a picture once answers it the same way every time: none is sent twice.
        """
        rps = self._gentle_rps()
        said: dict[Variant, list[Outcome]] = {"a": [], "b": []}
        for number, first in enumerate(range(0, len(self.pictures), STRETCH)):
            some = self.pictures[first : first + STRETCH]
            for variant in VARIANTS if number % 2 == 0 else VARIANTS[::-1]:
                said[variant] += self._asked(variant, some, rps)
        pictures = [
            Picture(each.file, each.label, _label(a), _label(b))
            for each, a, b in zip(self.pictures, said["a"], said["b"], strict=True)
        ]
        weights = {v: sorted({each.weights for each in said[v] if each.status == "succeeded"}) for v in VARIANTS}
        return pictures, weights

    def _asked(self, variant: Variant, pictures: Sequence[LabelledPicture], rps: float) -> list[Outcome]:
        phase = Phase(name="labelled pictures", kind="rate", rps=rps, seconds=len(pictures) / rps)
        result = run_phase(
            phase, self.targets[variant], [each.data for each in pictures], poll_seconds=0.1, lead_seconds=0.1
        )
        self.calls += len(result.samples)
        # One that could not leave in time was not asked.
        answers = {round(each.due * rps): each.outcome for each in result.samples}
        unasked = Outcome("failed", "not sent", "the sender was late")
        return [answers.get(number, unasked) for number in range(len(pictures))]

    def _gentle_rps(self) -> float:
        """A rate at which neither model's calls wait for each other. The first calls also warm both up."""
        took = []
        for picture in self.pictures[:FIRST_CALLS]:
            for variant in VARIANTS:
                began = time.perf_counter()
                self.targets[variant](picture.data)
                took.append(time.perf_counter() - began)
        self.calls += len(took)
        return gentle_rps(took, MOST_RPS)


def _label(outcome: Outcome) -> str | None:
    predictions = predictions_in(outcome.answer) if outcome.status == "succeeded" else ()
    return predictions[0][0] if predictions else None
