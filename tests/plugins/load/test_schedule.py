import pytest
from musher.load.schedule import Phase


def test_a_constant_rate_is_evenly_spaced_and_ends_with_the_phase():
    phase = Phase(name="x", kind="rate", rps=4, seconds=1)

    assert list(phase.offsets()) == [0, 0.25, 0.5, 0.75]


def test_a_burst_is_due_at_one_moment_and_the_second_one_waits_for_environments_to_start():
    phase = Phase(name="x", kind="bursts", size=2, count=3, interval_seconds=1, settle_seconds=5)

    assert list(phase.offsets()) == [0, 0, 6, 6, 7, 7]
    assert phase.offered_concurrency == 2
    assert phase.limit_seconds == 8


def test_what_was_promised_ends_where_the_phase_was_ended():
    phase = Phase(name="x", kind="rate", rps=10, seconds=600)

    assert phase.promised(1.0) == 11


def test_no_requests_at_all_is_a_phase_too():
    phase = Phase(name="quiet", kind="rate", rps=0, seconds=60)

    assert list(phase.offsets()) == []
    assert phase.promised(60) == 0


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"kind": "bursts", "size": 0, "count": 1, "interval_seconds": 1}, "size is 0"),
        ({"kind": "bursts", "size": 1, "count": 1, "interval_seconds": 0}, "interval_seconds is 0"),
        ({"kind": "rate", "rps": -1, "seconds": 1}, "rps is -1"),
        ({"kind": "rate", "rps": 1}, "seconds is 0"),
    ],
)
def test_a_phase_that_cannot_be_says_which_field(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        Phase(name="x", **fields)
