"""CloudWatch's alarms: how the last datapoints become a state.

AWS: CloudWatch user guide, "Alarm evaluation" and "Configuring how CloudWatch alarms treat missing data".
"""

from __future__ import annotations

import datetime as dt
import json
import operator
from dataclasses import dataclass, field
from typing import Any

from local_aws.metrics import Key, Metrics

COMPARISONS = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
KEPT_HISTORY = 100


@dataclass
class Alarm:
    """One metric alarm. `scale` multiplies its datapoints before they are compared: see ApplicationAutoScaling."""

    name: str
    arn: str
    settings: dict[str, Any]
    key: Key
    scale: float = 1.0
    state: str = "INSUFFICIENT_DATA"
    reason: str = "Unchecked: Initial alarm creation"
    updated: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    configured: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    history: list[dict[str, Any]] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)
    """The datapoints of the last evaluation, newest first, None where there was none."""

    def describe(self) -> dict[str, Any]:
        return self.settings | {
            "AlarmName": self.name,
            "AlarmArn": self.arn,
            "StateValue": self.state,
            "StateReason": self.reason,
            "StateUpdatedTimestamp": self.updated,
            "StateTransitionedTimestamp": self.updated,
            "AlarmConfigurationUpdatedTimestamp": self.configured,
        }

    def record(self, kind: str, summary: str, data: dict[str, Any]) -> None:
        self.history.append(
            {
                "AlarmName": self.name,
                "AlarmType": "MetricAlarm",
                "Timestamp": dt.datetime.now(dt.UTC),
                "HistoryItemType": kind,
                "HistorySummary": summary,
                "HistoryData": json.dumps(data),
            }
        )
        del self.history[:-KEPT_HISTORY]

    def become(self, state: str, reason: str) -> None:
        """Enter a state; the history gets an item when it is another one."""
        if state != self.state:
            before, self.updated = self.state, dt.datetime.now(dt.UTC)
            self.record(
                "StateUpdate",
                f"Alarm updated from {before} to {state}",
                {"oldState": {"stateValue": before}, "newState": {"stateValue": state, "stateReason": reason}},
            )
        self.state, self.reason = state, reason

    def evaluate(self, metrics: Metrics, now: float) -> None:
        """Judge the periods that are over at `now` (Unix seconds)."""
        settings = self.settings
        period = settings.get("Period") or 60
        length = metrics.clock.real(max(10, -(-period // 10) * 10))
        end = int(now / length + 1e-6) * length
        wanted = settings["EvaluationPeriods"]
        statistic = settings.get("ExtendedStatistic") or settings.get("Statistic") or "Average"
        found = {
            round(point.start / length): self.scale * point.bucket.statistic(statistic)
            for point in metrics.points(self.key, period, end - wanted * length, end, settings.get("Unit"))
        }
        newest = round(end / length) - 1
        self.values = [found.get(newest - age) for age in range(wanted)]
        self._judge()

    def _judge(self) -> None:
        settings = self.settings
        treatment = settings.get("TreatMissingData") or "missing"
        needed = settings.get("DatapointsToAlarm") or settings["EvaluationPeriods"]
        breaches = COMPARISONS[settings["ComparisonOperator"]]
        threshold = settings["Threshold"]
        present = [value for value in self.values if value is not None]
        missing = len(self.values) - len(present)
        if not present and treatment == "missing":
            self.become("INSUFFICIENT_DATA", f"Insufficient Data: {missing} datapoints were unknown.")
            return
        if not present and treatment == "ignore":
            return
        count = sum(breaches(value, threshold) for value in present)
        if treatment == "breaching":
            count += missing
        elif treatment in ("missing", "ignore") and missing and 0 < count < needed and count == len(present):
            # Too few datapoints to say either: the state is kept until there are enough.
            return
        shown = ", ".join(f"{value:g}" for value in present)
        if count >= needed:
            self.become(
                "ALARM", f"Threshold Crossed: {count} datapoints [{shown}] crossed the threshold ({threshold:g})."
            )
        else:
            self.become(
                "OK",
                f"Threshold Crossed: {count} of {needed} datapoints [{shown}] crossed the threshold ({threshold:g}).",
            )
