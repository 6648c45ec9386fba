import pytest
from musher.errors import UnreachableError
from musher.load import capacity
from musher.load.capacity import CapacityError, measure, scaling_target
from musher.load.generator import run_phase
from musher.load.outcome import Outcome, Sample
from musher.load.results import OfferLimits, PhaseResult
from musher.load.targets import EndpointTarget


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """On a busy test machine requests leave late, which is no limit of the server's."""

    def late(*given, **more):
        return run_phase(*given, **{**more, "limits": OfferLimits(send_lag_p99_ms=10_000)})

    monkeypatch.setattr(capacity, "run_phase", late)


@pytest.mark.alone
def test_the_highest_rate_is_found_near_what_the_server_can_do(serve):
    # GIVEN one lane of 25 ms: 40 requests a second
    server = serve("--service-ms", 25, "--lanes", 1)

    found = measure(EndpointTarget("dogs", server.client), [b"image"], latency_limit_ms=400)

    assert 10 <= found["max_rps_per_instance"] <= 60
    assert found["p99_ms"] <= 400
    assert found["seconds"] < 60
    offered = [step["offered_rps"] for step in found["steps"]]
    assert offered[:3] == [5, 10, 20]
    assert not all(step["ok"] for step in found["steps"])
    assert all(step["why"] for step in found["steps"] if not step["ok"])


def test_one_hiccup_is_not_a_limit(serve, monkeypatch):
    monkeypatch.setattr(capacity, "MOST_RPS", 10)
    monkeypatch.setattr(capacity, "STEP_SECONDS", 0.6)
    # GIVEN a server that stops for half a second during the first step and is quick otherwise
    server = serve("--service-ms", 1, "--stall-after", 0.1, "--stall-for", 0.8)

    found = measure(EndpointTarget("dogs", server.client), [b"image"], latency_limit_ms=300)

    assert not found["steps"][0]["ok"]
    assert found["max_rps_per_instance"] == 10
    assert found["limited_by"] == "ceiling"


def test_it_looks_below_the_first_rate_before_it_gives_up(serve, monkeypatch):
    monkeypatch.setattr(capacity, "REFINEMENTS", 0)
    monkeypatch.setattr(capacity, "LONGEST_CONFIRMATION_SECONDS", 3)
    # GIVEN two requests a second at most
    server = serve("--service-ms", 500, "--lanes", 1)

    found = measure(EndpointTarget("dogs", server.client), [b"image"], latency_limit_ms=900)

    assert 0.5 <= found["max_rps_per_instance"] < 5


def test_an_instance_that_is_always_too_slow_has_no_capacity(serve, monkeypatch):
    for name, value in (("LEAST_RPS", 4), ("START_RPS", 8), ("STEP_SECONDS", 0.2)):
        monkeypatch.setattr(capacity, name, value)
    server = serve("--service-ms", 100)

    with pytest.raises(
        CapacityError, match=r"even .* slowest of \d+ requests took \d{3,} ms, above the limit of 20 ms"
    ):
        measure(EndpointTarget("dogs", server.client), [b"image"], latency_limit_ms=20)


@pytest.fixture
def short(monkeypatch):
    for name, value in (("LEAST_RPS", 4), ("START_RPS", 8), ("STEP_SECONDS", 0.2)):
        monkeypatch.setattr(capacity, name, value)


def test_errors_are_a_limit_even_when_they_are_fast(short):
    with pytest.raises(CapacityError, match="HTTP 500: broken"):
        measure(lambda payload: Outcome("failed", "HTTP 500", "broken"), [b"image"], latency_limit_ms=500)


def test_nobody_who_answers_is_no_limit_of_the_instance(short, serve):
    server = serve()
    server.stop()

    with pytest.raises(
        UnreachableError, match=r"^AWS could not be reached by \d of \d calls \(ConnectionRefusedError: "
    ):
        measure(EndpointTarget("dogs", server.client), [b"image"], latency_limit_ms=500)


class Recorded:
    """Stands for a phase that was run: so many requests, `slow` of them too slow, all of them sent `late` seconds."""

    def __init__(self, phase, slow, late):
        self.phase = phase
        sent = round(phase.rps * phase.seconds)
        latencies = [1.0] * slow + [0.01] * (sent - slow)
        outcome = Outcome("succeeded")
        self.samples = [
            Sample(n / phase.rps, n / phase.rps + late, n / phase.rps + latencies[n], outcome) for n in range(sent)
        ]

    def record(self):
        return PhaseResult(
            phase=self.phase, samples=self.samples, promised=len(self.samples), seconds=self.phase.seconds,
            started_at=0, condition_met=None, limits=OfferLimits(),
        ).record()  # fmt: skip


def ramp(monkeypatch, slow, late=lambda rps, seconds: 0.0):
    """Measure with `slow(requests a second, seconds)` slow requests at each step; the rates that were run as well."""
    run = []

    def fake(phase, *_, **__):
        run.append((round(phase.rps, 2), round(phase.rps * phase.seconds)))
        return Recorded(phase, slow(phase.rps, phase.seconds), late(phase.rps, phase.seconds))

    monkeypatch.setattr(capacity, "run_phase", fake)
    return measure(None, [b"image"], latency_limit_ms=500), run


def test_what_is_called_a_p99_has_a_hundred_requests_behind_it(monkeypatch):
    # GIVEN an instance that takes 12 requests a second and not one more
    found, run = ramp(monkeypatch, lambda rps, seconds: 3 if rps > 12 else 0)

    assert 10 <= found["max_rps_per_instance"] <= 12
    assert found["p99_ms"] == pytest.approx(10, rel=0.02)
    assert run[-1] == (found["max_rps_per_instance"], pytest.approx(100, abs=1))
    short = [step for step in found["steps"] if step["requests"] < 100]
    assert short
    assert all(step["p99_ms"] is None and step["slowest_ms"] for step in short)
    assert "the slowest of" in found["limited_by"]


def test_a_rate_that_passes_only_while_few_requests_are_sent_is_not_the_highest(monkeypatch):
    # GIVEN one in forty requests too slow above 6 a second: seven requests do not show it
    found, _ = ramp(
        monkeypatch, lambda rps, seconds: round(rps * seconds / 40) if rps > 6 and rps * seconds > 60 else 0
    )

    assert found["max_rps_per_instance"] == 5
    assert found["p99_ms"] == pytest.approx(10, rel=0.02)
    assert any(step["ok"] and step["offered_rps"] > 6 for step in found["steps"])


def test_a_sender_that_is_late_takes_nothing_from_the_instance(monkeypatch):
    # GIVEN a machine too busy to send a hundred requests on time
    found, run = ramp(
        monkeypatch,
        lambda rps, seconds: 3 if rps > 12 else 0,
        lambda rps, seconds: 0.2 if rps * seconds > 60 else 0.0,
    )

    assert 10 <= found["max_rps_per_instance"] <= 12
    assert found["p99_ms"] is None
    assert "the slowest of" in found["limited_by"]
    assert [rate for rate, requests in run if requests >= 99] == [found["max_rps_per_instance"]] * 2


def test_a_rate_too_low_for_a_hundred_requests_a_minute_has_no_p99(monkeypatch):
    found, _ = ramp(monkeypatch, lambda rps, seconds: 1 if rps > 1 else 0)

    assert found["max_rps_per_instance"] <= 1
    assert found["p99_ms"] is None
    assert found["steps"][-1]["slowest_ms"] == pytest.approx(10, rel=0.02)


def test_the_scaling_target_is_aws_s_formula():
    assert scaling_target(20, 0.5) == 600


@pytest.mark.parametrize(("rps", "factor"), [(0, 0.5), (20, 0), (20, 1.5)])
def test_a_scaling_target_of_nothing_is_refused(rps, factor):
    with pytest.raises(ValueError):
        scaling_target(rps, factor)
