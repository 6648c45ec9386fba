"""Airflow's LocalExecutor, without its race between a task that deferred and the same task going on.

A deferring task's process needs a moment to end. When the trigger has fired by then, the scheduler has handed the task
out again, takes the first process's end for the second's, and fails the task (apache/airflow #67287 and #72716, open in
3.3.1). On a busy laptop, with waits of a second, that happens every few runs.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from airflow.executors.local_executor import LocalExecutor
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.state import TaskInstanceState


class ResumingLocalExecutor(LocalExecutor):
    """Reports the end of a task's process only when it is not out a second time."""

    def start(self) -> None:
        self._out: Counter[Any] = Counter()
        super().start()

    def _process_workloads(self, workload_list: Any) -> None:
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
