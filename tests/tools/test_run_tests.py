"""`make test` runs everything, says it in order, and leaves nothing running when it is interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

from tools import run_tests
from tools.run_tests import ROOT


def says(*lines: str, status: int = 0, wait: float = 0) -> list[str]:
    """A command that prints lines, one after the other, and ends."""
    source = f"import sys, time\nfor line in {lines!r}:\n    print(line, flush=True)\n    time.sleep({wait})\n"
    return [sys.executable, "-c", f"{source}sys.exit({status})"]


def test_all_run_and_their_words_are_not_mixed_up(capfd):
    # WHEN two commands run at the same time, and the first fails
    failed = run_tests.run({"one": says("a", "b", "c", status=1, wait=0.3), "other": says("x", "y", wait=0.1)})

    # THEN both were run, what they said stands one after the other, and it is known which failed
    assert failed == ["one"]
    assert capfd.readouterr().out.split("\n") == ["== one", "a", "b", "c", "== other", "x", "y", ""]


def test_the_second_one_s_failure_counts_too(capfd):
    assert run_tests.run({"one": says("a"), "other": says("x", status=3)}) == ["other"]


def test_of_the_tests_that_run_alone_nothing_else_is_collected():
    marked = f"mark.{'alone'}"  # not in this file
    files = run_tests.files_with_tests_alone()
    assert files
    for file in (ROOT / "tests").rglob("*.py"):
        name = str(file.relative_to(ROOT))
        assert (name in files) == (marked in file.read_text()), name
    assert run_tests.everything(2)[-1]["pytest in .venv, alone"][-len(files) :] == files


@pytest.mark.parametrize(
    ("failed", "status", "passed"),
    [
        (["a.py::one", "b.py::two"], 0, ["a.py::one", "b.py::two"]),
        (["a.py::one"], 1, []),
        ([f"a.py::test[{number}]" for number in range(run_tests.MOST_REPEATED + 1)], 0, []),
        ([], 0, []),
    ],
)
def test_what_failed_beside_others_is_run_once_more(monkeypatch, tmp_path, failed, status, passed):
    last_failed = tmp_path / "lastfailed"
    last_failed.write_text(json.dumps(dict.fromkeys(failed, True)))
    monkeypatch.setattr(run_tests, "PYTEST", says("again", status=status))
    assert run_tests.pass_alone(last_failed) == passed
    assert run_tests.pass_alone(tmp_path / "nothing failed") == []


def test_what_tests_import_is_compiled_once():
    # Whatever the caller's environment says; a process that may not write bytecode compiles all that it imports.
    asked = "import sys; from tools import run_tests; run_tests.run({'one': [sys.executable, '-c', sys.argv[1]]})"
    says_whether = "import sys; print(sys.dont_write_bytecode)"
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", asked, says_whether], cwd=ROOT, env=environment, capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert done.stdout == "== one\nFalse\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems cannot find what has left its session")
def test_an_interrupted_run_leaves_nothing_running():
    # GIVEN a run with a process in a session of its own, as the tests' servers are
    child = (
        "import subprocess, sys, time; "
        "process = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True); "
        "print(process.pid, flush=True); time.sleep(600)"
    )
    source = (
        "import sys; from tools import run_tests\n"
        "try:\n"
        "    run_tests.run({'one': [sys.executable, '-c', " + repr(child) + "]})\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", source], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))  # fmt: skip
    try:
        assert process.stdout.readline() == "== one\n"
        detached = psutil.Process(int(process.stdout.readline()))
        family = [detached, *psutil.Process(process.pid).children(recursive=True)]

        # WHEN it is interrupted, as Ctrl-C does
        process.send_signal(signal.SIGINT)

        # THEN all of it ends
        assert process.wait(60) == 130
        assert psutil.wait_procs(family, timeout=20)[1] == []
    finally:
        process.kill()
        process.wait()


def test_a_number_of_processes_that_is_none_is_named():
    environment = os.environ | {"TEST_PROCESSES": "many"}
    command = [sys.executable, "tools/run_tests.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "TEST_PROCESSES is 'many'; it has to be a whole number from 1.\n"
