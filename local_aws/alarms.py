"""CloudWatch's alarms: how the last datapoints, or the states of other alarms, become a state.

AWS: CloudWatch user guide, "Alarm evaluation", "Create a composite alarm" and "Configuring how CloudWatch alarms treat
missing data".
"""

from __future__ import annotations

import datetime as dt
import json
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from local_aws import alarm_rules
from local_aws.alarm_suppression import SUPPRESSOR, Suppression, named
from local_aws.clock import Clock
from local_aws.metrics import Key, Metrics

COMPARISONS = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
KEPT_HISTORY = 100
# AWS looks at more periods than EvaluationPeriods, so that a late datapoint makes no difference. How many it does not
# say; in its examples it is five for three. An alarm of one period has no more here: one that treats missing data as
# breaching is on a period after they have stopped.
MORE_PERIODS = 2


@dataclass
class Alarm:
    """One metric alarm. `scale` multiplies its datapoints before they are compared: see ApplicationAutoScaling."""

    kind: ClassVar[str] = "MetricAlarm"
    """As AlarmTypes and the history call it."""
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
                "AlarmType": self.kind,
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
        more = min(MORE_PERIODS, wanted - 1)
        statistic = settings.get("ExtendedStatistic") or settings.get("Statistic") or "Average"
        found = {
            round(point.start / length): self.scale * point.bucket.statistic(statistic)
            for point in metrics.points(self.key, period, end - (wanted + more) * length, end, settings.get("Unit"))
        }
        newest = round(end / length) - 1
        seen = [found.get(newest - age) for age in range(wanted + more)]
        self.values = seen[:wanted]
        self._judge(seen)

    def _judge(self, seen: list[float | None]) -> None:
        """Enter the state that the datapoints of the evaluation range ask for, newest first.

        As many real ones as EvaluationPeriods, the most recent, decide alone; only what is missing to that number is
        filled as TreatMissingData says. Where that is `missing` and all there is breaches, it is an alarm once the
        oldest is as old as DatapointsToAlarm: before, the next ones may still be good.
        """
        settings, wanted = self.settings, self.settings["EvaluationPeriods"]
        treatment = settings.get("TreatMissingData") or "missing"
        needed = settings.get("DatapointsToAlarm") or wanted
        breaches = COMPARISONS[settings["ComparisonOperator"]]
        threshold = settings["Threshold"]
        ages = [age for age, value in enumerate(seen, start=1) if value is not None][:wanted]
        present = [value for value in seen if value is not None][:wanted]
        missing = wanted - len(present)
        if not present and treatment in ("missing", "ignore"):
            if treatment == "missing":
                self.become("INSUFFICIENT_DATA", f"Insufficient Data: {missing} datapoints were unknown.")
            return
        count = sum(breaches(value, threshold) for value in present)
        if treatment == "breaching":
            count += missing
        elif treatment in ("missing", "ignore") and missing and count == len(present) < needed:
            if treatment == "ignore" or ages[-1] < needed:
                return
            count = needed
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


NO_METRIC: Key = ("", "", ())


@dataclass
class Composite(Alarm):
    """An alarm whose state a rule says, by the states of others."""

    kind: ClassVar[str] = "CompositeAlarm"
    seen: dict[str, str] | None = None
    """The states of the others when it was judged last. While none changes, a state that was set by hand stays."""
    suppression: Suppression = field(default_factory=Suppression)

    @property
    def children(self) -> tuple[str, ...]:
        """The names of the alarms that its rule names."""
        return alarm_rules.parse(self.settings["AlarmRule"]).children

    def describe(self) -> dict[str, Any]:
        return super().describe() | self.suppression.describe(self.settings)

    def due(self, alarms: Mapping[str, Alarm], clock: Clock) -> str | None:
        """The state of which it has taken the actions before, when it is to take those of its state now; else None."""
        suppressor = alarms.get(named(self.settings.get(SUPPRESSOR) or ""))
        state = suppressor.state if suppressor is not None else ""
        return self.suppression.due(self.state, self.settings, state, clock.time(), clock.real)

    def judge(self, alarms: Mapping[str, Alarm]) -> None:
        """Enter the state that its rule says of all alarms, by their names."""
        now = {name: alarms[name].state if name in alarms else "" for name in self.children}
        if now == self.seen:
            return
        changed = [name for name, state in now.items() if (self.seen or {}).get(name) != state]
        self.seen = now
        holds = alarm_rules.parse(self.settings["AlarmRule"]).holds(lambda name: now[name])
        moment = dt.datetime.now(dt.UTC).strftime("%A %d %B, %Y %H:%M:%S UTC")
        told = [f"{alarms[name].arn} transitioned to {now[name]} at {moment}" for name in changed if name in alarms]
        self.become("ALARM" if holds else "OK", "; ".join(told) or f"The rule is {str(holds).upper()}.")
