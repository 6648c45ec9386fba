"""Airflow's scheduler on SQLite, woken by what the other components write.

An idle scheduler looks through its tables again and again, each time for 15 ms of CPU: five times a second, it takes
from a laptop's trainings what they would need, and still lets a task wait for its predecessor's end to be noticed.
SQLite says for next to nothing whether anybody has written.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from types import SimpleNamespace

# Between two rounds at the least, whatever is written; between two looks at whether something was.
SHORTEST_SECONDS, LOOK_SECONDS = 0.1, 0.02


class Changes:
    """Whether others have committed something to a database."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._database: sqlite3.Connection | None = None

    def version(self) -> int | None:
        """Another number once somebody has committed; None when SQLite cannot tell."""
        with contextlib.suppress(sqlite3.Error):
            # Opened here: a connection must not be taken through a fork.
            self._database = self._database or sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
            return self._database.execute("PRAGMA data_version").fetchone()[0]
        return None

    def wait(self, seconds: float) -> None:
        """Wait until somebody commits, or for so long."""
        deadline, before = time.monotonic() + seconds, self.version()
        time.sleep(min(SHORTEST_SECONDS, seconds))
        while (left := deadline - time.monotonic()) > 0 and self.version() == before:
            time.sleep(min(LOOK_SECONDS, left))


def wake_when_something_is_written(path: str) -> None:
    """Let the scheduler's pauses end with the next commit to this database; how long one is at most it is told."""
    from airflow.jobs import scheduler_job_runner

    scheduler_job_runner.time = SimpleNamespace(**{**vars(time), "sleep": Changes(path).wait})  # type: ignore[attr-defined]
