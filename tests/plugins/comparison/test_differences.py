"""When two models are said to differ: on simulated instances with recorded service times, and on sums by hand."""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path

import pytest
from musher.comparison import differences as about
from musher.comparison.blocks import Block, Pair, Picture, Round
from musher.comparison.differences import Sureness, agreement, cost, differences

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
from comparison_power import claims, comparison

SURE = Sureness()


def block(variant, milliseconds, *, rps=10.0, failed=0, sent=100):
    return Block(variant, rps, sent, failed, (milliseconds,) * (sent - failed))


def pair(a, b, **more):
    return Pair(block("a", a), block("b", b, **more))


def climbed(ratio, rounds=8, pairs=4, spread=0.01):
    """Rounds in which b takes `ratio` times as long as a and takes as much less load, give or take `spread`."""
    found = []
    for number in range(rounds):
        off = 1 + spread * (-1) ** number
        made = Round({"a": 40.0, "b": 40.0 / ratio * off})
        made.pairs = [pair(20.0, 20.0 * ratio * off) for _ in range(pairs)]
        found.append(made)
    return found


def pictures(both=180, only_a=0, only_b=0, neither=0):
    told = [("x", "x")] * both + [("x", "y")] * only_a + [("y", "x")] * only_b + [("y", "y")] * neither
    return [Picture(str(number), "x", a, b) for number, (a, b) in enumerate(told)]


def named(found, name):
    return next(each for each in found if each.name == name)


# --- on simulated instances


@pytest.mark.slow
def test_a_model_differs_from_itself_by_noise():
    counted = claims(100, count=4)
    assert sum(counted["any"]) <= 5
    apart = claims(40, count=4, apart=0.02)  # two instances of one type
    assert sum(apart["any"]) <= 2


@pytest.mark.slow
def test_a_difference_that_is_there_is_found():
    assert claims(20, count=6, slower=0.5)["typical latency"][0] >= 19
    assert claims(20, count=4, errors=0.02)["errors"][0] >= 19
    assert claims(20, count=4, less_accurate=0.15)["accuracy"][0] >= 19


@pytest.mark.slow
def test_the_smallest_difference_that_could_be_shown_is_shown_in_about_four_of_five():
    chance = random.Random(3)
    smallest = [named(comparison(chance, count=4), about.LATENCY).smallest for _ in range(25)]
    typical = sorted(smallest)[len(smallest) // 2] - 1
    assert 0.6 <= claims(40, count=4, slower=typical)["typical latency"][0] / 40 <= 0.97


# --- by hand


def test_a_latency_that_is_surely_more_than_the_margin_is_a_difference():
    found = named(differences(climbed(1.2), pictures(), SURE), about.LATENCY)
    assert found.difference == pytest.approx(1.2, rel=0.01)
    assert 1.05 < found.low < found.difference < found.high
    assert found.better == "a"
    assert found.p_value < SURE.doubt
    assert found.a == pytest.approx(20.0)
    assert found.samples == "32 pairs"


def test_a_latency_within_what_instances_differ_by_is_noise_however_sure():
    found = named(differences(climbed(1.04, rounds=50), pictures(), SURE), about.LATENCY)
    assert found.low > 1  # certain
    assert found.better is None
    assert 1.05 < found.smallest < 1.07


def test_which_of_the_two_is_better():
    slower, faster = differences(climbed(1.5), pictures(), SURE), differences(climbed(1 / 1.5), pictures(), SURE)
    assert [named(slower, name).better for name in (about.LATENCY, about.TAIL, about.CAPACITY)] == ["a"] * 3
    assert [named(faster, name).better for name in (about.LATENCY, about.TAIL, about.CAPACITY)] == ["b"] * 3
    assert named(faster, about.CAPACITY).difference == pytest.approx(1.5, rel=0.01)


def test_capacity_is_known_no_better_than_its_grid():
    found = named(differences(climbed(1.0, spread=0.0), pictures(), SURE), about.CAPACITY)
    assert found.difference == 1.0
    assert found.low < 0.96
    assert found.high > 1.04


def test_the_cost_is_the_capacity_turned_over():
    capacity = named(differences(climbed(0.8), pictures(), SURE), about.CAPACITY)
    found = cost(capacity, lambda rps: 1 / rps)
    assert found.a == pytest.approx(1 / 40)
    assert found.difference == pytest.approx(1 / capacity.difference)
    assert found.low < found.difference < found.high
    assert found.low == pytest.approx(1 / capacity.high)
    assert found.better == capacity.better == "b"


def test_accuracy_rests_on_the_pictures_that_only_one_tells_right():
    found = named(differences([], pictures(both=188, only_a=12), SURE), about.ACCURACY)
    assert found.difference == pytest.approx(-0.06)
    assert found.p_value == pytest.approx(2 * 0.5**12)
    # Bonett and Price: (13 - 1) / 202, give or take z sqrt((13 + 1) / 202 - (12 / 202)^2) / sqrt(202)
    reach = 2.5758 * math.sqrt((14 / 202 - (12 / 202) ** 2) / 202)
    assert (found.low, found.high) == (pytest.approx(-12 / 202 - reach, 1e-3), pytest.approx(-12 / 202 + reach, 1e-3))
    assert found.better == "a"
    assert named(differences([], pictures(both=188, only_a=7, only_b=5), SURE), about.ACCURACY).better is None


def test_two_models_that_agree_on_every_picture_may_differ_on_others():
    found = named(differences([], pictures(both=200), SURE), about.ACCURACY)
    assert found.difference == 0
    assert found.low < 0 < found.high
    assert found.smallest > 0.01


def test_errors_have_newcombes_interval():
    # The paper's first example: 56 of 70 and 48 of 80, at 95 %.
    low, high = about._newcombe((48, 80), (56, 70), 0.05)
    assert (low, high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))


def test_errors_are_those_of_the_load_and_of_the_pictures():
    rounds = climbed(1.0)
    for each in rounds:
        each.pairs = [pair(20.0, 20.0, failed=2)]
    asked = [*pictures(both=90), *(Picture(f"f{number}", "x", "x", None) for number in range(10))]
    found = named(differences(rounds, asked, SURE), about.ERRORS)
    assert (found.a, found.b) == (0.0, pytest.approx((8 * 2 + 10) / 900))
    assert found.better == "a"
    assert found.samples == "900 and 900 requests"


def test_the_smallest_share_of_errors_is_found_in_four_of_five():
    from scipy.stats import binom, fisher_exact  # above, each process that collects this would take a second for it

    share = about._smallest_of_errors(0, 2000, SURE.doubt)
    enough = next(n for n in range(100) if fisher_exact([[0, 2000], [n, 2000 - n]]).pvalue < SURE.doubt)
    assert binom.sf(enough - 1, 2000, share) == pytest.approx(0.8)


def test_too_few_samples_are_no_answer():
    found = differences(climbed(2.0, rounds=3, pairs=1), pictures(both=20), SURE)
    assert {each.name: each.missing for each in found if each.missing} == {
        about.LATENCY: "3 pairs of blocks, 6 are needed",
        about.TAIL: "3 pairs of blocks, 6 are needed",
        about.CAPACITY: "3 rounds in which both were measured, 4 are needed",
        about.ACCURACY: "20 pictures were answered by both, 30 are needed",
    }
    assert all(each.better is None for each in found)
    assert cost(named(found, about.CAPACITY), lambda rps: 1).missing


def test_a_round_in_which_the_sender_was_late_says_nothing_of_capacity():
    rounds = climbed(1.5)
    rounds[0].capacity = {"a": 40.0}
    assert named(differences(rounds, pictures(), SURE), about.CAPACITY).samples == "7 rounds"


def test_more_confidence_makes_wider_intervals():
    wide, narrow = (
        named(differences(climbed(1.2), pictures(), Sureness(confidence=each)), about.LATENCY) for each in (0.99, 0.8)
    )
    assert wide.low < narrow.low < narrow.high < wide.high
    assert wide.smallest > narrow.smallest


def test_agreement_is_a_share_with_its_interval():
    found = agreement(pictures(both=90, only_a=10), SURE)
    assert (found.share, found.pictures) == (0.9, 100)
    assert found.low < 0.9 < found.high < 1
    assert agreement([Picture("f", "x", None, "x")], SURE) is None
