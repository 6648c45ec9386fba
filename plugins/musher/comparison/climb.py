"""In which order two models are put under load.

Machines get slower and faster over minutes, instances as well. So neither model is measured first and the other one
afterwards: each rate is offered to one and right after that to the other, and whose turn is first changes with each
rate and each round. What befalls both is then in neither's figures; and since a round is a whole climb to the highest
rate, capacity is known as many times as there are rounds, which says how well it is known.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping

from musher.comparison.blocks import VARIANTS, Block, Measure, Pair, Round, Variant
from musher.load.capacity import LEAST_RPS, MOST_RPS

START_RPS = 2.0
STEP = math.sqrt(2)
# Of the way from the highest rate taken to the lowest that was not, halved so many times.
REFINEMENTS = 2
# A round begins at this share of what the weaker model takes.
FIRST_SHARE = 0.25
# A single hiccup is no limit, and a sender that is late now and then is none either.
TRIES, TRIES_TO_OFFER = 2, 4
# How exactly the highest rate of a round is known: as the logarithm of two neighbouring rates' ratio.
GRID = math.log(STEP) / 2**REFINEMENTS


def coarse_capacity(measure: Measure) -> tuple[dict[Variant, float], dict[Variant, str]]:
    """The highest rate of START_RPS, twice that, twice again that each model takes; and of a model that does not even
    take LEAST_RPS, why not."""
    turns = itertools.count()
    capacity: dict[Variant, float] = {}
    refused: dict[Variant, str] = {}
    for variant in VARIANTS:
        rps = START_RPS
        while (block := _tried(measure, variant, rps, next(turns))).why is not None and rps / 2 >= LEAST_RPS:
            rps /= 2
        if block.why is not None:
            refused[variant] = block.why
            continue
        while rps * 2 <= MOST_RPS and _tried(measure, variant, rps * 2, next(turns)).taken:
            rps *= 2
        capacity[variant] = rps
    return capacity, refused


def rounds(
    measure: Measure, capacity: Mapping[Variant, float], count: int, *, time_left: Callable[[], bool]
) -> list[Round]:
    """Climb `count` times with both models.

    Parameters: `capacity` of each, roughly; `time_left` False when no other round is to begin.
    """
    found: list[Round] = []
    while len(found) < count and time_left():
        found.append(_round(measure, FIRST_SHARE * min(capacity.values()), len(found)))
    return found


def _round(measure: Measure, first: float, number: int) -> Round:
    made, climbing = Round(), list(VARIANTS)
    # Whoever does not even take the first rate takes less than it: how much less is not looked for.
    highest: dict[Variant, float] = dict.fromkeys(VARIANTS, first / STEP)
    refused: dict[Variant, float] = {}
    turn = 1000 * number  # both models of a pair have the same, and so the same pictures
    for step in itertools.count():
        rps = first * STEP**step
        if rps > MOST_RPS or not climbing:
            break
        blocks = _both(measure, made.blocks, dict.fromkeys(climbing, rps), number + step, turn + step)
        for variant, block in blocks.items():
            if block.taken:
                highest[variant] = rps
            else:
                climbing.remove(variant)
                if block.offered:
                    refused[variant] = rps
                else:
                    del highest[variant]
        if len(blocks) == 2 and all(each.taken for each in blocks.values()):
            made.pairs.append(Pair(blocks["a"], blocks["b"]))
    for step in range(REFINEMENTS):
        between = {each: math.sqrt(highest[each] * refused[each]) for each in highest if each in refused}
        blocks = _both(measure, made.between, between, number + step, turn + 500 + step)
        for variant, block in blocks.items():
            if block.taken:
                highest[variant] = between[variant]
            elif block.offered:
                refused[variant] = between[variant]
    made.capacity = highest
    return made


def _both(
    measure: Measure, kept: list[Block], rates: dict[Variant, float], order: int, turn: int
) -> dict[Variant, Block]:
    """A block of each model that has a rate; which is first alternates."""
    first_last = sorted(rates, reverse=order % 2 == 1)
    return {variant: _tried(measure, variant, rates[variant], turn, kept) for variant in first_last}


def _tried(measure: Measure, variant: Variant, rps: float, turn: int, kept: list[Block] | None = None) -> Block:
    """The block of a rate that is taken, or the last one of those that were not."""
    refused = 0
    for _ in range(TRIES_TO_OFFER):
        block = measure(variant, rps, turn)
        if kept is not None:
            kept.append(block)
        refused += not block.taken and block.offered
        if block.taken or refused == TRIES:
            break
    return block
