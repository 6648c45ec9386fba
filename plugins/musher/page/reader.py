"""What pages show of AWS, read in the background: a request takes what was last read, and has it read again if that is
old.

Each thing is read by one thread at a time and at most once in `every` seconds, however many people look at it; what
nobody looks at is not read at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from musher.errors import UserError

EVERY_SECONDS = 10.0
# How long a request waits for what has never been read, or not for so long that it may well be wrong; no other waits.
PATIENCE_SECONDS = 3.0
OLD_SECONDS = 60.0
AT_ONCE = 4
KEPT = 64

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """What was last read: `value` None before the first time, `at` when that was, `problem` a sentence on why the last
    try to read it again failed, empty if it did not."""

    value: Any = None
    at: dt.datetime | None = None
    problem: str = ""

    @property
    def age_seconds(self) -> float | None:
        return None if self.at is None else (dt.datetime.now(dt.UTC) - self.at).total_seconds()


class _Subject:
    def __init__(self) -> None:
        self.seen = Seen()
        self.began: float | None = None
        self.reading: Future[None] | None = None


class Reader:
    """Reads things by their key, in threads of its own.

    Parameters: `clock` seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._subjects: OrderedDict[Hashable, _Subject] = OrderedDict()
        self._turns = threading.BoundedSemaphore(AT_ONCE)

    async def look(
        self,
        key: Hashable,
        read: Callable[[Any], Any],
        *,
        every: float = EVERY_SECONDS,
        patience: float = PATIENCE_SECONDS,
    ) -> Seen:
        """What is known of a thing; waits as long as `patience` where nothing is known, or nothing but what is old.

        Parameters: `read` is given what it read the time before, None the first time, and runs in a thread; `every` how
        many seconds lie between the beginnings of two readings at least.
        """
        subject = self._asked(key, read, every)
        known = subject.seen.age_seconds
        if subject.reading is not None and (known is None or known > max(OLD_SECONDS, 2 * every)):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(subject.reading)), patience)
        return subject.seen

    def _asked(self, key: Hashable, read: Callable[[Any], Any], every: float) -> _Subject:
        with self._lock:
            subject = self._subjects.setdefault(key, _Subject())
            self._subjects.move_to_end(key)
            while len(self._subjects) > KEPT:
                self._subjects.popitem(last=False)
            now = self._clock()
            due = subject.began is None or now - subject.began >= every
            if due and (subject.reading is None or subject.reading.done()):
                subject.began, subject.reading = now, Future()
                # No pool: its threads would hold up the end of the server for as long as AWS does not answer.
                threading.Thread(target=self._read, args=(key, subject, read), name="musher-page", daemon=True).start()
            return subject

    def _read(self, key: Hashable, subject: _Subject, read: Callable[[Any], Any]) -> None:
        done = subject.reading
        try:
            with self._turns:
                value = read(subject.seen.value)
            subject.seen = Seen(value, dt.datetime.now(dt.UTC))
        except Exception as error:
            subject.seen = replace(subject.seen, problem=_sentence(key, error))
        finally:
            done.set_result(None)


def _sentence(key: Hashable, error: Exception) -> str:
    """Why something could not be read, for a person."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, ClientError):
        told = error.response.get("Error", {})
        return f"AWS refused {error.operation_name}: {told.get('Message') or told.get('Code')}"
    if isinstance(error, BotoCoreError):
        return f"AWS does not answer: {error}"
    log.error("%s could not be read", key, exc_info=error)
    return f"It could not be read ({type(error).__name__}); the API server's log says why."
