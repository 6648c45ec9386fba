"""Airflow's LocalExecutor, without two races: between a task that deferred and the same task going on, and between the
first task and the API server.

A deferring task's process needs a moment to end. When the trigger has fired by then, the scheduler has handed the task
out again, takes the first process's end for the second's, and fails the task (apache/airflow #67287 and #72716, open in
3.3.1). On a busy laptop, with waits of a second, that happens every few runs.

A task's process that finds no API server fails at once, and the task has lost a try. `airflow standalone` starts both
together, and a task that was queued when Airflow was stopped is handed out in the scheduler's first second.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.executors.local_executor import LocalExecutor
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.state import TaskInstanceState

API_SERVER_LIMIT_SECONDS = 300


class ResumingLocalExecutor(LocalExecutor):
    """Hands tasks out once the API server listens, and reports the end of a task's process only when it is not out a
    second time."""

    def start(self) -> None:
        self._out: Counter[Any] = Counter()
        self._awaited = False
        super().start()

    def _await_api_server(self) -> None:
        url = urlsplit(conf.get("core", "execution_api_server_url", fallback="") or "")
        deadline = time.monotonic() + API_SERVER_LIMIT_SECONDS
        while not self._awaited and url.hostname and time.monotonic() < deadline:
            try:
                socket.create_connection((url.hostname, url.port or 80), timeout=1).close()
                self._awaited = True
            except OSError:
                time.sleep(0.2)
        self._awaited = True

    def _process_workloads(self, workload_list: Any) -> None:
        self._await_api_server()
        # A callback has no task instance.
        self._out.update(workload.ti.key for workload in workload_list if hasattr(workload, "ti"))
        super()._process_workloads(workload_list)

    def change_state(self, key: Any, state: Any, info: Any = None, remove_running: bool = True) -> None:
        if isinstance(key, TaskInstanceKey) and state in (TaskInstanceState.SUCCESS, TaskInstanceState.FAILED):
            self._out[key] -= 1
            if self._out[key] > 0:
                self.log.info("%s has ended to be deferred, and goes on already", key)
                return
            del self._out[key]
        super().change_state(key, state, info, remove_running)
