"""CloudWatch: metrics, their statistics, and alarms that change state.

Periods and alarms' evaluation run in AWS minutes (`--minute`); time stamps are real. Metric maths (Expression) is
refused, and so is an alarm's action that is no SNS topic.
"""

from __future__ import annotations

import datetime as dt
import math
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from local_aws import alarm_actions, metric_requests
from local_aws.alarms import NO_METRIC, Alarm, Composite
from local_aws.errors import AwsError, validation
from local_aws.metric_requests import aware
from local_aws.metrics import PERCENTILE, SIMPLE, Key, Metrics, Point, key_of
from local_aws.services.application_autoscaling import ApplicationAutoScaling
from local_aws.services.base import Call, Service
from local_aws.tags import Tags, check_tags

MOST_DATAPOINTS = 100_800
# ListMetrics shows what had data within two weeks.
LISTED_SECONDS = 14 * 24 * 3600
ALARM_SETTINGS = (
    "AlarmDescription", "ActionsEnabled", "OKActions", "AlarmActions", "InsufficientDataActions", "MetricName",
    "Namespace", "Statistic", "ExtendedStatistic", "Dimensions", "Period", "Unit", "EvaluationPeriods",
    "DatapointsToAlarm", "Threshold", "ComparisonOperator", "TreatMissingData", "EvaluateLowSampleCountPercentile",
)  # fmt: skip


class CloudWatch(Service):
    """Metrics and alarms of the one account and region."""

    name = "cloudwatch"

    def __init__(self, aws) -> None:
        super().__init__(aws)
        aws.metrics = self
        self.data = Metrics(aws.clock)
        self._alarms: dict[str, Alarm] = {}
        self.tags = Tags()
        self._lock = threading.Lock()

    def locks(self) -> list[threading.Lock]:
        return [self.data.lock]

    def remember(self) -> dict[str, Any]:
        return {"data": self.data.remember(), "alarms": self._alarms, "tags": self.tags.copy()}

    def restore(self, kept: dict[str, Any], saved_at: dt.datetime) -> None:
        self.data.restore(kept["data"])
        self._alarms = kept["alarms"]
        self.tags = Tags(kept.get("tags"))  # states of before have none

    # --- what other services use

    def put(self, namespace: str, metric: str, dimensions: Mapping[str, str], value: float, unit: str = "None",
            at: float | None = None) -> None:  # fmt: skip
        """Record one value; `at` is Unix seconds, now when left out."""
        self.data.put(key_of(namespace, metric, dimensions), value, unit, at)
        self.aws.saver.changed(trickle=True)

    def put_range(self, namespace: str, metric: str, dimensions: Mapping[str, str], average: float,
                  bounds: tuple[float, float], unit: str, at: float) -> None:  # fmt: skip
        """Record what lasted for a while as one value: its average, with the least and the most of it."""
        self.data.put_set(key_of(namespace, metric, dimensions), unit, at, 1.0, average, *bounds)
        self.aws.saver.changed(trickle=True)

    def statistic(self, namespace: str, metric: str, dimensions: Mapping[str, str], name: str, period: int,
                  start: float, end: float) -> list[tuple[float, float]]:  # fmt: skip
        """(period's start, statistic) for the periods within [start, end) that have data, oldest first."""
        points = self.data.points(key_of(namespace, metric, dimensions), period, start, end)
        return [(point.start, point.bucket.statistic(name)) for point in points]

    def put_alarm(self, name: str, settings: dict[str, Any], scale: float = 1.0) -> Alarm:
        """Create or replace an alarm; `scale` multiplies its datapoints before they are compared."""
        key = key_of(settings["Namespace"], settings["MetricName"], settings.get("Dimensions"))
        return self._put(Alarm(name, self.alarm_arn(name), settings, key, scale))

    def put_composite(self, name: str, settings: dict[str, Any]) -> Composite:
        """Create or replace a composite alarm, and judge it."""
        alarm = Composite(name, self.alarm_arn(name), settings, NO_METRIC)
        self._put(alarm)
        self.judge_composites()
        return alarm

    def _put(self, alarm: Alarm) -> Alarm:
        with self._lock:
            old = self._alarms.get(alarm.name)
            if old is not None:
                # A changed configuration keeps the state until the next evaluation.
                alarm.state, alarm.reason, alarm.history = old.state, old.reason, old.history
                if isinstance(alarm, Composite) and isinstance(old, Composite):
                    alarm.suppression = old.suppression
            self._alarms[alarm.name] = alarm
        alarm.record("ConfigurationUpdate", f'Alarm "{alarm.name}" {"updated" if old else "created"}', {})
        return alarm

    def alarm_arn(self, name: str) -> str:
        return f"arn:aws:cloudwatch:{self.aws.region}:{self.aws.account}:alarm:{name}"

    def judge_composites(self) -> None:
        """Until none changes, since rules may name composite alarms; in a circle as often as there are alarms."""
        composites = [each for each in self.alarms() if isinstance(each, Composite)]
        for _ in composites:
            before = [each.state for each in composites]
            for each in composites:
                each.judge(self._alarms)
                if (told := each.due(self._alarms, self.aws.clock)) is not None:
                    alarm_actions.carry_out(self.aws, each, told)
            if before == [each.state for each in composites]:
                return

    def remove_alarm(self, name: str) -> None:
        """Delete an alarm if it is there."""
        with self._lock:
            removed = self._alarms.pop(name, None)
        if removed is not None:
            self.tags.forget(removed.arn)

    def alarms(self) -> list[Alarm]:
        """All alarms, by name."""
        return sorted(list(self._alarms.values()), key=lambda each: each.name)

    def in_alarm(self, names: Iterable[str]) -> list[str]:
        """Those of these alarms that are in the ALARM state."""
        return [name for name in names if (found := self._alarms.get(name)) and found.state == "ALARM"]

    def unknown_alarms(self, names: Iterable[str]) -> list[str]:
        """Those of these names that no alarm has."""
        return [name for name in names if name not in self._alarms]

    def every_minute(self, now: float) -> None:
        for alarm in self.alarms():
            if not isinstance(alarm, Composite):
                before = alarm.state
                alarm.evaluate(self.data, now)
                alarm_actions.carry_out(self.aws, alarm, before)
        self.judge_composites()

    # --- metrics

    def put_metric_data(self, call: Call) -> None:
        namespace, now = call.params["Namespace"], self.aws.clock.time()
        data = call.params.get("MetricData") or []
        metric_requests.check_data(data, now)
        for datum in data:
            key = key_of(namespace, datum["MetricName"], datum.get("Dimensions"))
            at = aware(datum["Timestamp"]).timestamp() if datum.get("Timestamp") else now
            unit = datum.get("Unit", "None")
            if values := datum.get("Values"):
                for value, count in zip(values, datum.get("Counts") or [1.0] * len(values), strict=True):
                    self.data.put(key, value, unit, at, count)
            elif given := datum.get("StatisticValues"):
                self.data.put_set(key, unit, at, given["SampleCount"], given["Sum"], given["Minimum"], given["Maximum"])
            else:
                self.data.put(key, datum["Value"], unit, at)

    def get_metric_data(self, call: Call) -> dict[str, Any]:
        start, end = metric_requests.interval(call.params)
        newest_first = call.params.get("ScanBy", "TimestampDescending") == "TimestampDescending"
        limit = min(call.params.get("MaxDatapoints") or MOST_DATAPOINTS, MOST_DATAPOINTS)
        skip = _token(call)
        results, found_more, left = [], False, limit
        for number, query in enumerate(call.params["MetricDataQueries"], start=1):
            stat = query.get("MetricStat")
            if stat is None:
                raise validation(
                    f"The local AWS supports no metric maths: query {query['Id']!r} must have a MetricStat."
                )
            metric_requests.check_period(stat["Period"], f"MetricDataQueries.member.{number}.MetricStat.Period")
            if query.get("ReturnData") is False:
                continue
            key = _key(stat["Metric"])
            series = _statistics(self.data.points(key, stat["Period"], start, end, stat.get("Unit")), stat["Stat"])
            if newest_first:
                series.reverse()
            # A page is a window over all series one after another: none is lost and none given twice.
            dropped = min(skip, len(series))
            skip -= dropped
            shown = series[dropped : dropped + left]
            left -= len(shown)
            partial = dropped + len(shown) < len(series)
            found_more = found_more or partial
            results.append(
                {
                    "Id": query["Id"],
                    "Label": query.get("Label") or stat["Metric"].get("MetricName", query["Id"]),
                    "Timestamps": [dt.datetime.fromtimestamp(at, dt.UTC) for at, _ in shown],
                    "Values": [value for _, value in shown],
                    "StatusCode": "PartialData" if partial else "Complete",
                }
            )
        answer: dict[str, Any] = {"MetricDataResults": results, "Messages": []}
        if found_more:
            answer["NextToken"] = str(_token(call) + limit)
        return answer

    def get_metric_statistics(self, call: Call) -> dict[str, Any]:
        params = call.params
        start, end = metric_requests.interval(params)
        names = (params.get("Statistics") or []) + (params.get("ExtendedStatistics") or [])
        if not names:
            raise AwsError("MissingParameter", "Must specify either Statistics or ExtendedStatistics.")
        for name in names:
            _check_statistic(name)
        period = params["Period"]
        metric_requests.check_period(period, "Period")
        metric_requests.check_points(math.ceil((end - start) / period))
        key = key_of(params["Namespace"], params["MetricName"], params.get("Dimensions"))
        datapoints = []
        for unit in [params["Unit"]] if params.get("Unit") else self.data.units(key):
            for point in self.data.points(key, period, start, end, unit):
                datapoint: dict[str, Any] = {"Timestamp": dt.datetime.fromtimestamp(point.start, dt.UTC), "Unit": unit}
                datapoint |= {name: point.bucket.statistic(name) for name in names if name in SIMPLE}
                extended = {name: point.bucket.statistic(name) for name in names if name not in SIMPLE}
                datapoints.append(datapoint | ({"ExtendedStatistics": extended} if extended else {}))
        metric_requests.check_points(len(datapoints))  # an AWS minute may be shorter than one
        return {"Label": params["MetricName"], "Datapoints": datapoints}

    def list_metrics(self, call: Call) -> dict[str, Any]:
        params = call.params
        wanted = [(each["Name"], each.get("Value")) for each in params.get("Dimensions") or []]
        found = [
            {
                "Namespace": namespace,
                "MetricName": metric,
                "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions],
            }
            for namespace, metric, dimensions in sorted(self.data.keys(self.aws.clock.time() - LISTED_SECONDS))
            if params.get("Namespace") in (None, namespace)
            and params.get("MetricName") in (None, metric)
            and all(any(name == n and value in (None, v) for n, v in dimensions) for name, value in wanted)
        ]
        return paged(found, call, "Metrics", 500)

    # --- alarms

    def put_metric_alarm(self, call: Call) -> None:
        params = call.params
        missing = [
            name
            for name in ("MetricName", "Namespace", "EvaluationPeriods", "Threshold", "ComparisonOperator", "Period")
            if params.get(name) is None
        ]  # fmt: skip
        if missing:
            raise validation(f"The parameter {missing[0]} is required: the local AWS supports alarms on one metric.")
        if bool(params.get("Statistic")) == bool(params.get("ExtendedStatistic")):
            raise validation("Exactly one of Statistic and ExtendedStatistic must be specified.")
        _check_statistic(params.get("Statistic") or params["ExtendedStatistic"])
        metric_requests.check_alarm(params["Period"], params["EvaluationPeriods"])
        if (params.get("DatapointsToAlarm") or 1) > params["EvaluationPeriods"]:
            raise validation("DatapointsToAlarm must not be greater than EvaluationPeriods.")
        if "Than" not in params["ComparisonOperator"] or "Range" in params["ComparisonOperator"]:
            raise validation(f"The local AWS supports no anomaly detection: {params['ComparisonOperator']}.")
        alarm_actions.check(params, self.aws.service(ApplicationAutoScaling).has_policy)
        settings = {name: params[name] for name in ALARM_SETTINGS if params.get(name) is not None}
        check_tags(params.get("Tags"))
        new = params["AlarmName"] not in self._alarms
        if not new and isinstance(self._alarms[params["AlarmName"]], Composite):
            raise validation(f"{params['AlarmName']} is a composite alarm: a metric alarm has another name.")
        alarm = self.put_alarm(params["AlarmName"], {"ActionsEnabled": True, "Dimensions": []} | settings)
        if new:
            # AWS: PutMetricAlarm, Tags: ignored for an alarm that is there already.
            self.tags.add(alarm.arn, params.get("Tags"))


def _statistics(points: list[Point], name: str) -> list[tuple[float, float]]:
    _check_statistic(name)
    return [(point.start, point.bucket.statistic(name)) for point in points]


def _check_statistic(name: str) -> None:
    if name not in SIMPLE and not PERCENTILE.match(name):
        raise validation(
            f"The statistic {name!r} is not supported: it must be {', '.join(SIMPLE)} or a percentile such as p99."
        )


def _key(metric: dict[str, Any]) -> Key:
    return key_of(metric["Namespace"], metric["MetricName"], metric.get("Dimensions"))


def _token(call: Call) -> int:
    token = call.params.get("NextToken")
    if token is not None and not token.isdigit():
        raise AwsError("InvalidNextToken", f"The token {token!r} is invalid.")
    return int(token or 0)


def paged(items: list[Any], call: Call, key: str, size: int) -> dict[str, Any]:
    """One page of a list, in CloudWatch's words. Raises AwsError for a token that this did not give out."""
    start = _token(call)
    answer: dict[str, Any] = {key: items[start : start + size]}
    if start + size < len(items):
        answer["NextToken"] = str(start + size)
    return answer
