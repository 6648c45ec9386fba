"""What is done once for all of Airflow's components and tasks, and what wakes the scheduler."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import ClassVar

import boto3
import botocore.loaders
import botocore.session
import pytest

from tools import airflow_component, sqlite_scheduler

ROOT = Path(__file__).parents[2]
# Forks twice from a process that has preloaded a package, with a change to one of its files in between.
FORKS = """
import importlib, os, pathlib, sys
from tools import preloaded_plugins
preloaded_plugins.preload("birds")
def fork():
    if os.fork() == 0:
        print("birds.operators.fly" in sys.modules, importlib.import_module("birds.operators.fly").HOW, flush=True)
        os._exit(0)
    os.wait()
fork()
pathlib.Path(sys.argv[1]).write_text("HOW = 'far away'")
fork()
"""


@pytest.fixture
def database(tmp_path):
    path = str(tmp_path / "airflow.db")
    write(path)
    return path


def write(path: str) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE IF NOT EXISTS task_instance (state)")
        other.execute("INSERT INTO task_instance VALUES ('success')")
    other.close()


def test_the_scheduler_wakes_when_something_is_written(database, monkeypatch):
    from airflow.jobs import scheduler_job_runner  # above, each process that collects this would import it

    # GIVEN a scheduler that would pause for minutes
    monkeypatch.setattr(scheduler_job_runner, "time", time)
    sqlite_scheduler.wake_when_something_is_written(database)
    began = time.monotonic()
    writer = threading.Timer(0.5, write, [database])
    writer.start()
    # WHEN another component commits THEN it goes on
    scheduler_job_runner.time.sleep(300)
    assert 0.5 <= time.monotonic() - began < 200
    writer.join()
    # AND for all but its pauses it has the same clock
    assert scheduler_job_runner.time.monotonic is time.monotonic


def test_a_pause_in_which_nobody_writes_is_as_long_as_was_asked_for(database):
    changes, began = sqlite_scheduler.Changes(database), time.monotonic()
    changes.wait(0.4)
    assert time.monotonic() - began >= 0.4


def test_a_database_that_cannot_be_read_costs_a_pause_only(tmp_path):
    changes, began = sqlite_scheduler.Changes(str(tmp_path / "none.db")), time.monotonic()
    changes.wait(0.2)
    assert time.monotonic() - began >= 0.2


def test_tasks_do_not_read_again_which_calls_aws_has(monkeypatch):
    # GIVEN what is read before tasks are forked
    monkeypatch.setattr(botocore.session, "create_loader", botocore.loaders.create_loader)
    airflow_component.read_models()

    # WHEN a task makes a client THEN no file is read
    def refuse(self, path):
        raise AssertionError(path)

    monkeypatch.setattr(botocore.loaders.JSONFileLoader, "load_file", refuse)
    assert boto3.session.Session("none", "none", region_name="us-east-1").client("sagemaker")


@pytest.mark.parametrize(
    ("work", "status", "said"),
    [
        ("print('done')", 0, "done\nat the end\n"),
        ("sys.exit(3)", 3, "at the end\n"),
        ("sys.exit('no database')", 1, "at the end\n"),
        ("sys.exit()", 0, "at the end\n"),
        ("1 / 0", 1, "at the end\n"),
    ],
)
def test_a_component_ends_with_all_but_what_python_takes_apart(work, status, said):
    program = f"""
import atexit, sys
from tools.airflow_component import leave_after
class Large:
    def __del__(self):
        print("taken apart", flush=True)
large = Large()
atexit.register(print, "at the end")
def work():
    {work}
leave_after(work)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (status, said), done.stderr
    assert ("ZeroDivisionError" in done.stderr) == (work == "1 / 0")
    assert ("no database" in done.stderr) == ("no database" in work)


def test_a_triggerer_that_ends_does_not_wait_for_a_word_of_triggers_that_are_gone():
    class Supervisor:
        """Airflow's, whose process ends between its last word and the look whether it has."""

        waits: ClassVar[list[float]] = []

        def kill(self, *, escalation_delay, force):
            assert force
            while (left := escalation_delay - sum(self.waits)) > 0 and len(self.waits) < 2:
                self._service_subprocess(max_wait_time=left, raise_on_timeout=False)

        def _service_subprocess(self, max_wait_time, *, raise_on_timeout):
            self.waits.append(max_wait_time)

    airflow_component.notice_the_end_soon(Supervisor)
    Supervisor()._service_subprocess(3, raise_on_timeout=False)
    assert Supervisor.waits == [3]  # as long as nobody has told it to end
    Supervisor.waits.clear()
    Supervisor().kill(escalation_delay=10, force=True)
    assert Supervisor.waits == [airflow_component.LOOK_SECONDS] * 2


def preloading(folder: Path, how: str) -> tuple[str, list[str]]:
    """What goes wrong, and the lines of two forked processes: whether a package was there, and what it is."""
    module = folder / "birds/operators/fly.py"
    module.parent.mkdir(parents=True)
    for package in (module.parent, module.parents[1]):
        (package / "__init__.py").touch()
    module.write_text(how)
    command = [sys.executable, "-c", FORKS, str(module)]
    paths = f"{ROOT}:{folder}"
    done = subprocess.run(command, env={"PYTHONPATH": paths}, capture_output=True, text=True, timeout=60, check=True)
    return done.stderr, done.stdout.splitlines()


def test_forked_tasks_have_the_plugins_as_they_are_now(tmp_path):
    assert preloading(tmp_path, "HOW = 'away'") == ("", ["True away", "False far away"])


def test_plugins_that_cannot_be_imported_are_left_to_the_tasks(tmp_path):
    said, lines = preloading(tmp_path, "no birds here")
    assert "SyntaxError" in said
    assert lines == ["False far away"]
