"""How much of a rehearsal a deployment needed, and what is remembered of one that passed."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from musher.record.part import Entry, Part
from musher.record.serving import Capacity


class PassedRehearsal(Entry):
    """A full rehearsal that passed: an equal one needs no second measurement of capacity, scaling and load.

    `facts` are what has to be equal (musher.release.rehearsal.facts); `run` is the folder of the record that has its
    load test, `package_arn` the model that was rehearsed, `passed_at` ISO 8601, UTC.
    """

    facts: dict[str, Any]
    run: str
    package_arn: str
    passed_at: str
    capacity: Capacity

    @property
    def named(self) -> str:
        """What a person finds it by."""
        package = self.package_arn.partition(":model-package/")[2] or self.package_arn
        return f"that of {package}, which passed on {self.passed_at} (run {self.run})"


class Rehearsal(Part):
    """What is tried out before a model takes calls, and `why`, in whole sentences.

    `stack` where; `extent` "full", "short" (smoke test, parity and latency; the rest as in the rehearsal `before`) or
    "none"; `concurrency` False where the account has no room for a second reserve, and calls at once were not tried.
    `facts` as in PassedRehearsal, empty where they are not known: such a rehearsal is not remembered.
    """

    NAME: ClassVar[str] = "rehearsal"

    stack: Literal["production", "rehearsal"]
    extent: Literal["full", "short", "none"]
    why: str
    concurrency: bool = True
    facts: dict[str, Any] = {}
    before: PassedRehearsal | None = None
