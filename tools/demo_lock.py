"""One demo at a time: a lock that its holder's death releases."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DemoRunning(Exception):
    """Another demo holds the lock; the message says which."""


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the lock at `path` while the block runs. Raises DemoRunning, and then has touched nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemoRunning(f"Another demo is running ({_holder(path)}); wait for its end or stop it.") from None
        lock.truncate(0)
        lock.write(json.dumps({"pid": os.getpid(), "since": time.strftime("%H:%M")}))
        lock.flush()
        yield
        lock.truncate(0)


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        return f"process {holder['pid']}, since {holder['since']}"
    except (OSError, ValueError, KeyError):
        return "it started this moment"
