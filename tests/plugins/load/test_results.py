from dataclasses import replace

import pytest
from musher.load import generator
from musher.load.histogram import percentiles_ms
from musher.load.outcome import Outcome, Sample
from musher.load.results import OfferLimits, PhaseResult, max_overlap
from musher.load.schedule import Phase


def result(samples, *, promised=None, limits=None):
    return PhaseResult(
        phase=Phase(name="x", kind="rate", rps=1, seconds=10),
        samples=samples,
        promised=len(samples) if promised is None else promised,
        seconds=10.0,
        started_at=1_800_000_000.0,
        condition_met=None,
        limits=limits or OfferLimits(),
    )


def sample(due=0.0, lag=0.001, latency=0.1, **outcome):
    return Sample(due, due + lag, due + latency, Outcome(**{"status": "succeeded"} | outcome))


@pytest.mark.parametrize(
    ("intervals", "most"),
    [
        ([], 0),
        ([(0, 1)], 1),
        ([(0, 1), (1, 2)], 1),
        ([(1, 2), (0, 1.001)], 2),
        ([(0, 10), (1, 2), (3, 4), (3.5, 5)], 3),
        ([(0, 1)] * 7, 7),
        ([(5, 5), (5, 5)], 0),
    ],
)
def test_overlap_counts_what_runs_at_one_moment(intervals, most):
    assert max_overlap(intervals) == most


def test_concurrency_is_what_the_function_says_not_what_the_caller_waited_for():
    # GIVEN two calls that were in flight together, but which one environment ran one after the other
    samples = [
        sample(0.0, latency=2, environment="a", started_at=100.0, duration_ms=500),
        sample(0.0, latency=2, environment="a", started_at=100.5, duration_ms=500),
    ]

    record = result(samples).record()

    assert record["max_concurrency"] == 1
    assert record["max_in_flight"] == 2
    assert record["environments"] == 1


def test_concurrency_is_unknown_where_no_function_reports_it():
    assert result([sample()]).record()["max_concurrency"] is None


def test_latency_counts_from_the_scheduled_time_and_leaves_refusals_out():
    samples = [sample(0, lag=0.040, latency=0.200), sample(1, latency=0.002, status="throttled", kind="limit")]

    record = result(samples).record()

    assert record["p99_ms"] == pytest.approx(200, rel=0.01)
    assert record["p50_ms"] == pytest.approx(200, rel=0.01)
    assert (record["sent"], record["succeeded"], record["throttled"], record["failed"]) == (2, 1, 1, 0)


def test_errors_are_grouped_with_an_example_each():
    samples = [sample(status="failed", kind="HTTP 502", message=f"no {i}") for i in range(3)]
    samples += [sample(), sample(status="throttled", kind="limit", message="slow down")]

    assert result(samples).record()["errors"] == [
        {"status": "failed", "kind": "HTTP 502", "count": 3, "example": "no 0"},
        {"status": "throttled", "kind": "limit", "count": 1, "example": "slow down"},
    ]


def test_a_load_that_did_not_leave_is_no_measurement():
    short = result([sample()] * 90, promised=100).record()
    late = result([sample(lag=0.2)] * 100).record()

    assert "90 of the 100 promised" in short["invalid_because"]
    assert "send lag p99 200" in late["invalid_because"]
    assert result([sample(lag=0.2)] * 100, limits=OfferLimits(send_lag_p99_ms=300)).record()["invalid_because"] is None


def test_bursts_that_overlap_are_no_measurement():
    # GIVEN bursts of two, of which the second left while a call of the first was unanswered
    phase = Phase(name="x", kind="bursts", size=2, count=2, interval_seconds=1)
    overlapping = [sample(0, latency=1.5), sample(0), sample(1), sample(1)]
    apart = [sample(0, latency=0.9), sample(0), sample(1), sample(1)]

    assert replace(result(overlapping), phase=phase).record()["invalid_because"] == (
        "3 calls were unanswered at once where bursts of 2 were promised: a burst left before the one before it had "
        "been answered"
    )
    assert replace(result(apart), phase=phase).record()["invalid_because"] is None


def test_nothing_measured_has_no_percentiles():
    assert percentiles_ms([], 50, 99) == [None, None]


def test_percentiles_keep_three_digits_from_microseconds_to_minutes():
    (p50, top) = percentiles_ms([0.0000123, 0.0000123, 300.0], 50, 100)

    assert p50 == pytest.approx(0.0123, rel=0.1)
    assert top == pytest.approx(300_000, rel=0.001)


@pytest.mark.parametrize(
    ("late", "until", "ran", "last_is_valid"),
    [
        ([True, False], None, 2, True),
        ([True, True, True, False], None, 3, False),
        ([False], None, 1, True),
        ([True, False], "scaled_out", 1, False),
    ],
)
def test_a_phase_whose_load_was_not_offered_is_run_again(monkeypatch, late, until, ran, last_is_valid):
    # GIVEN a machine on which the requests of some tries leave late
    waits = iter(late)
    phase = Phase(name="x", kind="rate", rps=1, seconds=10, until=until)

    def run_phase(phase, *_args, **_kwargs):
        return replace(result([sample(lag=0.2 if next(waits) else 0.001)] * 10), phase=phase)

    monkeypatch.setattr(generator, "run_phase", run_phase)

    results = generator.run_phases([phase], None, [b""], conditions={"scaled_out": bool}, tries=3)

    (measured,), repeated = generator.last_tries(results)
    assert len(results) == ran
    assert len(repeated) == ran - 1
    assert all("requests left late" in each.invalid_because for each in repeated)
    assert (measured.invalid_because is None) == last_is_valid
