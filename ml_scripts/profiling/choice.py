"""What is recorded of a training's time, read from the hyperparameter ``profile``.

One text as ``rules`` is, and for the same reason: ``default``, ``aws`` or ``none``, then, after commas, what differs
from that: ``system:200`` (sample the instances every so many milliseconds), ``steps``, ``trace:10`` (keep so many steps
of torch.profiler), each also ``:off``, and rules as ``CPUBottleneck:off`` or ``StepOutlier:n_outliers=5``.
"""

from dataclasses import dataclass

from diagnostics.choice import BASES, Chosen, choose_from
from errors import UserError

from profiling.rule import known_rules

INTERVAL_MS, SHORTEST_MS, LONGEST_MS = 500, 100, 60_000  # AWS: ProfilingIntervalInMilliseconds
TRACE_STEPS, MOST_TRACE_STEPS = 10, 200
PARTS = ("system", "steps", "trace")


@dataclass(frozen=True)
class Recorded:
    """What to record: ``system`` the seconds between two samples, ``trace`` so many steps; 0 and False are nothing."""

    system: float
    steps: bool
    trace: int
    rules: list[Chosen]

    @property
    def on(self) -> bool:
        """Whether there is anything to record."""
        return bool(self.system or self.steps or self.trace)


def choose_profile(text: str) -> Recorded:
    """What ``text`` asks for.

    Raises:
        UserError: naming what it does not know, and what there is.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    base = words.pop(0) if words and words[0] in BASES else "default"
    system, steps, trace = (0, 0, 0) if base == "none" else (INTERVAL_MS, 1, 0)
    rules = []
    for word in words:
        name, _, value = word.partition(":")
        if name == "system":
            system = _number(word, value, INTERVAL_MS, SHORTEST_MS, LONGEST_MS)
        elif name == "steps":
            steps = _number(word, value, 1, 1, 1)
        elif name == "trace":
            trace = _number(word, value, TRACE_STEPS, 1, MOST_TRACE_STEPS)
        else:
            rules.append(word)
    chosen = choose_from(known_rules(), base, rules, "--profile", ("report", "off"), PARTS)
    return Recorded(system / 1000, bool(steps), trace, chosen if system or steps else [])


def _number(word: str, value: str, default: int, low: int, high: int) -> int:
    if value in ("", "off"):
        return 0 if value else default
    if not value.isdecimal() or not low <= int(value) <= high:
        what = f"off, or a whole number from {low} to {high}" if low < high else "off, or nothing behind it"
        raise UserError(f"--profile has {word!r}; behind the colon there must be {what}")
    return int(value)
