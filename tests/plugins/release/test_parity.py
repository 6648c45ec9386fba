"""Answers against what was judged: what counts as the same, what as a near tie, and what as another model."""

from __future__ import annotations

import pytest
from musher import record
from musher.load.outcome import Outcome
from musher.release.parity import TOLERANCE, Answer, accuracy, compare, predictions_in, told, why_not

CLASSES = ["a", "b", "c"]
LOAD = record.LoadPhase(name="parity", sent=100, succeeded=100, p99_ms=80.0)
WEIGHTS = "0123456789abcdef"


def judged(*pictures) -> record.Predictions:
    return record.Predictions(weights=WEIGHTS, classes=CLASSES, pictures=pictures)


def answer(file="a/1.jpg", size=100, **probabilities) -> Answer:
    label = file.split("/")[0]
    return Answer(file, size, label, tuple(sorted(probabilities.items(), key=lambda each: -each[1])))


def outcome(status="succeeded", **more) -> Outcome:
    return Outcome(status, **{"weights": WEIGHTS} | more)


def reasons(answers, known, outcomes=None, load=LOAD):
    return why_not(compare(answers, known), answers, outcomes or [outcome()] * len(answers), load, 100)


A_WITH_70 = ["a/1.jpg", 100, 0, 0, 0.7]


@pytest.mark.parametrize(
    ("before", "now", "counted"),
    [
        (0.70, {"a": 0.70, "b": 0.20, "c": 0.10}, "agreed"),
        (0.70, {"a": 0.61, "b": 0.30, "c": 0.09}, "agreed"),
        (0.70, {"a": 0.59, "b": 0.31, "c": 0.10}, "off"),  # the label is right, and the model is not so sure any more
        (0.70, {"a": 0.81, "b": 0.10, "c": 0.09}, "off"),
        (0.48, {"b": 0.49, "a": 0.47, "c": 0.04}, "near_ties"),
        (0.48, {"b": 0.54, "a": 0.43, "c": 0.03}, "off"),  # no near tie any more
        (0.90, {"b": 0.46, "a": 0.44, "c": 0.10}, "off"),  # a tie now, where there was none
        # Another class has the judged one's probability: as sure as before, and of something else.
        (0.97, {"b": 0.97, "a": 0.02, "c": 0.01}, "off"),
        (0.50, {"b": 0.50, "a": 0.25, "c": 0.25}, "off"),
        # The judged label is not among those that are named: it has at most what the last of them has.
        (0.70, {"b": 0.50, "c": 0.30}, "off"),
        (0.20, {"b": 0.22, "c": 0.18}, "near_ties"),
    ],
)
def test_what_counts_as_the_same(before, now, counted):
    found = compare([answer(**now)], judged(["a/1.jpg", 100, 0, 0, before]))

    assert found.compared == 1
    assert (found.agreed, found.near_ties) == (int(counted == "agreed"), int(counted == "near_ties"))
    assert len(found.differences) == (counted == "off")


def test_the_largest_difference_and_the_pictures_that_differ_most_are_told():
    known = judged(A_WITH_70, ["a/2.jpg", 100, 0, 0, 0.9], ["b/1.jpg", 100, 1, 0, 0.8])
    answers = [
        answer(a=0.70, b=0.3),
        answer("a/2.jpg", b=0.95, a=0.05),
        answer("a/2.jpg", b=0.90, a=0.10),  # a picture may be asked about again
        answer("b/1.jpg", a=0.6, b=0.4),
    ]

    found = compare(answers, known)

    assert (found.compared, found.agreed, found.near_ties) == (4, 1, 0)
    assert found.largest_difference == pytest.approx(0.85)
    assert [each.file for each in found.differences] == ["a/2.jpg", "b/1.jpg"]
    assert (found.differences[0].judged, found.differences[0].served) == ("a", "b")
    assert found.judged_accuracy == pytest.approx(3 / 4)
    assert accuracy(answers) == pytest.approx(1 / 4)
    (reason,) = reasons(answers, known)
    assert reason == (
        f"3 of 4 answers are further than {TOLERANCE:g} from the evaluation's: a/2.jpg was judged to be a with 0.900 "
        "and is b with 0.950 now"
    )


def test_a_picture_that_was_not_judged_or_was_replaced_since_is_left_out():
    known = judged(A_WITH_70, ["a/2.jpg", 100, 0, 0, 0.7])
    answers = [answer(a=0.7, b=0.3), answer("a/2.jpg", 101, b=0.9, a=0.1), answer("a/9.jpg", b=0.9, a=0.1)]

    assert compare(answers, known).compared == 1
    assert reasons(answers, known) == []
    assert compare(answers[1:], known).not_compared == "no answer is about a picture as the model was judged on it"


def test_a_model_without_predictions_is_not_compared_and_its_accuracy_is_told():
    answers = [answer(a=0.7, b=0.3), answer("b/1.jpg", a=0.6, b=0.4), answer("b/2.jpg")]

    found = compare(answers[:2], None)

    assert found.not_compared == "the model has no predictions of its evaluation"
    assert (found.compared, found.largest_difference) == (0, None)
    assert accuracy(answers) == 0.5
    assert accuracy([answers[2]]) is None
    assert reasons(answers[:2], None) == []


@pytest.mark.parametrize(
    ("outcomes", "sentence"),
    [
        ([outcome(weights="")] * 2, None),  # an older archive does not tell
        ([outcome(weights="ffff")] * 2, f"the weights ffff answer, and {WEIGHTS} were judged"),
        ([outcome(), outcome(weights="ffff")], f"answers came from different weights: {WEIGHTS}, ffff"),
        ([outcome(), outcome(weights="")], f"answers came from different weights: some that do not say, {WEIGHTS}"),
        (
            [outcome(), outcome("failed", kind="HTTP 502", message="gone", weights="")],
            "1 of 2 calls failed (HTTP 502: gone)",
        ),
        ([outcome("throttled", kind="Rate", message="slow down")] * 2, "2 of 2 calls were throttled (Rate: slow down)"),
    ],
)
def test_other_weights_and_calls_that_did_not_succeed_are_reasons(outcomes, sentence):
    found = reasons([answer(a=0.7, b=0.3)], judged(A_WITH_70), outcomes)

    assert found == ([sentence] if sentence else [])


def test_other_weights_are_no_reason_where_nothing_is_known_of_the_judged_ones():
    assert reasons([answer(a=0.7)], None, [outcome(weights="ffff")]) == []
    assert len(reasons([answer(a=0.7)], None, [outcome(weights="ffff"), outcome()])) == 1


def test_a_slow_function_and_answers_without_predictions_are_reasons():
    slow = LOAD.replace(p99_ms=101.0)

    found = reasons([answer(a=0.7), answer("a/2.jpg")], judged(A_WITH_70), load=slow)

    assert found == [
        "1 of 2 answers are no predictions",
        "99 of 100 calls took up to 101 ms, and latency_limit_ms allows 100",
    ]
    assert reasons([answer(a=0.7)], judged(A_WITH_70), load=LOAD.replace(p99_ms=100.0)) == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"predictions": [{"label": "b", "probability": 0.1}, {"label": "a", "probability": 0.9}]}, ("a", "b")),
        ({"predictions": []}, ()),
        ({"predictions": [{"label": "a"}]}, ()),
        ({"predictions": [{"label": "a", "probability": "much"}]}, ()),
        ({"predictions": [{"label": "a", "probability": 2}]}, ()),
        ({"predictions": [{"label": "a", "probability": float("nan")}]}, ()),
        ({"predictions": None}, ()),
        ([[0.1, 0.9]], ()),
        (None, ()),
    ],
)
def test_what_is_no_prediction_has_none(content, expected):
    assert tuple(label for label, _ in predictions_in(content)) == expected


def test_calls_that_did_not_succeed_tell_nothing():
    assert told([outcome(), outcome("failed", weights="ffff"), outcome()], "weights") == [WEIGHTS]
