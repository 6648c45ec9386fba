import threading
import time

import pytest
from musher.load import generator
from musher.load.generator import run_phase, run_phases
from musher.load.outcome import Outcome
from musher.load.results import OfferLimits
from musher.load.schedule import Phase
from musher.load.targets import LambdaTarget

PATIENT = OfferLimits(send_lag_p99_ms=10_000)  # a busy test machine is not what is tested


def lambda_target(server, **options):
    return LambdaTarget("classifier", "live", server.client, **options)


def test_every_request_of_a_rate_is_sent_and_answered(serve):
    server = serve("--service-ms", 2, "--cold-first", 3)
    phase = Phase(name="steady", kind="rate", rps=50, seconds=1)

    record = run_phase(phase, lambda_target(server), [b"one", b"two"], limits=PATIENT).record()

    assert (record["promised"], record["sent"], record["succeeded"]) == (50, 50, 50)
    assert record["cold_starts"] == 3
    assert record["invalid_because"] is None
    assert server.counts["invocations"] == 50


def test_a_burst_reaches_exactly_the_reserved_concurrency(serve):
    server = serve("--service-ms", 1500, "--reserved", 4)
    phase = Phase(name="beyond_reserved", kind="bursts", size=12, count=2, interval_seconds=4)

    record = run_phase(phase, lambda_target(server), [b"image"], limits=PATIENT).record()

    assert record["max_concurrency"] == 4
    assert record["throttled"] == server.counts["throttles"] == 16
    assert record["errors"][0]["kind"] == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_a_stalled_server_shows_in_the_latencies_of_all_requests_that_were_due_meanwhile(serve):
    # GIVEN a server that answers nobody for one second
    server = serve("--service-ms", 1, "--stall-after", 0.5, "--stall-for", 1)
    phase = Phase(name="steady", kind="rate", rps=40, seconds=2)

    result = run_phase(phase, lambda_target(server), [b"image"], limits=PATIENT)

    # THEN the requests went on leaving on schedule: a closed loop would have sent one in that second and called the
    # others fast
    slow = [sample for sample in result.samples if sample.done - sample.due > 0.1]
    assert len(result.samples) == 80
    assert len(slow) >= 25
    assert result.record()["p95_ms"] > 500


def test_a_generator_that_cannot_keep_up_says_so():
    # GIVEN one worker and a target that holds it
    def slow(payload):
        time.sleep(0.2)
        return Outcome("succeeded")

    phase = Phase(name="steady", kind="rate", rps=50, seconds=0.5)

    record = run_phase(phase, slow, [b"x"], max_workers=1).record()

    assert record["invalid_because"] is not None
    assert "send lag p99" in record["invalid_because"] or "promised" in record["invalid_because"]


def test_latency_counts_the_time_a_request_waited_for_its_worker():
    def slow(payload):
        time.sleep(0.1)
        return Outcome("succeeded")

    phase = Phase(name="steady", kind="rate", rps=20, seconds=0.5)

    record = run_phase(phase, slow, [b"x"], max_workers=1).record()

    assert record["sent"] == 10
    assert record["p99_ms"] > 400  # the tenth was due at 0.45 s and began at 0.9 s


def test_a_condition_ends_a_phase_and_what_was_not_due_by_then_was_not_promised():
    calls = []
    since = time.monotonic()
    phase = Phase(name="scale_out", kind="rate", rps=20, seconds=60, until="scaled_out", hold_seconds=0.5)

    def send(payload):
        calls.append(payload)
        return Outcome("succeeded")

    (result,) = run_phases(
        [phase], send, [b"x"], conditions={"scaled_out": lambda: time.monotonic() > since + 1}, limits=PATIENT
    )

    record = result.record()
    assert record["condition_met"] is True
    assert 1 < record["seconds"] < 30
    assert record["sent"] == record["promised"] == len(calls)


def test_a_condition_that_never_holds_ends_with_the_limit():
    phase = Phase(name="quiet", kind="rate", rps=0, seconds=0.3, until="scaled_in")

    (result,) = run_phases([phase], lambda _: Outcome("succeeded"), [], conditions={"scaled_in": lambda: False})

    assert result.record()["condition_met"] is False
    assert result.record()["sent"] == 0
    assert result.record()["invalid_because"] is None


def test_an_unknown_condition_is_refused_before_anything_is_sent():
    sent = []
    phase = Phase(name="quiet", kind="rate", rps=5, seconds=1, until="scald_in")

    with pytest.raises(ValueError, match=r"no condition 'scald_in'; known are \['scaled_in'\]"):
        run_phases([phase], sent.append, [b"x"], conditions={"scaled_in": lambda: True})

    assert sent == []


class Straggling:
    """Answers at once, but for the first call of all, which takes `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.first = seconds, iter([True])

    def __call__(self, payload: bytes) -> Outcome:
        time.sleep(self.seconds if next(self.first, False) else 0.01)
        return Outcome("succeeded")


BURSTS = Phase(name="bursts", kind="bursts", size=3, count=3, interval_seconds=0.3)


def test_a_burst_waits_for_the_stragglers_of_the_one_before():
    record = run_phase(BURSTS, Straggling(1.0), [b"x"], limits=PATIENT).record()

    assert (record["sent"], record["promised"], record["max_in_flight"]) == (9, 9, 3)
    assert record["invalid_because"] is None
    assert record["p50_ms"] < 900, "calls that left later were due later"


def test_a_straggler_that_takes_too_long_is_no_longer_waited_for(monkeypatch):
    monkeypatch.setattr(generator, "STRAGGLERS_SECONDS", 0.2)

    record = run_phase(BURSTS, Straggling(2.0), [b"x"], limits=PATIENT).record()

    assert (record["sent"], record["succeeded"]) == (9, 9)
    assert record["max_in_flight"] == 4
    assert "4 calls were unanswered at once" in record["invalid_because"]


def test_a_fault_in_the_target_ends_the_phase_and_is_raised():
    def broken(payload):
        raise RuntimeError("a fault of ours")

    before = threading.active_count()

    with pytest.raises(RuntimeError, match="a fault of ours"):
        run_phase(Phase(name="x", kind="rate", rps=10, seconds=30), broken, [b"x"])

    assert threading.active_count() == before


def test_more_workers_are_hired_while_answers_are_slow(serve):
    server = serve("--service-ms", 800)
    phase = Phase(name="steady", kind="rate", rps=40, seconds=1)

    record = run_phase(phase, lambda_target(server), [b"x"], limits=PATIENT).record()

    assert record["succeeded"] == 40
    assert record["max_in_flight"] > 20
