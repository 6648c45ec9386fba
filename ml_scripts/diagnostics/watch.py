"""Notices from beside the training that it no longer moves."""

import threading
import time
from collections.abc import Callable

from diagnostics.rules.stalled_training import NAME
from diagnostics.session import Diagnostics

# How often it looks, as a share of the time that a training may stand still.
LOOKS = 20
LONGEST_SECONDS = 30.0


class Watch:
    """A thread that looks whether a training moves, while the block lasts.

    Args:
        end: ends the process with a sentence, from any thread.
    """

    def __init__(self, diagnostics: Diagnostics, end: Callable[[str], None]):
        self.diagnostics, self.end = diagnostics, end
        thresholds = [each.parameters["threshold"] for each in diagnostics.chosen if each.rule.name == NAME]
        self.seconds = min(thresholds, default=0.0)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="diagnostics", daemon=True)

    def __enter__(self) -> "Watch":
        if self.seconds:
            self.diagnostics.moved()
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self.seconds:
            self._thread.join()

    def _look(self) -> None:
        step = self.diagnostics.seen.step
        while not self._over.wait(min(self.seconds / LOOKS, LONGEST_SECONDS)):
            if step != (step := self.diagnostics.seen.step):
                self.diagnostics.moved()
            idle = time.monotonic() - self.diagnostics.moved_at
            if idle >= self.seconds and (sentence := self.diagnostics.stalled(idle)):
                self.end(sentence)
                return
