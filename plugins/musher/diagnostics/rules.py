"""The rules of ml_scripts/diagnostics as a run is told about them: which there are, and what may be done about each.

A rule of one's own is evaluated and reported without being named here; a line in RULES lets a run act on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from musher.diagnostics import parameters
from musher.diagnostics.parameters import BASES, OF_RULES, nearest

REPORT, STOP, NOTIFY, RETRY = "report", "stop", "notify", "retry"
ON_ISSUE = (REPORT, STOP, NOTIFY, RETRY)

# What a job is told, as train.py's --rules has it.
JOB_STOPS, JOB_ENDS, JOB_OFF = "stop", "end", "off"

LOWER_RATE, OTHER_SEED, FEWER_EPOCHS, LESS_AT_ONCE = "lower rate", "other seed", "fewer epochs", "less at once"
OF_THE_DATA, NO_REMEDY = "of the data", "no remedy"

# No rule of the script's: it is what a job says that ran out of memory.
OUT_OF_MEMORY = "OutOfMemory"

# Each rule, and its remedy, or why it has none.
RULES = {
    "AllZero": OTHER_SEED,
    "CheckInputImages": OF_THE_DATA,
    "ClassImbalance": OF_THE_DATA,
    "Confusion": OF_THE_DATA,
    "DeadRelu": LOWER_RATE,
    "ExplodingTensor": LOWER_RATE,
    "LargeBatch": NO_REMEDY,
    "LeakedValidation": OF_THE_DATA,
    "LossNotDecreasing": LOWER_RATE,
    OUT_OF_MEMORY: LESS_AT_ONCE,
    "Overfit": NO_REMEDY,
    "Overtraining": FEWER_EPOCHS,
    "PoorWeightInitialization": OTHER_SEED,
    "SaturatedActivation": NO_REMEDY,
    "StalledTrainingRule": NO_REMEDY,
    "UnchangedTensor": NO_REMEDY,
    "VanishingGradient": NO_REMEDY,
    "WeightUpdateRatio": LOWER_RATE,
}

# Rules with a lower rate as their remedy that look at what there is before a step changes the weights.
SEEN_BEFORE_AN_UPDATE = ("DeadRelu",)

RATE_FACTOR = 10
# What train.py takes for what it is not told.
SCRIPT_DEFAULTS = {"lr": "0.001", "seed": "0", "batch-size": "32", "accumulation": "1"}


def allowed(rule: str) -> tuple[str, ...]:
    """What may be done about an issue of a rule. A job without memory has ended already: it cannot but report."""
    retried = RULES[rule] not in (OF_THE_DATA, NO_REMEDY)
    if rule == OUT_OF_MEMORY:
        return (STOP, NOTIFY, RETRY)
    return ON_ISSUE if retried else (REPORT, STOP, NOTIFY)


def schema() -> dict[str, object]:
    """The JSON schema of `on_issue`, for the trigger form."""
    properties = {rule: {"type": "string", "enum": list(allowed(rule))} for rule in RULES}
    return {"properties": properties, "additionalProperties": False}


def check_on_issue(on_issue: Mapping[str, str]) -> None:
    """Raises ValueError with one sentence on the first rule or action that there is not."""
    for rule, action in on_issue.items():
        if rule not in RULES:
            raise ValueError(f"on_issue names the rule {rule!r}; {nearest(rule, tuple(RULES))}")
        if action == RETRY and RULES[rule] == OF_THE_DATA:
            raise ValueError(
                f"on_issue.{rule} is 'retry'; it has to be {_or(allowed(rule))}: the rule is about the data, and a "
                "remedy would hide what is wrong with it."
            )
        if action == RETRY and RULES[rule] == NO_REMEDY:
            raise ValueError(
                f"on_issue.{rule} is 'retry'; it has to be {_or(allowed(rule))}: no remedy is known for it."
            )
        if action not in allowed(rule):
            raise ValueError(f"on_issue.{rule} is {action!r}; it has to be {_or(allowed(rule))}.")


def check_rules(rules: str, on_issue: Mapping[str, str]) -> None:
    """Check the text `rules`: `default`, `aws` or `none`, then rules with parameters, or off.

    Raises ValueError with one sentence on the first thing that the script would not take.
    """
    words = rules.split(",")
    for place, word in enumerate(words):
        name, *settings = word.split(":")
        if place == 0 and name in BASES and not settings:
            continue
        if name not in OF_RULES:
            raise ValueError(f"rules has {name!r}; {nearest(name, (*BASES, *OF_RULES))}")
        for setting in settings:
            if setting in (REPORT, JOB_STOPS, JOB_ENDS, *ON_ISSUE):
                raise ValueError(f"rules has {setting!r} for {name}; what follows an issue is told in on_issue.")
            if setting != JOB_OFF:
                parameters.check_parameter("rules", name, setting, OF_RULES[name])
            elif on_issue.get(name, REPORT) != REPORT:
                raise ValueError(f"on_issue.{name} is {on_issue[name]!r}, and rules turns {name} off: leave one out.")


def for_a_job(rules: str, on_issue: Mapping[str, str], *, trial: bool = False) -> str:
    """The hyperparameter `rules` of a job. A trial that would be stopped ends early, with the best objective it had;
    so does a training that has been going on for too long."""
    words = [rules]
    for rule, action in sorted(on_issue.items()):
        if action in (STOP, RETRY) and rule != OUT_OF_MEMORY:
            ends = trial or (action == RETRY and RULES[rule] == FEWER_EPOCHS)
            words.append(f"{rule}:{JOB_ENDS if ends else JOB_STOPS}")
    return ",".join(words)


def changes(rule: str, values: Mapping[str, str], instances: int, before: Iterable[str] = ()) -> dict[str, str] | None:
    """The hyperparameters that are the remedy for a rule; None where there is none (any more).

    Parameters: `before` the rules whose remedies were taken before. Where the rate was too high a moment ago, weights
    that look as if they had begun badly were more likely spoilt by what is left of it than drawn badly.
    """
    kind, told = RULES.get(rule), {**SCRIPT_DEFAULTS, **values}
    if kind == OTHER_SEED and any(RULES[each] == LOWER_RATE for each in before):
        kind = LOWER_RATE
    if kind == LOWER_RATE:
        return {"lr": f"{float(told['lr']) / RATE_FACTOR:.6g}"}
    if kind == OTHER_SEED:
        return {"seed": str(int(told["seed"]) + 1)}
    if kind == LESS_AT_ONCE:
        parts = 2 * int(told["accumulation"])
        return {"accumulation": str(parts)} if parts * instances <= int(told["batch-size"]) else None
    # What went on for too long has ended by itself and kept its best epoch: fewer epochs need no other job.
    return None


class Tried(NamedTuple):
    """A remedy: the rule and the step at which it found something, and the hyperparameters that were changed for it."""

    rule: str
    step: int | None
    changed: frozenset[str]


def in_vain(taken: Tried, again: Tried) -> bool:
    """Whether a remedy that was taken has left things as they were, so that it would do so again.

    That is so of another seed where the same rule has found something at the same step: chance has no part in it. A
    rate is lowered by steps, of which the first ones may be too few; but no rate is the reason for what there is at the
    first step, unless it is about the step itself.
    """
    if taken != again:
        return False
    return "seed" in again.changed or (again.rule in SEEN_BEFORE_AN_UPDATE and again.step == 1)


def _or(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
