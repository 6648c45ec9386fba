"""What is to be sent, and when."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One stretch of a load test: either bursts of simultaneous calls or a constant rate.

    Parameters
    ----------
    kind:
        `bursts`: `size` simultaneous calls every `interval_seconds`, `count` times; the second burst waits
        `settle_seconds` longer (the first one may start new environments).
        `rate`: `rps` calls a second, evenly spaced, for `seconds`; zero is allowed, and means waiting.
    until:
        Name of a condition that ends a `rate` phase before `seconds` have passed (see `generator.run_phases`).
    hold_seconds:
        How long a `rate` phase goes on once its condition is met.

    Raises
    ------
    ValueError
        A field the kind needs is missing or out of range; the sentence names it.
    """

    name: str
    kind: Literal["bursts", "rate"]
    size: int = 0
    interval_seconds: float = 0.0
    count: int = 0
    settle_seconds: float = 0.0
    rps: float = 0.0
    seconds: float = 0.0
    until: str | None = None
    hold_seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.kind == "bursts":
            wanted = {"size": self.size >= 1, "interval_seconds": self.interval_seconds > 0, "count": self.count >= 1}
        else:
            wanted = {"rps": self.rps >= 0, "seconds": self.seconds > 0, "hold_seconds": self.hold_seconds >= 0}
        for field, right in wanted.items():
            if not right:
                least = "0 or more" if field in ("rps", "hold_seconds") else "more than 0"
                raise ValueError(
                    f"phase {self.name}: {field} is {getattr(self, field)}; a {self.kind} phase needs {least}"
                )

    @property
    def offered_rps(self) -> float:
        """Requests per second while the phase lasts; for bursts, the mean over the interval."""
        return self.size / self.interval_seconds if self.kind == "bursts" else self.rps

    @property
    def offered_concurrency(self) -> int | None:
        """Calls that leave at the same moment; None for a constant rate, which promises no concurrency."""
        return self.size if self.kind == "bursts" else None

    @property
    def limit_seconds(self) -> float:
        """How long the schedule lasts at most."""
        return self.settle_seconds + self.count * self.interval_seconds if self.kind == "bursts" else self.seconds

    def offsets(self) -> Iterator[float]:
        """Seconds from the phase's start at which each request is due, ascending."""
        if self.kind == "bursts":
            starts = (
                burst * self.interval_seconds + min(burst, 1) * self.settle_seconds for burst in range(self.count)
            )
            return (start for start in starts for _ in range(self.size))
        if self.rps == 0:
            return iter(())
        return itertools.takewhile(lambda due: due < self.seconds, (index / self.rps for index in itertools.count()))

    def promised(self, seconds: float) -> int:
        """Number of requests that were due in the first `seconds` of the phase."""
        return sum(1 for _ in itertools.takewhile(lambda due: due <= seconds, self.offsets()))
