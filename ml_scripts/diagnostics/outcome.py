"""What has become of a rule, and how diagnostics.json says it."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from diagnostics.choice import Chosen
from diagnostics.rule import Issue
from diagnostics.statistics import Sample, Statistics

STATUS_DETAILS_LIMIT = 1024  # AWS: DebugRuleEvaluationStatus


@dataclass
class Outcome:
    """What has become of a rule; ``status`` is one of AWS's RuleEvaluationStatus, ``since`` Unix seconds."""

    status: str = "InProgress"
    details: str = ""
    issue: Issue | None = None
    since: float = 0.0


def described(chosen: Chosen, outcome: Outcome) -> dict[str, Any]:
    """A rule in diagnostics.json; times are Unix seconds, what is no finite number is null."""
    issue = outcome.issue
    return {
        "rule": chosen.rule.name,
        "status": outcome.status,
        "status_details": outcome.details[:STATUS_DETAILS_LIMIT],
        "last_modified_time": round(outcome.since, 3),
        "action": chosen.action,
        "parameters": {name: _finite(value) for name, value in chosen.parameters.items()},
        "issue": issue and {"step": issue.step, "value": _finite(issue.value), "threshold": _finite(issue.threshold)},
    }


def curves(sample: Sample) -> dict[str, float | int | None]:
    """A sampled step in diagnostics.json: the mean of all tensors' gradients, the largest ratio of update to weight."""
    parameters = sample.parameters
    ratios = [each.update_norm / each.weight_norm for each in parameters if each.weight_norm]
    return {
        "step": sample.step,
        "epoch": sample.epoch,
        "loss": _finite(sample.loss),
        "gradient_mean": _finite(sum(each.gradient_mean for each in parameters) / len(parameters)),
        "update_ratio": _finite(max(ratios, default=0.0)),
    }


def written(
    chosen: list[Chosen], outcomes: dict[str, Outcome], seen: Statistics, ended_by: str | None
) -> dict[str, Any]:
    """diagnostics.json: what has become of each rule, and what they had to go by."""
    return {
        "rules": [described(each, outcomes[each.rule.name]) for each in chosen],
        "trained": seen.trained,
        "planned_epochs": seen.planned_epochs,
        "steps_per_epoch": seen.steps_per_epoch,
        "ended_by": ended_by,
        "inputs": seen.inputs and asdict(seen.inputs),
        "epochs": seen.epochs,
        "steps": [curves(sample) for sample in seen.samples],
    }


def _finite(value: Any) -> Any:
    return value if not isinstance(value, float) or math.isfinite(value) else None
