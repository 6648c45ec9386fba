"""Instances are real process trees, and nothing of them is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from local_aws.instance_types import is_burstable, threads, vcpus
from local_aws.instances import Instances, describe_exit

ROOT = Path(__file__).resolve().parents[2]

# A child in a session of its own, as torchrun starts its workers.
FAMILY = textwrap.dedent("""
    import subprocess, sys, time
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    print("child", child.pid, flush=True)
    time.sleep(600)
""")


@pytest.fixture
def instances(tmp_path):
    owner = Instances(tmp_path)
    yield owner
    owner.stop_all(0.1)


def lines_of(instances, source, **options):
    lines = []
    instance = instances.start("test", [sys.executable, "-c", source], on_line=lines.append, **options)
    return instance, lines


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_output_exit_status_and_share_of_the_machine(instances):
    instance, lines = lines_of(
        instances,
        "import os, sys; print(os.environ['OMP_NUM_THREADS']); print('bad', file=sys.stderr); sys.exit(3)",
        threads=2,
    )
    assert instance.wait(60) == 3
    assert lines == ["2", "bad"]
    assert instances.running() == []


def test_an_instance_does_not_see_the_daemons_environment(instances, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    instance, lines = lines_of(instances, "import os; print('AWS_SECRET_ACCESS_KEY' in os.environ)")
    instance.wait(60)
    assert lines == ["False"]


def test_addresses_differ(instances):
    first, second = (instances.start("test", ["true"]) for _ in range(2))
    assert first.address != second.address or not sys.platform.startswith("linux")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have one loopback address")
def test_two_local_awss_give_out_different_addresses(instances, tmp_path):
    # GIVEN two at the same time
    other = Instances(tmp_path)
    assert {instances.address(number) for number in range(600)}.isdisjoint(map(other.address, range(600)))

    # WHEN one has ended, the next takes its addresses over
    first = other.address(1)
    other.stop_all()
    third = Instances(tmp_path)
    assert third.address(1) == first
    third.stop_all()


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="process trees across sessions are found on Linux only"
)
def test_stopping_reaches_a_process_in_a_session_of_its_own(instances):
    instance, lines = lines_of(instances, FAMILY)
    until(lambda: lines)
    child = int(lines[0].split()[1])
    assert instance.stop(grace_seconds=60) == 128 + signal.SIGTERM
    until(lambda: not psutil.pid_exists(child))


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace(instances):
    source = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    instance, lines = lines_of(instances, source)
    until(lambda: lines)
    assert instance.stop(grace_seconds=0.3) == 128 + signal.SIGKILL


def test_a_command_that_does_not_exist_says_so(instances):
    lines = []
    instance = instances.start("test", ["/does/not/exist"], on_line=lines.append)
    assert instance.wait(60) == 127
    assert "No such file" in lines[0]


def test_nothing_survives_a_sigkill_of_the_owner(tmp_path):
    owner = textwrap.dedent(f"""
        import pathlib, sys, time
        sys.path.insert(0, {str(ROOT)!r})
        from local_aws.instances import Instances
        instances = Instances(pathlib.Path({str(tmp_path)!r}))
        instances.start("test", [sys.executable, "-c", {FAMILY!r}], on_line=lambda line: print(line, flush=True))
        time.sleep(600)
    """)
    process = subprocess.Popen([sys.executable, "-c", owner], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = int(process.stdout.readline().split()[1])
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 3
    os.kill(process.pid, signal.SIGKILL)
    process.wait(30)
    until(lambda: not any(each.is_running() for each in family))
    assert not psutil.pid_exists(child)


def test_exits_in_words():
    assert describe_exit(1) == "exit status 1"
    assert describe_exit(137) == "signal 9 (SIGKILL)"


def test_sizes_and_shares():
    assert vcpus("ml.m5.large") == 2
    assert vcpus("ml.m5.4xlarge") == 16
    assert threads("ml.m5.xlarge") == 1
    assert threads("ml.m5.24xlarge") == (os.cpu_count() or 1) or threads("ml.m5.24xlarge") == 24
    assert is_burstable("ml.t3.medium")
    assert not is_burstable("ml.m5.large")


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2,
    reason="cores can be given on Linux with two of them",
)
def test_two_instances_of_one_thread_have_a_core_each(instances):
    source = "import os, time; print(*os.sched_getaffinity(0), flush=True); time.sleep(600)"
    (_, first), (_, second) = (lines_of(instances, source, threads=1) for _ in range(2))
    until(lambda: first and second)
    assert len(first[0].split()) == len(second[0].split()) == 1
    assert first != second


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2,
    reason="cores can be given on Linux with two of them",
)
def test_the_first_instances_of_two_local_awss_have_a_core_each(instances, tmp_path):
    source = "import os, time; print(*os.sched_getaffinity(0), flush=True); time.sleep(600)"
    others = [Instances(tmp_path)]
    while (others[-1].network - instances.network) % os.cpu_count() == 0:
        others.append(Instances(tmp_path))
    try:
        (_, first), (_, second) = (lines_of(owner, source, threads=1) for owner in (instances, others[-1]))
        until(lambda: first and second)
    finally:
        for other in others:
            other.stop_all(0.1)
    assert first != second
