"""What a comparison comes to, in sentences."""

from __future__ import annotations

from musher.comparison.conclusion import conclude
from musher.comparison.differences import ACCURACY, CAPACITY, ERRORS, LATENCY, TAIL
from musher.record import ModelDifference

NAMES = {"a": "a (version 3)", "b": "b (version 4)"}


def ratio(name, value, better=None, smallest=1.1):
    return ModelDifference(
        name=name, is_ratio=True, a=1.0, b=value, difference=value, low=value * 0.9, high=value * 1.1,
        smallest=smallest, better=better,
    )  # fmt: skip


def points(name, value, better=None, smallest=0.03):
    return ModelDifference(
        name=name, is_ratio=False, a=0.9, b=0.9 + value, difference=value, low=value - 0.02, high=value + 0.02,
        smallest=smallest, better=better,
    )  # fmt: skip


def test_noise_is_called_noise_and_says_what_would_have_been_seen():
    found = [ratio(LATENCY, 1.01), ratio(CAPACITY, 0.99, smallest=1.253), points(ACCURACY, 0.005)]
    assert conclude(found, {}, NAMES) == (
        "Nothing tells a (version 3) and b (version 4) apart: what differs is noise. These samples would have shown, "
        "in four of five such comparisons, a difference of 10% in typical latency, 25% in capacity and 3 points in "
        "accuracy."
    )


def test_each_is_said_to_be_better_at_what_it_is():
    found = [
        ratio(LATENCY, 0.8, "b"),
        ratio(TAIL, 1.0),
        ratio(CAPACITY, 1.25, "b"),
        points(ERRORS, 0.03, "a"),
        points(ACCURACY, -0.05, "a"),
    ]
    assert conclude(found, {}, NAMES) == (
        "Model a (version 3) fails 3 points (1 to 5) less often and is 5 points (3 to 7) more accurate than "
        "b (version 4). Model b (version 4) is typically 20% (12% to 28%) faster and takes 25% (12% to 38%) more load "
        "(20% less cost for each prediction) than a (version 3). In p99 latency the difference is noise. These samples "
        "would have shown, in four of five such comparisons, a difference of 10% in p99 latency."
    )


def test_a_is_better_by_a_share_of_what_b_has():
    found = [ratio(LATENCY, 2.0, "a"), ratio(CAPACITY, 0.5, "a")]
    said = conclude(found, {}, NAMES)
    assert "is typically 50% (44% to 55%) faster" in said
    assert "takes 100% (82% to 122%) more load (50% less cost for each prediction)" in said


def test_a_model_that_takes_no_load_is_the_first_thing_that_is_said():
    missing = ModelDifference(
        name=CAPACITY, is_ratio=True, missing="0 rounds in which both were measured, 4 are needed"
    )
    assert conclude([missing, points(ACCURACY, 0.0)], {"b": "3 of 3 requests failed"}, NAMES) == (
        "Model b (version 4) takes no load within the latency limit: 3 of 3 requests failed. In accuracy the "
        "difference is noise. These samples would have shown, in four of five such comparisons, a difference of "
        "3 points in accuracy. Nothing is known of capacity: 0 rounds in which both were measured, 4 are needed."
    )
