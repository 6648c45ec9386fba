"""What CloudWatch refuses of requests that put or get metric data, in its words.

Sources: CloudWatch API reference (MetricDatum, GetMetricStatistics, MetricStat, PutMetricAlarm) and the answers that
AWS's users have reported of it. Where none is known the sentence is the local AWS's own.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

from local_aws.errors import AwsError, validation

LARGEST = 2.0**360
PAST, FUTURE = 14 * 24 * 3600, 2 * 3600
MOST_METRICS, MOST_VALUES = 1000, 150
MOST_POINTS = 1440
# High-resolution periods; 1 and 5 s would be shorter than the buckets that data are kept in.
SHORT_PERIODS, SHORTER_PERIODS = (10, 20, 30), (1, 5)
LONGEST_EVALUATION = 24 * 3600


def check_data(data: list[dict[str, Any]], now: float) -> None:
    """Raise AwsError for metric data that AWS refuses; it takes all of them or none."""
    if len(data) > MOST_METRICS:
        raise _value(f"The collection MetricData must not have a size greater than {MOST_METRICS}.")
    old = []
    for number, datum in enumerate(data, start=1):
        path = f"MetricData.member.{number}"
        _check_kinds(datum, path)
        for name, value in _numbers(datum, path):
            if not -LARGEST <= value <= LARGEST:  # nor is NaN
                raise _value(f"The value {_shown(value)} for parameter {name} is invalid.")
        if datum.get("StorageResolution") not in (None, 1, 60):
            raise _value(f"The parameter {path}.StorageResolution must be a value in the set [ 1, 60 ].")
        old += _wrong_time(datum, path, now)
    if old:
        raise _value("\n".join(old))


def _check_kinds(datum: Mapping[str, Any], path: str) -> None:
    given = [name for name in ("Value", "Values", "StatisticValues") if datum.get(name) not in (None, [])]
    if not given:
        raise _combination(
            f"At least one of the parameters {path}.Value and {path}.StatisticValues must be specified."
        )  # fmt: skip
    if len(given) > 1:
        raise _combination(
            f"The parameters {path}.{given[0]} and {path}.{given[1]} are mutually exclusive and you have specified "
            "both."
        )
    values, counts = datum.get("Values") or (), datum.get("Counts")
    if len(values) > MOST_VALUES:
        raise _value(f"The collection {path}.Values must not have a size greater than {MOST_VALUES}.")
    if counts and len(counts) != len(values):
        raise _value(f"The parameters {path}.Values and {path}.Counts must be of the same size.")


def _numbers(datum: Mapping[str, Any], path: str) -> Iterator[tuple[str, float]]:
    if datum.get("Value") is not None:
        yield f"{path}.Value", datum["Value"]
    for name in ("Values", "Counts"):
        for number, value in enumerate(datum.get(name) or (), start=1):
            yield f"{path}.{name}.member.{number}", value
    for name, value in (datum.get("StatisticValues") or {}).items():
        yield f"{path}.StatisticValues.{name}", value


def _shown(value: float) -> str:
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(str(value), str(value))


def _wrong_time(datum: Mapping[str, Any], path: str, now: float) -> Iterator[str]:
    if datum.get("Timestamp") is None:
        return
    at = aware(datum["Timestamp"]).timestamp()
    if at < now - PAST:
        yield f"The parameter {path}.Timestamp must specify a time within the past two weeks."
    elif at > now + FUTURE:
        yield f"The parameter {path}.Timestamp must specify a time no more than two hours in the future."


def interval(params: Mapping[str, Any]) -> tuple[float, float]:
    """Unix seconds of StartTime and EndTime. Raises AwsError where they make no interval."""
    start, end = aware(params["StartTime"]).timestamp(), aware(params["EndTime"]).timestamp()
    if start == end:
        raise _value("The parameter StartTime must not equal parameter EndTime.")
    if start > end:
        raise _combination("The parameter StartTime must be less than the parameter EndTime.")
    return start, end


def check_period(period: int, name: str) -> None:
    """Raise AwsError for a period that AWS has no data for, and for one that is shorter than what is kept here."""
    if period in SHORTER_PERIODS:
        raise _value(f"The local AWS keeps data by 10 seconds: {name} must be 10, 20, 30 or a multiple of 60, "
                     f"not {period}.")  # fmt: skip
    if period not in SHORT_PERIODS and (period % 60 or period <= 0):
        raise _value(f"The parameter {name} must be 1, 5, 10, 20, 30 or a multiple of 60, not {period}.")


def check_points(count: int) -> None:
    """Raise AwsError when GetMetricStatistics is asked for more datapoints than one answer has."""
    if count > MOST_POINTS:
        raise _combination(
            f"You have requested up to {count} datapoints, which exceeds the limit of {MOST_POINTS}. You may reduce "
            "the datapoints requested by increasing Period, or decreasing the time range."
        )


def check_alarm(period: int, periods: int) -> None:
    """Raise AwsError for an alarm's Period and EvaluationPeriods that AWS refuses."""
    if period not in SHORT_PERIODS and (period % 60 or period <= 0):
        raise validation("Period must be 10, 20, 30 or a multiple of 60")
    if period * periods > LONGEST_EVALUATION:
        raise validation("Metrics cannot be checked across more than a day (EvaluationPeriods * Period must be "
                         f"<= {LONGEST_EVALUATION}).")  # fmt: skip


def aware(moment: dt.datetime) -> dt.datetime:
    """A moment with its zone: without one it is UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _value(sentence: str) -> AwsError:
    return AwsError("InvalidParameterValue", sentence)


def _combination(sentence: str) -> AwsError:
    return AwsError("InvalidParameterCombination", sentence)
