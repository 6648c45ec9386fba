"""Two demos at once: the second says so and leaves the first alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tools.demo_lock import DemoRunning, only_one
from tools.stack import ROOT

HOLD = "import sys, time; from pathlib import Path; from tools.demo_lock import only_one\n"
HOLD += "with only_one(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "build/demo.lock"


@pytest.fixture
def holder(lock):
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_names_the_first_and_leaves_it_alone(lock, holder):
    # WHEN a second demo starts THEN it says which one runs, and since when
    with pytest.raises(DemoRunning, match=rf"process {holder.pid}, since \d\d:\d\d"):
        with only_one(lock):
            pytest.fail("two at once")
    # AND the first holds the lock as before
    assert holder.poll() is None
    with pytest.raises(DemoRunning, match=str(holder.pid)), only_one(lock):
        pytest.fail("two at once")


def test_a_killed_demo_holds_nothing(lock, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with only_one(lock):
        assert str(os.getpid()) in lock.read_text()


def test_it_is_free_again_after_the_end(lock):
    for _ in range(2):
        with only_one(lock):
            time.sleep(0)
