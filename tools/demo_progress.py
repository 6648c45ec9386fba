"""What a person sees while a run goes on: a line when a task starts, and one when it ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

MARKS = {
    "success": "done",
    "skipped": "skipped",
    "failed": "FAILED",
    "upstream_failed": "not run",
    "removed": "removed",
}
STARTED = {"running", "deferred", "up_for_retry", "restarting", *MARKS} - {"upstream_failed", "skipped", "removed"}


class Progress:
    """Prints the changes between one look at a run's task instances and the next."""

    def __init__(self, say: Callable[[str], None] = lambda line: print(line, flush=True)) -> None:
        self._say = say
        self._states: dict[tuple[str, int], str] = {}
        self._began: dict[tuple[str, int], float] = {}
        self._tries: dict[tuple[str, int], int] = {}

    def __call__(self, tasks: list[dict[str, Any]]) -> None:
        """Show what changed; `tasks` as the REST API gives them."""
        for task in sorted(tasks, key=lambda task: task["start_date"] or "9"):
            key = (task["task_id"], task["map_index"])
            state, name = task["state"] or "", task["task_id"]
            if task["map_index"] >= 0:
                name += f"[{task['map_index']}]"
            before = self._states.get(key)
            if state in STARTED and key not in self._began:
                # A task that waits deferred gets a new start date when it goes on: the first one counts.
                self._began[key] = _seconds(task["start_date"])
                self._line("start", name)
            self._states[key] = state
            if state == "up_for_retry" and self._tries.get(key) != task["try_number"]:
                self._tries[key] = task["try_number"]
                self._line("retry", name, f"try {task['try_number']} failed")
            elif state in MARKS and before != state:
                took = ""
                if key in self._began and task["end_date"]:
                    took = f"{_seconds(task['end_date']) - self._began[key]:.1f} s"
                self._line(MARKS[state], name, took)

    def _line(self, what: str, name: str, more: str = "") -> None:
        self._say(f"  {time.strftime('%H:%M:%S')}  {what:<8}{name:<34}{more:>8}".rstrip())


def _seconds(timestamp: str | None) -> float:
    return datetime.fromisoformat(timestamp).timestamp() if timestamp else time.time()
