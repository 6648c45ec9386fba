"""Step scaling: by how much a policy's steps change a capacity.

Source: Application Auto Scaling user guide, "Step scaling policies for Application Auto Scaling".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from local_aws.errors import validation

KINDS = ("ChangeInCapacity", "PercentChangeInCapacity", "ExactCapacity")


def check(config: Mapping[str, Any]) -> None:
    """Raise AwsError for a StepScalingPolicyConfiguration that says not for each breach what to do."""
    kind, steps = config.get("AdjustmentType"), config.get("StepAdjustments")
    if kind not in KINDS:
        raise validation(f"AdjustmentType must be one of {', '.join(KINDS)} for a step scaling policy, not {kind}.")
    if not steps:
        raise validation("StepAdjustments must have at least one step for a step scaling policy.")
    if config.get("MinAdjustmentMagnitude") is not None and kind != "PercentChangeInCapacity":
        raise validation(f"MinAdjustmentMagnitude goes with the AdjustmentType PercentChangeInCapacity, not {kind}.")
    # API reference, StepAdjustment: "For exact capacity, you must specify a non-negative value."
    least = min(step["ScalingAdjustment"] for step in steps)
    if least < 0 and kind == "ExactCapacity":
        raise validation(f"ScalingAdjustment of an ExactCapacity must be 0 or more, not {least}.")
    before: float | None = None
    for number, (low, high) in enumerate(sorted(_bounds(step) for step in steps)):
        if low >= high:
            raise validation(f"MetricIntervalLowerBound must be less than MetricIntervalUpperBound, not {low:g} and "
                             f"{high:g}.")  # fmt: skip
        if number and low != before:
            what = "overlap" if low < before else "leave a gap"
            raise validation(
                f"The steps of StepAdjustments {what}: one ends at {before:g}, the next begins at {low:g}."
            )
        before = high


def changed(config: Mapping[str, Any], current: int, breach: float) -> int:
    """What a capacity should be; it is not bounded here.

    Parameters
    ----------
    current
        The capacity before.
    breach
        How far the metric is above the alarm's threshold; negative below it.
    """
    step = next((each for each in config["StepAdjustments"] if _holds(each, breach)), None)
    if step is None:
        return current
    amount, kind = step["ScalingAdjustment"], config["AdjustmentType"]
    if kind == "ExactCapacity":
        return amount
    if kind == "PercentChangeInCapacity":
        share = current * amount / 100
        # Towards zero, but never to nothing.
        rounded = int(share) if abs(share) >= 1 else math.copysign(1, share) if share else 0
        least = config.get("MinAdjustmentMagnitude") or 0
        amount = int(math.copysign(max(abs(rounded), least), share)) if share else 0
    return current + amount


def _bounds(step: Mapping[str, Any]) -> tuple[float, float]:
    low, high = step.get("MetricIntervalLowerBound"), step.get("MetricIntervalUpperBound")
    return -math.inf if low is None else low, math.inf if high is None else high


def _holds(step: Mapping[str, Any], breach: float) -> bool:
    """Above the threshold the lower bound belongs to a step, below it the upper one."""
    low, high = _bounds(step)
    return low <= breach < high if breach >= 0 else low < breach <= high
