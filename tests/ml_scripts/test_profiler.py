"""The profiler: whose time is whose, what each rule fires on, and the sentence that comes of it."""

import itertools
import threading
import time
from array import array
from dataclasses import replace

import pytest
from diagnostics.rule import NotApplicable
from errors import UserError
from profiling import clock as clock_module
from profiling.choice import choose_profile
from profiling.clock import BACKWARD, CHECKPOINT, DECODE, EXCHANGE, FORWARD, VALIDATION, Clock
from profiling.recorded import Host, Profile, Rank, SlowStep
from profiling.rule import known_rules
from profiling.session import evaluate
from profiling.system import Sampler
from profiling.verdict import verdict

RULES = known_rules()


@pytest.fixture
def ticking(monkeypatch):
    """A clock, and how to let a second pass."""
    now = itertools.count()
    at = [next(now)]
    monkeypatch.setattr(clock_module, "perf_counter_ns", lambda: at[0] * 10**9)

    def passes(seconds: int = 1) -> None:
        at[0] += seconds

    found = Clock()
    found.begin(before=5 * 10**9)
    return found, passes


def test_each_moment_belongs_to_the_innermost_phase(ticking):
    clock, passes = ticking

    passes(2)
    with clock.exchange():  # others have yet to start
        passes(3)
    clock.work()
    with clock.of(VALIDATION):
        passes(4)
        with clock.of(DECODE):
            passes(1)
        with clock.exchange():
            passes(6)
        passes(2)
    passes(7)

    assert clock.spent() == {"initialisation": 10, "validation": 6, "decode": 1, "exchange": 6, "other": 7}


def test_steps_have_what_they_took_and_nothing_of_what_is_between(ticking):
    # GIVEN two epochs with a checkpoint after each, and somebody who looks at each step
    clock, passes = ticking
    clock.work()
    clock.on_step = lambda number: passes(50)

    for epoch in range(2):
        with clock.steps():
            for inputs in clock.waiting(iter([1, 2])):
                with clock.of(FORWARD):
                    passes(inputs)
                with clock.of(BACKWARD):
                    passes(3 + 10 * epoch)
                clock.end_step(2 * epoch + inputs)
        with clock.of(CHECKPOINT):
            passes(100)

    # THEN steps are steps, and the rest is in the whole
    assert list(clock.durations) == pytest.approx([4, 5, 14, 15])
    assert clock.in_steps() == {"forward": 6, "backward": 32}
    assert clock.spent()["checkpoint"] == 200
    slowest = max(clock.slow)
    assert (slowest[0], slowest[1], slowest[2][BACKWARD]) == (15 * 10**9, 4, 13 * 10**9)


def test_reading_is_told_from_decoding_also_on_other_threads(tmp_path):
    clock, file = Clock(), tmp_path / "x"
    file.write_bytes(b"x" * 100_000)
    clock.begin()
    clock.work()

    def look() -> None:
        with clock.decoding(), clock.open(file) as opened:
            assert opened.read(3) == b"xxx"
            assert len(opened.read()) == 99_997
            time.sleep(0.02)

    look()
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()

    spent, (pictures, read, decoded) = clock.spent(), clock.decoded
    assert spent["decode"] >= 0.02
    assert spent["read"] > 0
    assert (clock.pictures, pictures) == (1, 1)
    assert decoded >= 0.02e9
    assert read > 0


def test_a_clock_that_is_off_records_nothing(tmp_path):
    clock = Clock()
    with clock.of(EXCHANGE), clock.steps(), clock.decoding():
        clock.work()
        clock.end_step(1)
    stream = [1, 2]

    assert clock.waiting(stream) is stream
    assert list(clock.durations) == []
    assert set(clock.spent()) == {"initialisation"}


def test_what_is_recorded_is_chosen_in_one_text():
    usual, other = choose_profile("default"), choose_profile("none,trace:7")
    changed = choose_profile("system:200,StepOutlier:n_outliers=5,BatchSize:off")
    aws = {each.rule.name: each.parameters for each in choose_profile("aws").rules}

    assert (usual.system, usual.steps, usual.trace) == (0.5, True, 0)
    assert [each.rule.name for each in usual.rules] == list(RULES)
    assert (other.system, other.steps, other.trace, other.rules) == (0, False, 7, [])
    assert changed.system == 0.2
    assert "BatchSize" not in {each.rule.name for each in changed.rules}
    assert next(each for each in changed.rules if each.rule.name == "StepOutlier").parameters["n_outliers"] == 5
    assert aws["MaxInitializationTime"] == {"threshold": 20.0}
    assert not choose_profile("none").on


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "sytem",
            "--profile names 'sytem'; it must be one of system, steps, trace, BatchSize, .* first default",
        ),
        ("system:50", "--profile has 'system:50'; behind the colon there must be off, or a whole number from 100 to"),
        ("trace:all", "--profile has 'trace:all'; behind the colon there must be off, or a whole number from 1 to 200"),
        ("BatchSize:stop", "--profile has 'stop' for BatchSize; it must be report or off, or a parameter=value"),
        ("StepOutlier:stddev=x", "--profile has StepOutlier:stddev=x; it must be a number"),
    ],
)
def test_mistakes_in_the_choice_are_named(text, sentence):
    with pytest.raises(UserError, match=sentence):
        choose_profile(text)


def rank(number: int = 0, host: str = "algo-1", **changes) -> Rank:
    """A process that fine-tunes a whole network without a hitch: 100 steps of a second."""
    healthy = {
        "device": "cpu",
        "threads": 4,
        "workers": 0,
        "phases": {"initialisation": 10.0, "decode": 8.0, "read": 2.0, "forward": 30.0, "backward": 50.0,
                   "exchange": 2.0, "optimiser": 5.0, "validation": 5.0},
        "in_steps": {"decode": 8.0, "read": 2.0, "forward": 30.0, "backward": 53.0, "exchange": 2.0, "optimiser": 5.0},
        "durations": array("d", [1.0] * 100),
        "slow": [SlowStep(7, 1.1, {"forward": 1.1})],
        "pictures": 1600,
    }  # fmt: skip
    return Rank(number, host, **{**healthy, **changes})


def host(gpu: list[float] | None = None, cpu: float = 50.0, name: str = "algo-1", **columns: list[float]) -> Host:
    count = len(gpu) if gpu else 300
    samples = {"seconds": [0.5 * n for n in range(count)], "cpu": [cpu] * count, "io_wait": [0.0] * count}
    if gpu:
        samples |= {"gpu": gpu, "gpu_memory": [80.0] * count}
    return Host(name, 0.5, 4, 1 if gpu else 0, samples | columns)


def profile(*ranks: Rank, hosts: list[Host] | None = None, **changes) -> Profile:
    ranks = ranks or (rank(),)
    return Profile("all", 16, list(ranks), [host()] if hosts is None else hosts, **{"cached": False, **changes})


def phases(**changes: float) -> dict[str, float]:
    return {**rank().phases, **changes}


def statuses(seen: Profile, text: str = "default") -> dict[str, str]:
    return {name: outcome.status for name, outcome in evaluate(choose_profile(text).rules, seen).items()}


BUSY = [90.0] * 300
FIRES = {
    "BatchSize": profile(rank(in_steps={"forward": 10.0, "optimiser": 30.0, "exchange": 20.0})),
    "CPUBottleneck": profile(hosts=[host([5.0] * 200 + [80.0] * 100, cpu=95.0)]),
    "Dataloader": profile(rank(phases=phases(decode=200.0))),
    "GPUMemoryIncrease": profile(hosts=[host(BUSY, gpu_memory=[50 + n / 30 for n in range(300)])]),
    "IOBottleneck": profile(rank(phases=phases(read=60.0))),
    "LoadBalancing": profile(rank(phases=phases(exchange=100.0)), rank(1, phases=phases(backward=150.0)), world=2),
    "LowGPUUtilization": profile(hosts=[host([3.0] * 280 + [75.0] * 10 + [3.0] * 10, cpu=80.0)]),
    "MaxInitializationTime": profile(rank(phases=phases(initialisation=400.0))),
    "StepOutlier": profile(rank(durations=array("d", ([0.8] * 14 + [5.0]) * 12))),
}


@pytest.mark.parametrize("name", FIRES)
def test_a_rule_fires_on_its_own_case_and_no_other_does(name):
    found = statuses(FIRES[name])

    assert {rule for rule, status in found.items() if status == "IssuesFound"} == {name}
    assert "Error" not in found.values()


def test_every_rule_has_its_case():
    assert set(FIRES) | {"OverallSystemUsage"} == set(RULES)


@pytest.mark.parametrize(
    "seen",
    [
        profile(),
        profile(
            rank(in_steps={"forward": 30.0, "backward": 50.0, "exchange": 200.0}),
            rank(1, phases=phases(backward=60.0)),
            world=2,
        ),
        profile(hosts=[host(BUSY)]),
        profile(rank(phases=phases(decode=0.0, read=0.0, wait=8.0), worker_read=10.0, worker_decode=80.0, workers=4)),
        profile(rank(durations=array("d", ([0.99] * 19 + [1.3]) * 20))),
        profile(rank(phases={"initialisation": 3.0, "features": 20.0, "decode": 8.0, "optimiser": 0.2},
                     in_steps={"optimiser": 0.2, "forward": 0.1}, durations=array("d", [0.003] * 99 + [0.1])),
                cached=True),
    ],
    ids=["one process", "two processes", "a GPU", "workers that keep up", "some slower steps", "a head"],
)  # fmt: skip
def test_healthy_profiles_have_no_issue(seen):
    assert not {rule for rule, status in statuses(seen).items() if status in ("IssuesFound", "Error")}
    assert verdict(seen, {}).sentence.startswith("nothing holds the training up: process ")


@pytest.mark.parametrize(
    ("name", "seen", "why"),
    [
        ("CPUBottleneck", profile(), "there is no GPU"),
        ("CPUBottleneck", profile(hosts=[]), "the instances were not sampled"),
        ("LowGPUUtilization", profile(hosts=[replace(host(), gpus=1)]), "nothing tells what the GPU does"),
        ("LowGPUUtilization", profile(hosts=[host([50.0] * 15)]), "there are 15 samples, and the first 20 are left"),
        ("LoadBalancing", profile(), "one process has nobody to wait for"),
        ("LoadBalancing", profile(world=2), "the profile of process 1 is missing"),
        ("StepOutlier", profile(rank(durations=array("d", [1.0] * 22))), "there were less than 23 steps"),
        ("Dataloader", profile(rank(phases={"initialisation": 3.0})), "the training did not come to its first picture"),
    ],
)
def test_a_rule_that_cannot_apply_says_why(name, seen, why):
    with pytest.raises(NotApplicable, match=why):
        RULES[name].check(seen, **RULES[name].defaults)


def test_aws_defaults_leave_what_is_ours_out():
    assert statuses(FIRES["IOBottleneck"], "aws")["IOBottleneck"] == "Stopped"
    assert statuses(FIRES["BatchSize"], "aws")["BatchSize"] == "Stopped"
    # Decoding on the main thread is fewer threads than AWS has for its cores.
    assert statuses(profile(), "aws")["Dataloader"] == "IssuesFound"


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({}, "set workers to 3; now it is 0"),
        ({"cached": True}, "store the pictures smaller: the features of each are computed once, and decoding it takes"),
        ({"hosts": [host(cpu=97.0)]}, "store the pictures smaller, or take an instance with more cores: those that"),
    ],
)
def test_the_verdict_is_what_costs_most_with_a_next_step(changes, step):
    # GIVEN slow decoding, and a batch that is a little small
    spent = phases(decode=200.0)
    seen = profile(rank(phases=spent, in_steps={"forward": 20.0, "optimiser": 90.0}), **{"hosts": [host()], **changes})
    issues = {name: each.issue for name, each in evaluate(choose_profile("default").rules, seen).items() if each.issue}
    assert set(issues) == {"Dataloader", "BatchSize"}

    # WHEN the verdict is given
    said = verdict(seen, issues)

    # THEN it is about decoding
    assert said.rule == "Dataloader"
    assert said.share == pytest.approx(200 / sum(spent[name] for name in spent if name != "initialisation"), abs=0.02)
    assert said.sentence.startswith("process 0 on algo-1 waits for pictures to be decoded 6")
    assert said.next_step.startswith(step)


def test_an_instance_is_sampled_into_a_file(tmp_path):
    sampler = Sampler(0.01, tmp_path)
    sampler.start()
    deadline = time.monotonic() + 60
    while len(sampler.rows) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    sampler.stop()

    found = sampler.host()
    header, *lines = sampler.file.read_text().splitlines()
    assert header.split(",")[:4] == ["seconds", "cpu", "io_wait", "process"]
    assert len(lines) == len(found.column("cpu")) >= 3
    assert all(0 <= value <= 100 for name in ("cpu", "io_wait", "memory") for value in found.column(name))
    assert found.column("memory")[0] > 0


def test_what_cannot_be_sampled_is_said(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "psutil", None)
    sampler = Sampler(0.01, tmp_path)
    sampler.start()
    sampler.stop()

    assert sampler.host().samples == {}
    assert sampler.why_not == "psutil is not installed"
