import time

from musher.load.timeline import Timeline


def test_the_time_line_follows_load_and_instances():
    seen = iter([1, 1, 2, 2, 1])
    last = [1]

    def observe():
        last[0] = next(seen, 1)
        return {"desired": last[0], "in_service": last[0]}

    with Timeline(observe, interval_seconds=0.01) as timeline:
        timeline.offered_rps = 12.5
        deadline = time.monotonic() + 60
        while len(timeline.points) < 6 and time.monotonic() < deadline:
            time.sleep(0.01)

    counts = [point["in_service"] for point in timeline.points]
    assert counts[:5] == [1, 1, 2, 2, 1]
    assert timeline.points[-1]["offered_rps"] == 12.5
    assert timeline.in_service_at_most(1)()
    assert not timeline.in_service_at_least(2)()


def test_a_failed_look_is_kept_and_the_next_one_is_taken():
    answers = iter([RuntimeError("throttled")])

    def observe():
        for error in answers:
            raise error
        return {"desired": 1, "in_service": 1}

    with Timeline(observe, interval_seconds=0.01) as timeline:
        deadline = time.monotonic() + 60
        while not timeline.points and time.monotonic() < deadline:
            time.sleep(0.01)

    assert timeline.last_error == "RuntimeError: throttled"
    assert timeline.in_service == 1


def test_nothing_seen_yet_is_neither_scaled_out_nor_in():
    timeline = Timeline(lambda: {})

    assert timeline.in_service is None
    assert not timeline.in_service_at_least(1)()
    assert not timeline.in_service_at_most(1)()
