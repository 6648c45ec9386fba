"""The whole load test as a task runs it: plan, generator, time line, verdict; the function is a real HTTP server."""

import time

import pytest
from musher.load import plan
from musher.load.generator import run_phases
from musher.load.results import OfferLimits
from musher.load.targets import LambdaTarget
from musher.load.timeline import Timeline
from musher.load.verdict import Limits, decide

CAPACITY = {"max_rps_per_instance": 30.0}


class Endpoint:
    """Instance counts that follow the load with a delay, as a describe call would show them."""

    def __init__(self) -> None:
        self.timeline: Timeline | None = None
        self.since: float | None = None

    def describe(self) -> dict[str, int]:
        loaded = self.timeline is not None and self.timeline.offered_rps > 10
        self.since = (self.since or time.monotonic()) if loaded else None
        instances = 2 if self.since and time.monotonic() > self.since + 1 else 1
        return {"desired": instances, "in_service": instances}


def load_test(server) -> dict:
    phases = plan.build(
        provisioned=2,
        reserved=4,
        capacity=CAPACITY,
        safety_factor=0.5,
        bursts=2,
        cold_start_seconds=0.5,
        scale_out_limit_seconds=60,
        scale_in_limit_seconds=60,
    )
    endpoint = Endpoint()
    endpoint.timeline = Timeline(endpoint.describe, interval_seconds=0.1)
    with endpoint.timeline as timeline:
        results = run_phases(
            phases,
            LambdaTarget("classifier", "live", server.client),
            [b"one", b"two"],
            conditions={
                plan.SCALED_OUT: timeline.in_service_at_least(2),
                plan.SCALED_IN: timeline.in_service_at_most(1),
            },
            limits=OfferLimits(send_lag_p99_ms=10_000),
            on_phase=lambda phase: setattr(timeline, "offered_rps", phase.rps),
        )
    met = {result.phase.name: result.condition_met for result in results}
    return {
        "load_test": {
            "phases": [result.record() for result in results],
            "cloudwatch_throttles": server.counts["throttles"],
        },
        "autoscaling": {
            "timeline": timeline.points,
            "scaled_out": met[plan.SCALE_OUT],
            "scaled_in": met[plan.QUIET],
        },
        "lambda": {"reserved": 4, "provisioned": 2},
    }


@pytest.fixture
def limits():
    return Limits(p99_ms=30_000, error_rate=0.2)


def test_a_function_that_behaves_passes(serve, limits):
    verdict = decide(load_test(serve("--service-ms", 120, "--reserved", 4)), limits)

    assert [check for check in verdict["checks"] if not check["passed"]] == []


def test_a_function_with_less_concurrency_than_it_should_have_fails(serve, limits):
    verdict = decide(load_test(serve("--service-ms", 120, "--reserved", 3)), limits)

    failing = {check["name"]: check["measured"] for check in verdict["checks"] if not check["passed"]}
    assert failing["beyond reserved, concurrency is the reserved number"] == "3 at once, of 12 offered"
    assert "no throttle within reserved" in failing
