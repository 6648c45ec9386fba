"""What a person may choose about the rules that watch a training: the same fields wherever something is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from musher.config.fields import option
from musher.diagnostics import parameters, rules

# Jobs that these end have failed anyway, whatever is to be done about it.
DEFAULT_ON_ISSUE = {"ExplodingTensor": rules.RETRY, rules.OUT_OF_MEMORY: rules.RETRY}


def on_issue_option() -> Any:
    """`on_issue`: rule to action."""
    retried = ", ".join(rule for rule in rules.RULES if rules.RETRY in rules.allowed(rule))
    others = ", ".join(rule for rule in rules.RULES if rules.RETRY not in rules.allowed(rule))
    return option(
        DEFAULT_ON_ISSUE,
        "Diagnostics",
        "On issue",
        "What to do when a rule finds something, rule by rule, as a JSON object like "
        '`{"ClassImbalance": "stop", "Overfit": "notify", "WeightUpdateRatio": "retry"}`; what is not named reports. '
        "`report`: it is on the report. `stop`: the job ends there and the task fails with the rule's sentence; a "
        "trial of a tuning job ends early and keeps its best epoch. `notify`: the SNS topic of the Variable is told "
        "while the job goes on. `retry`: as `stop`, and the job is run again with a remedy: a tenth of the learning "
        "rate, another seed, half as many pictures at once; a training that goes on for too long just ends, with its "
        f"best epoch. `retry` is there for {retried}. Without it, since a remedy would hide bad data or there is "
        f"none: {others}.",
        schema=rules.schema(),
    )


def max_remedies_option() -> Any:
    """`max_remedies`."""
    return option(
        3,
        "Diagnostics",
        "Remedies",
        "At most so many jobs with a remedy follow a job that a rule has ended, and none that would take the run above "
        "`max_cost_usd`.",
        ge=0,
        le=10,
    )


def check(on_issue: Mapping[str, str], rules_text: str = "default", profile: str = "default") -> None:
    """Raises ValueError with one sentence on the first thing that is wrong."""
    rules.check_on_issue(on_issue)
    rules.check_rules(rules_text, on_issue)
    parameters.check_profile(profile)
