"""A model without predictions of its evaluation, held against the accuracy that it was registered with."""

from __future__ import annotations

import pytest
from musher import record
from musher.release import registered
from musher.release.parity import Answer


def answers(right: int, pictures: int) -> list[Answer]:
    """So many pictures, each asked about twice."""
    said = [(f"a/{number}.jpg", "a" if number < right else "b") for number in range(pictures)]
    return [Answer(file, 100, "a", ((label, 0.9),)) for file, label in [*said, *said]]


@pytest.mark.parametrize(
    ("right", "pictures", "accuracy", "images", "less"),
    [
        (34, 35, 0.97, 120, False),
        (1, 35, 0.97, 120, True),  # shuffled labels
        (25, 35, 0.97, 120, True),
        (30, 35, 0.97, 120, False),  # chance may do that
        (34, 35, 1.0, None, False),
        (1, 35, 0.97, None, True),
        (0, 3, 0.97, 120, True),
        (2, 3, 0.97, 120, False),
        (970, 1000, 0.985, 10_000, False),  # certain, and less than what is allowed
        (940, 1000, 0.985, 10_000, True),
    ],
)
def test_less_is_what_is_certain_and_more_than_allowed(right, pictures, accuracy, images, less):
    found = registered.compare(answers(right, pictures), registered.Accuracy(accuracy, images), allowed=0.02)

    assert (found.right, found.pictures, found.less) == (right, pictures, less)


def test_it_says_both_with_how_sure_they_are():
    found = registered.compare(answers(1, 35), registered.Accuracy(0.97, 120), allowed=0.02)

    # Wilson's intervals of 1 in 35 and of 116 in 120
    assert found.why == (
        "2.9% (0.5% to 14.5%, 35 pictures) of what is asked is told right, and the registration says "
        "97.0% (91.7% to 98.7%, 120 pictures)"
    )


def test_answers_without_predictions_are_wrong():
    nothing = Answer("a/1.jpg", 100, "a", ())
    found = registered.compare([nothing] * 9, registered.Accuracy(0.9), allowed=0.02)
    assert (found.right, found.pictures) == (0, 1)


def test_without_an_answer_there_is_nothing_to_compare():
    assert registered.compare([], registered.Accuracy(0.9), allowed=0.02) is None


@pytest.mark.parametrize(
    ("package", "evaluation", "expected"),
    [
        ({}, None, None),
        ({"CustomerMetadataProperties": {"test_accuracy": "0.91"}}, None, registered.Accuracy(0.91)),
        ({"CustomerMetadataProperties": {"test_accuracy": "good"}}, None, None),
        ({"CustomerMetadataProperties": {"test_accuracy": "91"}}, None, None),
        (
            {"CustomerMetadataProperties": {"test_accuracy": "0.91"}},
            record.Evaluation(accuracy=0.9, loss=0.1, images=200, classes=["a"]),
            registered.Accuracy(0.9, 200),
        ),
    ],
)
def test_the_evaluation_says_it_before_the_registration_does(package, evaluation, expected):
    assert registered.known(package, evaluation) == expected


@pytest.mark.parametrize(("right", "images"), [(0, 5), (5, 5), (47, 50), (1, 3), (900, 1000)])
def test_the_interval_of_an_accuracy_is_wilsons(right, images):
    from scipy.stats import binomtest  # above, each process that collects this would take a second for it

    theirs = binomtest(right, images).proportion_ci(0.95, method="wilson")
    assert registered.Accuracy(right / images, images).interval == pytest.approx((theirs.low, theirs.high))
