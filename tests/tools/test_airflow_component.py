"""What is done once for all of Airflow's components and tasks, and what wakes the scheduler."""

from __future__ import annotations

import sqlite3
import threading
import time

import boto3
import botocore.loaders
import botocore.session
import pytest
from airflow.jobs import scheduler_job_runner

from tools import airflow_component, sqlite_scheduler


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
