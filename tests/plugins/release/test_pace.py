"""A candidate's latency beside that of what serves, with a clock that only goes when somebody answers."""

from __future__ import annotations

import random

import pytest
from musher.load.outcome import Outcome
from musher.load.pictures import LabelledPicture
from musher.release import pace

PICTURES = [LabelledPicture(f"a/{number}.jpg", "a", bytes([number])) for number in range(5)]


class Clock:
    """Seconds; and two fleets that take some, the second one `ratio` times as many as the first."""

    def __init__(self, ratio: float, *, fails: bool = False) -> None:
        self.now, self.ratio, self.fails, self.asked = 0.0, ratio, fails, []
        self.chance = random.Random(f"{ratio}")

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def fleet(self, name: str, factor: float = 1.0):
        def ask(payload: bytes) -> Outcome:
            self.asked.append((name, payload))
            self.now += factor * self.chance.lognormvariate(-3, 0.4)
            return Outcome("failed" if self.fails and name == "old" else "succeeded")

        return ask

    def compare(self, allowed: float = 0.25):
        old, new = self.fleet("old"), self.fleet("new", self.ratio)
        return pace.compare(old, new, PICTURES, allowed=allowed, clock=self, pause=self.pause)


@pytest.mark.parametrize(("ratio", "outcome"), [(0.5, "pass"), (1.0, "pass"), (1.1, "pass"), (2.0, "fail")])
def test_twice_as_slow_is_found_and_noise_is_not(ratio, outcome):
    found = Clock(ratio).compare()

    assert (found.outcome, found.samples) == (outcome, (pace.REQUESTS, pace.REQUESTS))
    assert found.low < found.difference < found.high


def test_what_is_allowed_decides():
    assert Clock(2.0).compare(allowed=1.5).outcome == "pass"


def test_both_are_asked_in_turn_about_the_same_pictures_and_neither_is_always_first():
    clock = Clock(1.0)
    clock.compare()

    pairs = [clock.asked[at : at + 2] for at in range(0, len(clock.asked), 2)]
    assert all({name for name, _ in pair} == {"old", "new"} for pair in pairs)
    assert all(first == second for (_, first), (_, second) in pairs)
    assert {pair[0][0] for pair in pairs} == {"old", "new"}


def test_what_serves_is_left_alone_for_three_quarters_of_the_time():
    clock = Clock(1.0)
    clock.compare()

    busy = clock.now / 4  # of four equal parts: each fleet's answers, and a pause as long after each
    old = random.Random("1.0")
    taken = sum(old.lognormvariate(-3, 0.4) for _ in range(pace.REQUESTS * 2)) / 2
    assert taken == pytest.approx(busy, rel=0.25)


def test_an_endpoint_that_does_not_answer_says_nothing_of_the_other():
    found = Clock(3.0, fails=True).compare()

    assert found.outcome == "inconclusive"
    assert "0 of the old one" in found.why
