"""A gate that calls pass and that a save closes for a moment, so that no call is saved half done."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator


class Shut(Exception):
    """The local AWS is shutting down: no further call is let in."""


class Gate:
    """Lets any number of calls through together, and now and then nobody.

    A thread that is inside may enter again.
    """

    def __init__(self) -> None:
        self._inside = 0
        self._closed = self._shut = False
        self._change = threading.Condition()
        self._own = threading.local()

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """Pass, waiting while the gate is closed. Raises Shut once it is shut for good."""
        depth = getattr(self._own, "depth", 0)
        if not depth:
            with self._change:
                while self._closed:
                    self._change.wait()
                if self._shut:
                    raise Shut
                self._inside += 1
        self._own.depth = depth + 1
        try:
            yield
        finally:
            self._own.depth = depth
            if not depth:
                with self._change:
                    self._inside -= 1
                    self._change.notify_all()

    @contextlib.contextmanager
    def closed(self, patience: float) -> Iterator[bool]:
        """Hold new calls back and wait for those inside: True when there are none left.

        False when some still were after `patience` seconds; it is open again then.
        """
        deadline = time.monotonic() + patience
        with self._change:
            self._closed = True
            while self._inside and time.monotonic() < deadline:
                self._change.wait(max(0.0, deadline - time.monotonic()))
            empty = not self._inside
            if not empty:
                self._open()
        self._own.depth = 1
        try:
            yield empty
        finally:
            self._own.depth = 0
            with self._change:
                self._open()

    def shut(self) -> None:
        """Let no further call in, ever."""
        with self._change:
            self._shut = True

    def _open(self) -> None:
        self._closed = False
        self._change.notify_all()
