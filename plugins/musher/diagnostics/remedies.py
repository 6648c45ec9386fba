"""Which rule ended a job, and what is changed for the next one: told from the jobs themselves, which AWS keeps.

So a task that is tried again, on another worker, finds the same attempts and the same remedies, and makes no more of
them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from musher.diagnostics.rules import OUT_OF_MEMORY, RETRY, SCRIPT_DEFAULTS, Tried, changes, in_vain
from musher.record import Remedy

# What train.py's sentence begins with; AWS puts AlgorithmError: before it, the local AWS the exit code after it.
PREFIX = "DiagnosticRule"
_FIRED = re.compile(rf"{PREFIX} (\w+): (.+?)(?:, exit code: \d+)?$", re.DOTALL)
# AWS's own words for an instance that had too little, torch's, and the exit status of what the kernel killed.
_NO_MEMORY = re.compile(
    r"OutOfMemory|out of memory|can't allocate memory|instance type with more memory|exit code:? 137|SIGKILL"
)
_STEP = re.compile(r"\(step (\d+)\)$")


@dataclass(frozen=True)
class Fired:
    """The rule that ended a job, and its sentence for a person."""

    rule: str
    sentence: str

    @property
    def step(self) -> int | None:
        return _step(self.sentence)


def fired(reason: str | None) -> Fired | None:
    """The rule that a job's FailureReason names; None where it failed for another reason."""
    reason = (reason or "").strip()
    if found := _FIRED.search(reason):
        return Fired(found[1], f"{PREFIX} {found[1]}: {found[2].strip()}")
    if _NO_MEMORY.search(reason):
        return Fired(OUT_OF_MEMORY, f"{PREFIX} {OUT_OF_MEMORY}: {reason}")
    return None


@dataclass(frozen=True)
class Course:
    """Where the attempts at one step stand.

    `values` what the next job is told; `remedies` those taken so far, by the job that they followed; `in_vain` the
    newest of them, where the job after it was ended as the one before.
    """

    values: dict[str, str]
    remedies: dict[str, Remedy]
    in_vain: Remedy | None = None


def course(
    values: Mapping[str, str],
    ended: Iterable[Mapping[str, Any]],
    on_issue: Mapping[str, str],
    max_remedies: int,
    instances: int,
) -> Course:
    """What the attempts so far make of the hyperparameters.

    Parameters: `values` those of the first attempt; `ended` the descriptions (DescribeTrainingJob) of those that have
    ended, in order. An attempt that failed for another reason, or was stopped by a person, is repeated as it was. A
    remedy that has left things as they were is not taken again.
    """
    values, remedies, newest = dict(values), {}, None
    for each in ended:
        found = fired(each.get("FailureReason")) if each["TrainingJobStatus"] == "Failed" else None
        if not found or on_issue.get(found.rule) != RETRY or len(remedies) >= max_remedies:
            continue
        before = [each.rule for each in remedies.values()]
        if changed := changes(found.rule, values, instances, before):
            pairs = {name: (values.get(name, SCRIPT_DEFAULTS[name]), value) for name, value in changed.items()}
            remedy = Remedy(rule=found.rule, changed=pairs, sentence=found.sentence)
            if newest and in_vain(_tried(newest), _tried(remedy)):
                return Course(values, remedies, newest)
            remedies[each["TrainingJobName"]] = newest = remedy
            values |= changed
    return Course(values, remedies)


def _tried(remedy: Remedy) -> Tried:
    return Tried(remedy.rule, _step(remedy.sentence), frozenset(remedy.changed))


def _step(sentence: str) -> int | None:
    found = _STEP.search(sentence)
    return int(found[1]) if found else None


def words(remedy: Remedy) -> str:
    """`lr 0.1 instead of 1`, for a person."""
    return ", ".join(
        f"{name} {_short(after)} instead of {_short(before)}" for name, (before, after) in remedy.changed.items()
    )


def _short(value: str) -> str:
    """A rate that a search has drawn has more digits than anybody wants to read."""
    try:
        return f"{float(value):.3g}" if "." in value else value
    except ValueError:
        return value


def why_no_more(course: Course, max_remedies: int) -> str:
    """Why a job that a rule has ended has no remedy (any more), for a person."""
    if vain := course.in_vain:
        return (
            f"A remedy has changed nothing ({words(vain)}), and is not tried again: what {vain.rule} finds comes of "
            "the code or of the data, and is to be mended there."
        )
    if (taken := len(course.remedies)) >= max_remedies:
        return f"max_remedies is {max_remedies}, and {taken} were tried."
    return "There is nothing left to change about it."


def why_too_dear(spent: float, expected: float, max_cost_usd: float) -> str | None:
    """Why another job, expected to cost so many USD, is not started; None where it may be."""
    if spent + expected <= max_cost_usd:
        return None
    return (
        f"No remedy was tried: another job is expected to cost {expected:.3g} USD, {spent:.3g} are spent, and "
        f"max_cost_usd is {max_cost_usd:g}."
    )
