"""The judge of a release, on latencies that were recorded from two endpoints with the same model."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest
from musher.release.judge import ACCURACY, AGREEMENT, ERRORS, LATENCY, Answer, Tolerances, judge

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
from judge_power import comparison, failures

RECORDED = json.loads(Path(__file__).with_name("latencies.json").read_text())


def answers(requests=200, pictures=60, **worse):
    return comparison(RECORDED, requests, pictures, random.Random(1), **worse)


def check(judgement, name):
    return next(each for each in judgement.checks if each.name == name)


@pytest.mark.slow
def test_of_two_hundred_comparisons_of_the_same_model_at_most_four_fail():
    assert failures(RECORDED, 200, 60) <= 4


@pytest.mark.slow
def test_of_two_hundred_models_with_a_difference_that_matters_nearly_all_fail():
    assert failures(RECORDED, 400, 60, slower=0.5) >= 195
    assert failures(RECORDED, 400, 60, errors=0.05) >= 195
    assert failures(RECORDED, 400, 200, less_accurate=0.2) >= 195


def test_a_fleet_that_is_as_good_passes_with_every_figure():
    found = judge(answers())
    assert found.outcome == "pass"
    assert [each.name for each in found.checks] == [ERRORS, LATENCY, ACCURACY, AGREEMENT]
    assert check(found, ERRORS).samples == (200, 200)
    latency = check(found, LATENCY)
    assert latency.low < latency.difference < latency.high
    assert latency.difference == pytest.approx(latency.new / latency.old, rel=0.3)
    assert 0.3 < latency.effect < 0.7
    assert check(found, AGREEMENT).low < check(found, AGREEMENT).new < check(found, AGREEMENT).high


def test_a_fleet_that_fails_on_every_picture_fails_at_the_first_look():
    found = judge(answers(requests=20, errors=1.0), final=False)
    assert found.outcome == "fail"
    assert check(found, ERRORS).why == "20 of 20 requests to the new fleet failed, 0 of 20 to the old one"
    assert check(found, LATENCY).outcome == "inconclusive"


def test_one_failure_in_twenty_is_found():
    # GIVEN exactly every twentieth answer of the new fleet failed
    given = [
        Answer(each.fleet, each.fleet == "old" or number % 20 != 0, each.latency_ms, each.picture, each.label, "right")
        for number, each in enumerate(answers(requests=400))
    ]
    assert check(judge(given), ERRORS).outcome == "fail"


def test_a_few_failures_that_may_be_chance_are_no_pass():
    given = [
        Answer(each.fleet, each.fleet == "old" or number % 40 != 0, each.latency_ms, each.picture, each.label, "right")
        for number, each in enumerate(answers(requests=200))
    ]
    errors = check(judge(given), ERRORS)
    assert errors.outcome == "inconclusive"
    assert errors.why.endswith(
        "5 of 200 requests to the new fleet failed, 0 of 200 to the old one, which may be chance or not"
    )


def test_twice_as_slow_fails_and_says_by_how_much():
    latency = check(judge(answers(slower=1.0)), LATENCY)
    assert latency.outcome == "fail"
    assert latency.difference == pytest.approx(2, rel=0.15)
    assert latency.low > 1.5
    assert "times as long as one to the old one" in latency.why


def test_what_is_slower_within_the_tolerance_passes():
    assert check(judge(answers(slower=0.05)), LATENCY).outcome == "pass"
    assert check(judge(answers(slower=0.5), Tolerances(slower=1.0)), LATENCY).outcome == "pass"


def test_another_order_of_the_classes_is_found_though_nothing_fails():
    labels = [f"class {number}" for number in range(4)]
    given = [
        Answer(fleet, True, 20.0 + number % 7, str(number), labels[number % 4], labels[(number + shift) % 4])
        for fleet, shift in (("old", 0), ("new", 1))
        for number in range(100)
    ]
    found = judge(given)
    assert {each.name: each.outcome for each in found.checks} == {
        ERRORS: "pass",
        LATENCY: "pass",
        ACCURACY: "fail",
        AGREEMENT: "fail",
    }
    assert check(found, ACCURACY).why == (
        "of 100 labelled pictures the new fleet tells 0.0% right, the old one 100.0% (100 lost, 0 won)"
    )


def test_a_picture_counts_once_however_often_it_was_sent():
    # GIVEN one picture in ten is told wrong by the new fleet, and each is sent fifty times
    given = [
        Answer(fleet, True, 10.0 + again % 5, str(picture), "a", "b" if fleet == "new" and picture == 0 else "a")
        for fleet in ("old", "new")
        for picture in range(40)
        for again in range(50)
    ]
    accuracy = check(judge(given), ACCURACY)
    assert accuracy.samples == (40, 40)
    assert accuracy.outcome == "pass"  # one picture of forty is no certainty


def test_too_few_samples_are_neither_pass_nor_failure():
    found = judge(answers(requests=99, pictures=29))
    assert found.outcome == "inconclusive"
    assert {each.outcome for each in found.checks} == {"inconclusive"}
    assert found.why == (
        "errors: 99 answers of the new fleet and 99 of the old one, 100 of each are needed; "
        "latency: 99 answers of the new fleet and 99 of the old one, 100 of each are needed; "
        "accuracy: 29 pictures were answered by both fleets, 30 are needed; "
        "agreement: 29 pictures were answered by both fleets, 30 are needed"
    )


def test_nothing_at_all_is_inconclusive():
    assert judge([]).outcome == "inconclusive"


def test_while_samples_come_in_nothing_passes_and_only_certainty_fails():
    assert judge(answers(), final=False).outcome == "inconclusive"
    # one in fifty fails: not beyond doubt after two hundred
    assert judge(answers(errors=0.02), final=False).outcome == "inconclusive"
    assert judge(answers(slower=1.0), final=False).outcome == "fail"


def test_a_new_fleet_that_fails_is_found_when_the_old_one_is_not_asked_any_more():
    given = [each for each in answers(errors=1.0) if each.fleet == "new"]
    assert judge(given).outcome == "fail"


def test_the_sentence_of_a_failure_leaves_out_what_passed():
    assert judge(answers(slower=1.0)).why.startswith("latency: ")
