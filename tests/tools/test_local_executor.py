"""A task that goes on before its deferring process has ended is not taken for ended."""

from __future__ import annotations

import socket
import threading
from types import SimpleNamespace

import pytest
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.state import TaskInstanceState

KEY = TaskInstanceKey("dag", "task", "run", 1, -1)


@pytest.fixture
def executor(monkeypatch):
    """An executor whose workers never take anything: their answers are the test's to give."""
    from tools.local_executor import ResumingLocalExecutor  # above, each process that collects this would import it

    executor = ResumingLocalExecutor(parallelism=1)
    monkeypatch.setattr(executor, "_spawn_workers_with_gc_freeze", lambda number: None)
    monkeypatch.setattr(executor, "_check_workers", lambda: None)
    executor.start()
    return executor


def hand_out(executor) -> None:
    executor.queued_tasks[KEY] = SimpleNamespace(key=KEY)
    executor.running.add(KEY)
    executor.activity_queue = SimpleNamespace(put=lambda workload: None)
    executor._process_workloads([SimpleNamespace(key=KEY, ti=SimpleNamespace(key=KEY))])


def test_the_first_end_of_a_task_that_is_out_twice_is_kept_back(executor):
    # GIVEN a task that was handed out, deferred, and was handed out again before its first process ended
    hand_out(executor)
    hand_out(executor)
    # WHEN the first process ends
    executor.change_state(KEY, TaskInstanceState.SUCCESS)
    # THEN the scheduler hears nothing, and the task is the executor's still
    assert not executor.get_event_buffer()
    assert KEY in executor.running
    # AND it hears of the second end
    executor.change_state(KEY, TaskInstanceState.SUCCESS)
    assert list(executor.get_event_buffer()) == [KEY]
    assert KEY not in executor.running


def test_nothing_is_handed_out_before_the_api_server_listens(executor, monkeypatch):
    # GIVEN a scheduler that was started with the API server, and is the quicker one
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{server.getsockname()[1]}/execution/"
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", url)
        handing = threading.Thread(target=hand_out, args=[executor])
        handing.start()
        handing.join(0.5)
        assert handing.is_alive()
        assert not executor._out
        # WHEN that listens
        server.listen()
        # THEN the task is handed out, and has lost no try
        handing.join(60)
        assert executor._out[KEY] == 1


def test_an_ordinary_end_is_reported_at_once(executor):
    for _ in range(2):
        hand_out(executor)
        executor.change_state(KEY, TaskInstanceState.FAILED)
        assert list(executor.get_event_buffer()) == [KEY]
