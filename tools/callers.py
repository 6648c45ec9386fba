"""Callers of the function, while something is done to what they call."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from tools.stack import ROOT, Stack

if TYPE_CHECKING:
    from musher.load.outcome import Outcome, Sample

sys.path.insert(0, str(ROOT / "plugins"))


class Callers:
    """So many calls a second of the function's alias for as long as it is entered, whatever becomes of the ones before.

    What they are answered is held against what was answered before: `bad` has every call that got nothing, or something
    else. `samples` and `at`, the unix seconds when each was due, are there once it has been left.
    """

    def __init__(self, stack: Stack, function: str, pictures: Sequence[bytes], rps: float) -> None:
        from musher.load.targets import LambdaTarget

        def client(service: str, config: Any) -> Any:
            return stack.client(service, config=config)

        self.pictures, self.rps = pictures, rps
        self.target = LambdaTarget(function, "live", client, keep_answer=True)
        self.expected = [_label(self.target(each)) for each in pictures]
        self.samples: list[Sample] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _send(self) -> None:
        from musher.load.generator import run_phase
        from musher.load.schedule import Phase

        lead, most = 0.5, 3600.0
        self._began = time.time() + lead
        phase = Phase(name="callers", kind="rate", rps=self.rps, seconds=most, until="over")
        result = run_phase(
            phase, self.target, self.pictures, until=self._over.is_set, poll_seconds=0.2, lead_seconds=lead
        )
        self.samples = result.samples

    def at(self, sample: Sample) -> float:
        return self._began + sample.due

    def is_wrong(self, sample: Sample) -> bool:
        """Whether it was answered otherwise than before."""
        expected = self.expected[round(sample.due * self.rps) % len(self.pictures)]
        return sample.outcome.status == "succeeded" and _label(sample.outcome) != expected

    @property
    def bad(self) -> list[Sample]:
        return [each for each in self.samples if each.outcome.status != "succeeded" or self.is_wrong(each)]


def _label(outcome: Outcome) -> str | None:
    from musher.release.parity import predictions_in

    found = predictions_in(outcome.answer)
    return found[0][0] if found else None
