import functools

import pytest
from musher.load import capacity
from musher.load.capacity import CapacityError, measure, scaling_target
from musher.load.generator import run_phase
from musher.load.results import OfferLimits
from musher.load.targets import EndpointTarget


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """On a busy test machine requests leave late, which is no limit of the server's."""
    limits = OfferLimits(send_lag_p99_ms=10_000)
    monkeypatch.setattr(capacity, "run_phase", functools.partial(run_phase, limits=limits))


@pytest.mark.alone
def test_the_highest_rate_is_found_near_what_the_server_can_do(serve):
    # GIVEN one lane of 25 ms: 40 requests a second
    server = serve("--service-ms", 25, "--lanes", 1)

    found = measure(EndpointTarget("dogs", server.client), [b"image"], latency_limit_ms=400, step_seconds=1)

    assert 10 <= found["max_rps_per_instance"] <= 60
    assert found["p99_ms"] <= 400
    assert found["seconds"] < 60
    offered = [step["offered_rps"] for step in found["steps"]]
    assert offered[:3] == [5, 10, 20]
    assert not all(step["ok"] for step in found["steps"])
    assert all(step["why"] for step in found["steps"] if not step["ok"])


def test_one_hiccup_is_not_a_limit(serve):
    # GIVEN a server that stops for half a second during the first step and is quick otherwise
    server = serve("--service-ms", 1, "--stall-after", 0.1, "--stall-for", 0.8)

    found = measure(
        EndpointTarget("dogs", server.client), [b"image"], latency_limit_ms=300, step_seconds=0.6, ceiling_rps=10
    )

    assert not found["steps"][0]["ok"]
    assert found["max_rps_per_instance"] == 10
    assert found["limited_by"] == "ceiling"


def test_it_looks_below_the_first_rate_before_it_gives_up(serve):
    # GIVEN two requests a second at most
    server = serve("--service-ms", 500, "--lanes", 1)

    found = measure(
        EndpointTarget("dogs", server.client), [b"image"], latency_limit_ms=900, step_seconds=1, refinements=0
    )

    assert 0.5 <= found["max_rps_per_instance"] < 5


def test_an_instance_that_is_always_too_slow_has_no_capacity(serve, monkeypatch):
    monkeypatch.setattr(capacity, "LEAST_RPS", 4)
    server = serve("--service-ms", 100)

    with pytest.raises(CapacityError, match=r"does not take even .* p99 is \d{3,} ms, above the limit of 20 ms"):
        measure(EndpointTarget("dogs", server.client), [b"image"], latency_limit_ms=20, start_rps=8, step_seconds=0.2)


def test_errors_are_a_limit_even_when_they_are_fast(serve, monkeypatch):
    monkeypatch.setattr(capacity, "LEAST_RPS", 4)
    server = serve()
    server.stop()

    with pytest.raises(CapacityError, match="ConnectionRefusedError"):
        measure(EndpointTarget("dogs", server.client), [b"image"], latency_limit_ms=500, start_rps=8, step_seconds=0.2)


def test_the_scaling_target_is_aws_s_formula():
    assert scaling_target(20, 0.5) == 600


@pytest.mark.parametrize(("rps", "factor"), [(0, 0.5), (20, 0), (20, 1.5)])
def test_a_scaling_target_of_nothing_is_refused(rps, factor):
    with pytest.raises(ValueError):
        scaling_target(rps, factor)
