"""Work on a frozen copy of this process: a forked child sees everything as it was at one instant.

The copy is the system's own (copy on write), so that this process stands still for the fork alone.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any

MOST_DESCRIPTORS = 1 << 20


class ChildFailed(Exception):
    """The work failed in the child; the message is the error's."""


class Child:
    """A child that does `work` and answers with its result, which JSON has to be able to say.

    The child has one thread, no file but those in `keep`, and must take no lock that another thread may have held:
    it may read any object and write to those files.
    """

    def __init__(self, work: Callable[[], Any], keep: tuple[int, ...]) -> None:
        self._answer, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _run(work, write, keep)
        os.close(write)

    def wait(self, seconds: float) -> Any:
        """The work's result. Raises OSError or ChildFailed with its error; a child that takes longer is killed."""
        deadline, said = time.monotonic() + seconds, b""
        try:
            while True:
                ready, _, _ = select.select([self._answer], [], [], max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise ChildFailed(f"it did not end within {seconds:g} s")
                block = os.read(self._answer, 1 << 16)
                if not block:
                    break
                said += block
        finally:
            os.close(self._answer)
            # Ended already, unless it took too long.
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if not said:
            raise ChildFailed("it ended without an answer")
        answer = json.loads(said)
        if "os_error" in answer:
            raise OSError(*answer["os_error"])
        if "error" in answer:
            raise ChildFailed(answer["error"])
        return answer["result"]


def _run(work: Callable[[], Any], write: int, keep: tuple[int, ...]) -> None:
    """The child's whole life: nothing of its parent's must outlive the parent in it, above all no pipe and no lock."""
    try:
        gc.disable()
        _close_all_but(sorted({write, *keep}))
        answer = {"result": work()}
    except OSError as error:
        # One that was raised with a sentence has no number.
        named = [error.errno, error.strerror, error.filename and os.fsdecode(error.filename)]
        answer = {"os_error": named} if error.errno else {"error": str(error)}
    except BaseException as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    try:
        data = json.dumps(answer).encode()
        while data:
            data = data[os.write(write, data) :]
    finally:
        os._exit(0)


def _close_all_but(kept: list[int]) -> None:
    first = 0
    for descriptor in [*kept, MOST_DESCRIPTORS]:
        os.closerange(first, descriptor)
        first = descriptor + 1
