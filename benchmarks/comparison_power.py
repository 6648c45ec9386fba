"""How often a comparison of two models claims a difference, between a model and itself and between different ones.

    .venv/bin/python benchmarks/comparison_power.py

The climbs are compare_models' own; the instances are simulated: one queue each, whose service times are drawn from
recorded latencies (tests/plugins/release/latencies.json), in blocks as they came, and become slower and faster by a
fifth over minutes, both instances' alike.
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
from musher.comparison.blocks import Block, Picture, Variant
from musher.comparison.climb import coarse_capacity, rounds
from musher.comparison.differences import Sureness, differences
from musher.record import ModelDifference

RECORDED = Path(__file__).resolve().parents[1] / "tests/plugins/release/latencies.json"
STRETCH = 10
COMPARISONS = 200
STEP_SECONDS = 5.0
LIMIT_MS = 500.0
DRIFT, DRIFT_SECONDS = 0.2, 300.0
ACCURACY, DISCORDANT = 0.94, 0.04


class Simulated:
    """Two instances, one after the other under load; `slower` and `errors` are of b's.

    `apart` is what they differ by although the model is the same, as two instances do.
    """

    def __init__(self, chance: random.Random, *, slower: float = 0.0, errors: float = 0.0, apart: float = 0.0) -> None:
        recorded = json.loads(RECORDED.read_text())
        self.times = np.array([*recorded["old"], *recorded["new"]])
        self.chance = np.random.default_rng(chance.randrange(2**32))
        self.phase = chance.random() * 2 * math.pi
        self.factor: dict[Variant, float] = {"a": 1.0, "b": (1 + slower) * (1 + apart)}
        self.errors: dict[Variant, float] = {"a": 0.0, "b": errors}
        self.seconds = 0.0

    def measure(self, variant: Variant, rps: float, _turn: int) -> Block:
        count = math.ceil(max(STEP_SECONDS, 3 / rps) * rps)
        drift = 1 + DRIFT * math.sin(self.phase + 2 * math.pi * self.seconds / DRIFT_SECONDS)
        firsts = self.chance.integers(0, len(self.times) - STRETCH, math.ceil(count / STRETCH))
        service = self.times[(firsts[:, None] + np.arange(STRETCH)).ravel()[:count]] * self.factor[variant] * drift
        due = np.arange(count) * 1000 / rps
        # Lindley: a request begins when it is due, or when all before it are done.
        ends = np.cumsum(service)
        done = ends + np.maximum.accumulate(due - ends + service)
        latencies = done - due
        failed = self.chance.random(count) < self.errors[variant]
        self.seconds += count / rps
        high = float(np.sort(latencies)[math.ceil(count * 0.99) - 1])
        why = f"p99 is {high:.0f} ms" if high > LIMIT_MS else None
        if failed.mean() > 0.05:
            why = f"{failed.sum()} of {count} requests failed"
        return Block(variant, rps, count, int(failed.sum()), tuple(latencies[~failed]), why)


def pictures(count: int, chance: random.Random, less_accurate: float = 0.0) -> list[Picture]:
    """What two models of equal accuracy say that differ on a few pictures, b less accurate by what is given."""
    found = []
    for number in range(count):
        lost = chance.random() < DISCORDANT / 2 + less_accurate
        won = not lost and chance.random() < DISCORDANT / 2
        neither = not lost and not won and chance.random() < 1 - ACCURACY - DISCORDANT / 2
        a, b = ("wrong" if bad else "right" for bad in (won or neither, lost or neither))
        found.append(Picture(str(number), "right", a, b))
    return found


def comparison(
    chance: random.Random, *, count: int = 8, labelled: int = 200, less_accurate: float = 0.0, **worse: float
) -> list[ModelDifference]:
    """One comparison of `count` rounds and `labelled` pictures, b worse by what is given."""
    simulated = Simulated(chance, **worse)
    capacity, _ = coarse_capacity(simulated.measure)
    climbed = rounds(simulated.measure, capacity, count, time_left=lambda: True) if len(capacity) == 2 else []
    return differences(climbed, pictures(labelled, chance, less_accurate), Sureness())


def claims(comparisons: int = COMPARISONS, **what: Any) -> dict[str, tuple[int, int]]:
    """Of so many comparisons, how many claim that a is better and that b is; by the name of the difference, and `any`
    of them."""
    chance = random.Random(str(what))
    counted: dict[str, list[int]] = {"any": [0, 0]}
    for _ in range(comparisons):
        found = comparison(chance, **what)
        for each in found:
            counted.setdefault(each.name, [0, 0])
            if each.better:
                counted[each.name]["ab".index(each.better)] += 1
        for index, better in enumerate("ab"):
            counted["any"][index] += any(each.better == better for each in found)
    return {name: (a, b) for name, (a, b) in counted.items()}


def one_by_one(comparisons: int = COMPARISONS) -> int:
    """Of comparisons of a model with itself, how many a test claims a difference of that takes each request for a
    sample."""
    from scipy.stats import mannwhitneyu

    chance, claimed = random.Random("one by one"), 0
    for _ in range(comparisons):
        simulated = Simulated(chance)
        sides: dict[str, list[float]] = {"a": [], "b": []}
        for turn in range(8):
            for variant in ("a", "b"):
                sides[variant] += simulated.measure(variant, 20.0, turn).latencies_ms
        claimed += mannwhitneyu(sides["a"], sides["b"]).pvalue < Sureness().doubt
    return claimed


def main() -> None:
    print(f"of {COMPARISONS} comparisons of 8 rounds and 200 pictures, how many claim a difference (for a, for b):")
    for name, what in (
        ("the same model", {}),
        ("the same, instances 2 % apart", {"apart": 0.02}),
        ("10 % slower", {"slower": 0.10}),
        ("20 % slower", {"slower": 0.20}),
        ("50 % slower", {"slower": 0.50}),
        ("1 % errors", {"errors": 0.01}),
        ("3 points less accurate", {"less_accurate": 0.03}),
        ("10 points less accurate", {"less_accurate": 0.10}),
    ):
        counted = claims(**what)
        print(f"{name:32}{'  '.join(f'{each} {a}, {b}' for each, (a, b) in counted.items())}")
    print("by rounds, 20 % slower: capacity")
    for count in (4, 6, 8, 12, 16):
        print(f"{count:>4} rounds  {claims(slower=0.20, count=count)}")
    print("by pictures, 3 points less accurate")
    for labelled in (100, 200, 500, 1000):
        print(f"{labelled:>5} pictures  {claims(less_accurate=0.03, labelled=labelled, count=4)['accuracy']}")
    print(f"the same model, each request taken for a sample: {one_by_one()} of {COMPARISONS}")


if __name__ == "__main__":
    main()
