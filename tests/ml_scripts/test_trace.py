"""A window of steps as torch.profiler records them."""

import gzip
import json

import pytest
import torch
from profiling import trace
from profiling.clock import BACKWARD, CLOCK, FORWARD


@pytest.fixture
def traced(tmp_path):
    """Take so many steps with a trace of three; what it has left."""

    def take(steps: int) -> list[dict]:
        layer, recording = torch.nn.Linear(4, 4), trace.Trace(3, tmp_path, rank=1)
        CLOCK.begin()
        CLOCK.on_step = lambda number: recording.step()
        try:
            with CLOCK.steps():
                for number in range(1, steps + 1):
                    CLOCK.to(FORWARD)
                    loss = layer(torch.ones(1, 4)).sum()
                    CLOCK.to(BACKWARD)
                    loss.backward()
                    CLOCK.end_step(number)
            recording.stop()
        finally:
            CLOCK.begin(on=False)
        file = tmp_path / "profile" / "trace-1.json.gz"
        return json.loads(gzip.decompress(file.read_bytes()))["traceEvents"] if file.exists() else []

    return take


@pytest.mark.parametrize(("taken", "recorded"), [(trace.SKIPPED + 6, 3), (trace.SKIPPED + 2, 2), (trace.SKIPPED, 0)])
def test_the_steps_after_the_first_are_in_a_file_for_perfetto_with_phases_and_operators(traced, taken, recorded):
    # What Perfetto and chrome://tracing draw: complete events with a begin and a duration in microseconds.
    spans = [each for each in traced(taken) if each.get("ph") == "X"]
    assert all(each["dur"] >= 0 and "ts" in each and "tid" in each for each in spans)

    def count(name: str) -> int:
        return len([each for each in spans if each["name"] == name])

    assert (count("forward"), count("backward"), count("aten::linear")) == (recorded,) * 3
    # An operator lies within the phase that it is a part of.
    forward = [(each["ts"], each["ts"] + each["dur"]) for each in spans if each["name"] == "forward"]
    linear = [(each["ts"], each["ts"] + each["dur"]) for each in spans if each["name"] == "aten::linear"]
    assert all(any(begin <= at and end <= until for begin, until in forward) for at, end in linear)
