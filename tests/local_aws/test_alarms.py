"""How datapoints become an alarm's state: AWS's own tables of missing data, and a heartbeat that stops."""

from __future__ import annotations

import pytest

from local_aws.alarms import Alarm
from local_aws.clock import Clock
from local_aws.metrics import Metrics, key_of

TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")
KEY = key_of("Tests", "M", None)
KEPT = "as it was"
NOW = 6_000_000.0


def alarm(treatment: str | None, periods: int, needed: int | None = None, state: str = KEPT) -> Alarm:
    settings = {
        "Period": 60, "EvaluationPeriods": periods, "Threshold": 5, "ComparisonOperator": "GreaterThanThreshold",
        "Statistic": "Maximum",
    }  # fmt: skip
    settings |= {"TreatMissingData": treatment} if treatment else {}
    settings |= {"DatapointsToAlarm": needed} if needed else {}
    return Alarm("alarm", "arn", settings, KEY, state=state)


def judged(found: Alarm, shape: str) -> str:
    """The state after minutes in which data were good (0), too much (X) or missing (-), oldest first."""
    metrics = Metrics(Clock(60))
    for age, kind in enumerate(reversed(shape)):
        if kind != "-":
            metrics.put(KEY, {"0": 0, "X": 9}[kind], "None", NOW - 60 * age - 30)
    found.evaluate(metrics, NOW)
    return found.state


# AWS: CloudWatch user guide, "Configuring how CloudWatch alarms treat missing data", both tables (five periods are
# looked at; states for missing, ignore, breaching, notBreaching), and "avoiding premature transitions".
ALL_THREE = [
    ("0-X-X", "OK", "OK", "OK", "OK"),
    ("----0", "OK", "OK", "OK", "OK"),
    ("-----", "INSUFFICIENT_DATA", KEPT, "ALARM", "OK"),
    ("0XX-X", "ALARM", "ALARM", "ALARM", "ALARM"),
    ("--X--", "ALARM", KEPT, "ALARM", "OK"),
    ("----X", KEPT, KEPT, "ALARM", "OK"),
    ("---X-", KEPT, KEPT, "ALARM", "OK"),
    ("---X0", "OK", "OK", "OK", "OK"),
]
TWO_OF_THREE = [
    ("0-X-X", "ALARM", "ALARM", "ALARM", "ALARM"),
    ("00X0X", "ALARM", "ALARM", "ALARM", "ALARM"),
    ("0-X--", "OK", "OK", "ALARM", "OK"),
    ("----0", "OK", "OK", "ALARM", "OK"),
    ("---X-", "ALARM", KEPT, "ALARM", "OK"),
]


@pytest.mark.parametrize(
    ("needed", "shape", "states"),
    [(needed, shape, states) for needed, rows in ((3, ALL_THREE), (2, TWO_OF_THREE)) for shape, *states in rows],
)
def test_missing_data_are_treated_as_in_awss_tables(needed, shape, states):
    found = {treatment: judged(alarm(treatment, 3, needed), shape) for treatment in TREATMENTS}
    assert found == dict(zip(TREATMENTS, states, strict=True))


def test_unless_it_is_said_missing_data_are_missing_and_all_datapoints_have_to_be_too_much():
    assert judged(alarm(None, 3), "-----") == "INSUFFICIENT_DATA"
    assert judged(alarm(None, 3), "0XX0X") == "OK"


@pytest.mark.parametrize(("minutes", "state"), [(0, "OK"), (1, "ALARM"), (5, "ALARM")])
def test_a_heartbeat_that_stops_is_an_alarm_a_period_later(minutes, state):
    assert judged(alarm("breaching", 1), "0" + "-" * minutes) == state


def test_a_late_datapoint_of_before_is_no_alarm():
    # Two of two are looked for in three periods.
    assert judged(alarm("breaching", 2), "00-") == "OK"
    assert judged(alarm("breaching", 2), "0--") == "OK"
    assert judged(alarm("breaching", 2), "---") == "ALARM"
