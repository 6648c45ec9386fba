"""In which order two models are put under load, and what comes out of it."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import pytest
from musher.comparison import climb
from musher.comparison.blocks import Block

CAPACITY = {"a": 50.0, "b": 23.0}


class Models:
    """Two models that take every rate up to their capacity; `hiccups` and `late` count blocks that go wrong first."""

    def __init__(self, capacity=CAPACITY, hiccups=0, late=0):
        self.capacity, self.hiccups, self.late = capacity, hiccups, late
        self.asked = []
        self.tries = defaultdict(int)

    def measure(self, variant, rps, turn):
        self.asked.append((variant, rps, turn))
        self.tries[variant, rps, turn] += 1
        nth = self.tries[variant, rps, turn]
        offered = nth > self.late
        taken = offered and nth > self.late + self.hiccups and rps <= self.capacity[variant] * 1.000001
        return Block(variant, rps, 10, 0, (1.0,) * 10, None if taken else "too slow", offered)


def rounds(models, count=4, time_left=lambda: True):
    return climb.rounds(models.measure, models.capacity, count, time_left=time_left)


def test_the_first_search_is_right_to_a_factor_of_two():
    capacity, refused = climb.coarse_capacity(Models().measure)
    assert capacity == {"a": 32.0, "b": 16.0}
    assert refused == {}


def test_a_model_that_takes_next_to_nothing_is_looked_for_below_the_first_rate():
    capacity, refused = climb.coarse_capacity(Models({"a": 0.7, "b": 0.1}).measure)
    assert capacity == {"a": 0.5}
    assert refused == {"b": "too slow"}


@pytest.mark.parametrize("capacity", [{"a": 50.0, "b": 23.0}, {"a": 9.0, "b": 9.1}, {"a": 3.0, "b": 300.0}])
def test_each_round_knows_the_capacity_to_the_grid(capacity):
    for each in rounds(Models(capacity)):
        for variant, found in each.capacity.items():
            assert capacity[variant] * math.exp(-climb.GRID) * 0.999 <= found <= capacity[variant] * 1.000001


def test_pairs_are_the_rates_that_both_take():
    for each in rounds(Models()):
        assert [pair.a.rps for pair in each.pairs] == [pair.b.rps for pair in each.pairs]
        assert max(pair.a.rps for pair in each.pairs) == pytest.approx(23.0)
        assert len(each.pairs) == 5  # a quarter of 23, and its square roots of two


def test_both_get_each_rate_one_right_after_the_other_with_the_same_pictures_and_are_first_in_turn():
    models = Models()
    rounds(models)
    firsts = []
    for (one, rps, turn), (other, then, again) in itertools.pairwise(models.asked):
        if rps == then and one != other:
            assert turn == again
            firsts.append(one)
    assert abs(firsts.count("a") - firsts.count("b")) <= 2
    assert len({turn for _, rps, turn in models.asked if rps <= 23.1}) >= 4 * 5


def test_a_model_that_no_longer_takes_a_rate_is_not_offered_a_higher_one():
    models = Models()
    rounds(models, 1)
    highest = {variant: max(rps for who, rps, _ in models.asked if who == variant) for variant in "ab"}
    assert highest["b"] < 23.1 * climb.STEP < highest["a"] < 50.1 * climb.STEP


def test_one_hiccup_is_no_limit_and_a_sender_that_is_late_none_either():
    assert rounds(Models(hiccups=1))[0].capacity == rounds(Models())[0].capacity
    assert rounds(Models(late=2))[0].capacity == rounds(Models())[0].capacity


def test_a_sender_that_is_always_late_leaves_the_capacity_unknown():
    (found,) = rounds(Models(late=99), 1)
    assert found.capacity == {}
    assert found.pairs == []


def test_a_model_that_is_weaker_than_it_was_takes_less_than_the_first_rate():
    models = Models({"a": 1.0, "b": 40.0})
    first = climb.FIRST_SHARE * 40
    found = climb.rounds(models.measure, {"a": 40.0, "b": 40.0}, 1, time_left=lambda: True)[0]
    assert found.capacity["a"] == pytest.approx(first / climb.STEP)


def test_no_round_begins_when_the_time_is_up():
    left = iter([True, True, False])
    assert len(rounds(Models(), 8, lambda: next(left))) == 2
