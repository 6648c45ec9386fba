"""EC2 Instance Connect's keys on one instance: a key that was sent can be used for a minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

SECONDS = 60.0


class ActiveKeys:
    """Public keys in OpenSSH's form, each for one user and for `SECONDS` from when it was sent.

    `now` is a clock in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._keys: list[tuple[float, str, str]] = []
        self._lock = threading.Lock()

    def let_in(self, user: str, public_key: str) -> None:
        with self._lock:
            self._keys = [each for each in self._keys if each[0] > self._now()]
            self._keys.append((self._now() + SECONDS, user, public_key.strip()))

    def of(self, user: str) -> list[str]:
        """The keys that let a user in now."""
        with self._lock:
            return [key for until, whose, key in self._keys if whose == user and until > self._now()]
