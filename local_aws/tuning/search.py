"""Which values a trial gets: random and Bayesian search by optuna, and grid search.

optuna takes half a second to import and most daemons never tune: it is imported by the first tuning job. Its grid
sampler insists on running the trials itself, and a grid needs no sampler.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from local_aws.errors import validation

LOGARITHMIC = {"Logarithmic", "ReverseLogarithmic"}


def check(strategy: str, ranges: Mapping[str, Any]) -> None:
    """What AWS refuses in ParameterRanges. Raises AwsError("ValidationException")."""
    for kind, convert in (("ContinuousParameterRanges", float), ("IntegerParameterRanges", int)):
        for each in ranges.get(kind) or ():
            low, high = each["MinValue"], each["MaxValue"]
            try:
                lowest, highest = convert(low), convert(high)
            except ValueError:
                raise validation(f"The range of {each['Name']} must be numbers, not {low!r} to {high!r}.") from None
            if lowest >= highest:
                raise validation(
                    f"Invalid range for hyperparameter {each['Name']}: MinValue {low} must be below MaxValue {high}."
                )
            if each.get("ScalingType") in LOGARITHMIC and lowest <= 0:
                raise validation(f"Logarithmic scaling of {each['Name']} needs a MinValue above 0, not {low}.")
    names = [each["Name"] for found in ranges.values() if isinstance(found, list) for each in found]
    if not names:
        raise validation("ParameterRanges must have at least one range.")
    if len(set(names)) < len(names):
        raise validation("A hyperparameter may have one range only.")
    if strategy == "Grid" and (ranges.get("ContinuousParameterRanges") or ranges.get("IntegerParameterRanges")):
        raise validation("Grid search takes CategoricalParameterRanges only.")


def grid_size(ranges: Mapping[str, Any]) -> int:
    """How many combinations a grid has."""
    return math.prod(len(each["Values"]) for each in ranges.get("CategoricalParameterRanges") or ())


def grid(ranges: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Every combination of the categorical ranges' values."""
    categorical = ranges.get("CategoricalParameterRanges") or ()
    names = [each["Name"] for each in categorical]
    for values in itertools.product(*(each["Values"] for each in categorical)):
        yield dict(zip(names, values, strict=True))


class Search:
    """Suggests values and learns from results."""

    def __init__(self, strategy: str, ranges: Mapping[str, Any], objective: str, seed: int | None) -> None:
        self.ranges = ranges
        self._grid: Iterator[dict[str, str]] | None = None
        if strategy == "Grid":
            self._grid = grid(ranges)
            return
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        if strategy == "Bayesian":
            # Trials that run at the same time must not all be the same guess.
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=3, constant_liar=True)
        else:
            sampler = optuna.samplers.RandomSampler(seed=seed)
        direction = "minimize" if objective == "Minimize" else "maximize"
        self._study = optuna.create_study(direction=direction, sampler=sampler)
        self._trials: dict[str, Any] = {}

    def suggest(self, job: str) -> dict[str, str]:
        """The values of a new trial, as the strings that hyperparameters are."""
        if self._grid is not None:
            return next(self._grid)
        trial = self._study.ask()
        self._trials[job] = trial
        values: dict[str, str] = {}
        for each in self.ranges.get("ContinuousParameterRanges") or ():
            log = each.get("ScalingType") in LOGARITHMIC
            value = trial.suggest_float(each["Name"], float(each["MinValue"]), float(each["MaxValue"]), log=log)
            values[each["Name"]] = repr(value)
        for each in self.ranges.get("IntegerParameterRanges") or ():
            log = each.get("ScalingType") in LOGARITHMIC
            value = trial.suggest_int(each["Name"], int(each["MinValue"]), int(each["MaxValue"]), log=log)
            values[each["Name"]] = str(value)
        for each in self.ranges.get("CategoricalParameterRanges") or ():
            values[each["Name"]] = trial.suggest_categorical(each["Name"], each["Values"])
        return values

    def learn(self, job: str, value: float | None) -> None:
        """Take a finished trial's objective; None for one that has none (failed, stopped before it had any)."""
        if self._grid is not None:
            return
        import optuna

        if value is None:
            self._study.tell(self._trials[job], state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(self._trials[job], value)


def should_stop_early(series: list[float], finished: list[list[float]], minimise: bool) -> bool:
    """Whether a running trial is worse than the median of the finished ones' running averages at the same step.

    Source: SageMaker developer guide, "Stop Training Jobs Early": the objective is compared with the median of the
    running averages of the objective of the earlier training jobs up to the same epoch.
    """
    step = len(series)
    comparable = [sum(each[:step]) / step for each in finished if len(each) >= step]
    if step == 0 or not comparable:
        return False
    ordered = sorted(comparable)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return series[-1] > median if minimise else series[-1] < median
