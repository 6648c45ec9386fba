"""How much of a rehearsal a model needs, and what it is told in; no AWS is asked."""

from __future__ import annotations

import pytest
from musher import record
from musher.config import DeploymentConfig
from musher.config.deployment import DeploymentConfig as Settings
from musher.release import approval, rehearsal
from musher.release.rehearsal import Account, rehearse

ARCHIVE = {"code": "0011223344556677", "backbone": "efficientnet_lite0", "head": "linear", "image_size": "224"}
CAPACITY = record.Capacity(max_rps_per_instance=40, p50_ms=20, p99_ms=90)


def facts(archive: dict[str, str] = ARCHIVE, image: str = "image:1", function: str = "f", **chosen):
    return rehearsal.facts(DeploymentConfig(**chosen), image=image, archive=archive, function=function)


def passed(**changes) -> record.PassedRehearsal:
    return record.PassedRehearsal(
        facts=facts(**changes), run="run-1", package_arn="package/1", passed_at="2026-11-25T17:00:00+00:00",
        capacity=CAPACITY,
    )  # fmt: skip


def decided(wanted: str = "when_changed", **given) -> record.Rehearsal:
    told = {"first": False, "facts": facts(), "unknown": [], "no_room": None, "before": None, "newest": None}
    return rehearse(wanted, **told | given)


@pytest.mark.parametrize(
    "change",
    [
        {"image": "image:2"},
        {"function": "g"},
        *({"archive": ARCHIVE | {name: "other"}} for name in ARCHIVE),
        {"instance_type": "ml.c5.large"},
        {"function_memory_mb": 512},
        {"provisioned_concurrency": 3},
        {"bursts": 6},
        {"latency_limit_ms": 400},
        {"scale_out_load": 0.7},
        {"max_instances": 4},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_capacity_scaling_and_load_depend_on_makes_another_rehearsal(change):
    first, other = facts(), facts(**change)
    assert rehearsal.key(first, concurrency=True) != rehearsal.key(other, concurrency=True)
    assert len(rehearsal.differences(first, other)) == 1


@pytest.mark.parametrize("change", [{"bake_seconds": 1200}, {"max_cost_usd": 1}, {"rehearsal": "always"}])
def test_what_they_do_not_depend_on_makes_none(change):
    assert facts(**change) == facts()


def test_every_choice_about_endpoint_function_and_load_is_a_fact():
    groups = {name: field.json_schema_extra["section"] for name, field in Settings.model_fields.items()}
    wanted = {name for name, group in groups.items() if group in ("Endpoint", "Function", "Load test")}
    # An address is another door to the same alias: what goes through that is not asked of it.
    assert wanted - {"model_package_arn", "function_url"} == set(rehearsal.CHOSEN)


def test_a_model_of_others_is_rehearsed_in_full_and_not_remembered():
    of_others = {"backbone": "resnet18"}
    assert facts(archive=of_others) == {}
    found = decided(facts={}, unknown=rehearsal.missing(of_others), newest=passed())
    assert (found.extent, found.facts) == ("full", {})
    assert found.why == "Rehearsed in full: the model's registration does not say its code, head and image_size."


def test_an_equal_one_that_passed_spares_capacity_scaling_and_load_and_is_named():
    found = decided(before=passed(), newest=passed())
    assert (found.stack, found.extent, found.before) == ("rehearsal", "short", passed())
    assert found.why.startswith("Smoke test, parity and latency only: ")
    assert found.why.endswith("that of package/1, which passed on 2026-11-25T17:00:00+00:00 (run run-1).")


def test_the_first_difference_from_the_newest_is_why_all_is_measured():
    found = decided(newest=passed(instance_type="ml.c5.large", bursts=7))
    assert (found.extent, found.before) == ("full", None)
    assert "unlike the newest rehearsal that passed, that of package/1" in found.why
    assert found.why.endswith(": instance_type is ml.m5.large and was ml.c5.large; bursts is 5 and was 7.")
    assert decided().why == "Rehearsed in full: no rehearsal has passed yet."


def test_a_person_may_ask_for_all_or_nothing():
    assert decided("always", before=passed(), newest=passed()).why == "Rehearsed in full: rehearsal is always."
    assert decided("never", before=passed()).extent == "none"


@pytest.mark.parametrize("wanted", ["when_changed", "always", "never"])
def test_a_first_deployment_is_tried_out_where_it_will_serve_whatever_the_quota(wanted):
    found = decided(wanted, first=True, no_room="There is no room.")
    assert (found.stack, found.extent, found.concurrency) == ("production", "full", True)
    assert found.why.startswith("Nothing serves yet, so the model is tried out where it will serve. Rehearsed in full")


@pytest.mark.parametrize(
    ("limit", "unreserved", "reserve", "told"),
    [
        (1000, 1000, 900, None),
        (1000, 550, 450, None),  # what serves has 450: exactly half of the quota less 100
        (1000, 549, 451, "would leave 98 of the account's 1000 unreserved, and AWS keeps 100."),
        (10, 10, 1, "would leave 9 of the account's 10 unreserved, and AWS keeps 10."),
        (1000, 100, 0, None),
    ],
)
def test_a_second_reserve_has_to_leave_what_aws_keeps(limit, unreserved, reserve, told):
    found = Account(limit, unreserved).no_room_for(reserve)
    assert found is None if told is None else found.endswith(told)


def test_without_room_calls_at_once_are_not_tried_and_that_is_said():
    found = decided(no_room="Calls at once are not tried: no room.")
    assert (found.extent, found.concurrency) == ("full", False)
    assert found.why == "Rehearsed in full: no rehearsal has passed yet. Calls at once are not tried: no room."
    assert rehearsal.key(facts(), concurrency=False) != rehearsal.key(facts(), concurrency=True)


def told(load: dict | None = None, **changes) -> record.Parity:
    values = {
        "stack": "rehearsal", "function": "f", "alias": "live", "pictures": 10, "accuracy": 0.9,
        "comparison": {"compared": 105, "agreed": 104, "near_ties": 1, "largest_difference": 0.03, "tolerance": 0.1},
        "load": {"name": "parity", "offered_rps": 5.0, "p99_ms": 80.0, **(load or {})},
        "latency_limit_ms": 100, "passed": True,
    }  # fmt: skip
    return record.Parity(**values | changes)


def test_a_full_rehearsal_adds_one_line_to_the_verdict():
    (line,) = rehearsal.checks(told(), decided())
    assert (line.passed, line.measured) == (True, "105 of 105 answers agree, largest difference 0.03")
    assert line.required == "every answer within 0.1 of the evaluation's"


def test_a_short_one_has_its_whole_verdict_from_parity():
    same, latency = rehearsal.checks(told(), decided(before=passed()))
    assert (same.passed, latency.passed) == (True, True)
    assert latency.measured == "80 ms at 5 requests a second"


@pytest.mark.parametrize(
    ("load", "reasons", "measured"),
    [
        ({"p99_ms": 130.0}, ["99 of 100 calls took up to 130 ms, and latency_limit_ms allows 100"], "130 ms"),
        ({"invalid_because": "too busy"}, ["too busy"], "not measured: too busy"),
        ({"p99_ms": None}, [], "no call succeeded"),
    ],
)
def test_latency_is_a_line_of_its_own(load, reasons, measured):
    same, latency = rehearsal.checks(told(load, reasons=reasons, passed=False), decided(before=passed()))
    assert (same.passed, latency.passed) == (True, False)
    assert latency.measured.startswith(measured)


def test_other_answers_say_why():
    (line,) = rehearsal.checks(told(passed=False, reasons=["3 of 105 answers are no predictions"]), decided())
    assert not line.passed
    assert line.measured.endswith("; 3 of 105 answers are no predictions")


PACE = {"name": "latency", "why": "it takes 2.00 times as long"}


@pytest.mark.parametrize(("outcome", "lines"), [("pass", [True]), ("fail", [False]), ("inconclusive", [])])
@pytest.mark.parametrize("extent", ["full", "short"])
def test_the_latency_of_what_serves_is_a_line_where_it_could_be_told(extent, outcome, lines):
    pace = record.JudgeCheck(**PACE, outcome=outcome)
    reasons = [pace.why] if outcome == "fail" else []
    planned = decided() if extent == "full" else decided(before=passed())
    found = rehearsal.checks(told(pace=pace, reasons=reasons, passed=not reasons), planned)

    assert [each.passed for each in found if each.name == rehearsal.PACE] == lines
    assert all(each.passed for each in found if each.name != rehearsal.PACE)


def test_who_approves_reads_what_a_model_without_predictions_was_held_against():
    serving = approval.Serving("package/1", None)
    alone = told(
        comparison={"tolerance": 0.1, "not_compared": "the model has no predictions of its evaluation"},
        pace={**PACE, "outcome": "inconclusive"},
    )
    run = record.RunRecord(run="r", rehearsal=decided(before=passed()), parity=alone)
    body = approval.body(run, "package/2", serving, verdict=None, month_usd=None)
    assert "since the model has no predictions of its evaluation. Its registration says no accuracy to hold" in body
    assert "**Latency beside what serves**: not compared, it takes 2.00 times as long" in body

    known = record.AccuracyCheck(right=9, pictures=10, registered=0.9, p_value=0.5, less=False, why="90% is told right")
    run = run.replace(parity=alone.replace(registered=known, pace=record.JudgeCheck(**PACE, outcome="pass")))
    body = approval.body(run, "package/2", serving, verdict=None, month_usd=None)
    assert "since the model has no predictions of its evaluation. 90% is told right." in body
    assert "**Latency beside what serves**: it takes 2.00 times as long" in body


def test_who_approves_reads_why_there_was_no_load_test():
    run = record.RunRecord(run="r", rehearsal=decided(before=passed()), parity=told())
    body = approval.body(run, "package/2", approval.Serving("package/1", None), verdict=None, month_usd=None)

    assert "**Load test**: none in this run. Smoke test, parity and latency only: " in body
    assert "**Parity**: the function answers as the evaluation did (105 of 105 answers)" in body
    # BUT without a rehearsal nothing was found
    run = run.replace(rehearsal=decided("never"), parity=None)
    body = approval.body(run, "package/2", approval.Serving("package/1", None), verdict=None, month_usd=None)
    assert "rehearsal is never" in body
    assert "Parity" not in body
