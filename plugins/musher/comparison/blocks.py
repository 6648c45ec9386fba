"""What a comparison is made of: blocks of requests to one of the two models, and answers to labelled pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from musher.load.capacity import Offer

Variant = Literal["a", "b"]
VARIANTS: tuple[Variant, Variant] = ("a", "b")


@dataclass(frozen=True, slots=True)
class Block:
    """One rate, offered to one model for some seconds.

    `latencies_ms` of the requests that succeeded, from when each was due; `sent` and `failed` count requests. `why` the
    rate was not taken, None where it was; `offered` False where the sender was late, which says nothing of the model.
    """

    variant: Variant
    rps: float
    sent: int
    failed: int
    latencies_ms: tuple[float, ...]
    why: str | None = None
    offered: bool = True

    @property
    def taken(self) -> bool:
        return self.why is None

    @classmethod
    def of(cls, variant: Variant, offer: Offer) -> Block:
        """The block that an offered load came to."""
        took = [each for each in offer.samples if each.outcome.status == "succeeded"]
        return cls(
            variant,
            offer.step["offered_rps"],
            len(offer.samples),
            len(offer.samples) - len(took),
            tuple((each.done - each.due) * 1000 for each in took),
            offer.step["why"],
            offer.offered,
        )


@dataclass(frozen=True, slots=True)
class Pair:
    """The same rate offered to both models, one right after the other, and taken by both."""

    a: Block
    b: Block


@dataclass
class Round:
    """One climb of both models from a low rate to the highest that each takes.

    `capacity` in requests a second; a model is missing where the sender was late too often to know. `pairs` are the
    rates that both took, `blocks` all that was measured at the climb's rates, and `between` at rates between them.
    """

    capacity: dict[Variant, float] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    between: list[Block] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Picture:
    """A labelled picture, and what each model said of it; None where it did not answer."""

    file: str
    label: str
    a: str | None
    b: str | None


# Offers a rate to a model: requests a second, and which turn this is, so that both models of a pair get the same
# pictures and the next pair others.
Measure = Callable[[Variant, float, int], Block]
