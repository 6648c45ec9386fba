"""Whether a new model is good enough to be deployed: a pure decision on evaluations, with the reason in words.

An evaluation is what evaluate.py writes: `accuracy`, `images`, `classes`, `per_class: [{label, images, accuracy}]`...
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from musher import record
from musher.config import TrainingConfig

_ROUNDING = 1e-9  # 0.90 - 0.88 is a little more than 0.02 in floating point

Evaluation = Mapping[str, Any]


def quality_gate(candidate: Evaluation, in_service: Evaluation | None, config: TrainingConfig) -> dict[str, Any]:
    """Compare a candidate with the floors, and with the model in service on the same test pictures.

    Parameters: `in_service` None when nothing is deployed, `{"left_out": why}` for a model that could not be measured.
    That one, and one that knows other classes, cannot be compared: the floors decide then, and the reason says so.
    Returns `accepted`, `reason` (a sentence or two) and `checks` [{name, passed, measured, required}]. Raises
    ValueError when the two were not measured on the same number of pictures.
    """
    worst = worst_class(candidate)
    checks = [
        _check("accuracy", candidate["accuracy"], config.accuracy_floor),
        _check(f"accuracy of the worst class, {worst['label']}", worst["accuracy"], config.worst_class_floor),
    ]
    note = "Nothing is in service to compare it with."
    if in_service is not None and "left_out" in in_service:
        note = f"The model in service was not compared: {in_service['left_out']}."
    elif in_service is not None and sorted(in_service["classes"]) != sorted(candidate["classes"]):
        note = "The model in service knows other classes, so the two were not compared."
    elif in_service is not None:
        if in_service["images"] != candidate["images"]:
            raise ValueError(
                f"the candidate was measured on {candidate['images']} pictures and the model in service on "
                f"{in_service['images']}; both have to be measured on the same test set."
            )
        note = f"The model in service has {in_service['accuracy']:.4g} on the same pictures."
        required = in_service["accuracy"] - config.max_regression
        checks.append(_check("accuracy beside the model in service", candidate["accuracy"], required))
    failed = [check for check in checks if not check["passed"]]
    if failed:
        words = "; ".join(
            f"{c['name']} is {c['measured']:.4g} and has to be at least {c['required']:.4g}" for c in failed
        )
        return {"accepted": False, "reason": f"Rejected: {words}. {note}", "checks": checks}
    reason = (
        f"Accepted: accuracy {candidate['accuracy']:.4g}, worst class {worst['label']} {worst['accuracy']:.4g}. {note}"
    )
    return {"accepted": True, "reason": reason, "checks": checks}


def worst_class(evaluation: Evaluation) -> dict[str, Any]:
    """The class with the lowest accuracy, among those that have test pictures: {label, images, accuracy}.

    Raises ValueError when none has any.
    """
    measured = [entry for entry in evaluation["per_class"] if entry["images"]]
    if not measured:
        raise ValueError("the evaluation has no class with test pictures.")
    return dict(min(measured, key=lambda entry: entry["accuracy"]))


def best_validated(evaluations: Mapping[str, record.Evaluation]) -> str:
    """The name of the evaluation with the lowest validation loss, of equal ones the first given.

    The test set must not choose: it judges the chosen one, and says less of a model that was picked by it.
    """
    return min(evaluations, key=lambda name: evaluations[name].validation.loss)


def _check(name: str, measured: float, required: float) -> dict[str, Any]:
    return {"name": name, "passed": measured >= required - _ROUNDING, "measured": measured, "required": required}
