"""What an alarm does when it enters another state: it tells SNS topics.

A scaling policy among its actions is asked by Application Auto Scaling for as long as the alarm is in that state.

Source: CloudWatch user guide, "Notify users on alarm changes"; API reference, PutMetricAlarm.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from local_aws.alarms import Alarm
from local_aws.errors import validation

if TYPE_CHECKING:
    from local_aws.aws import LocalAws

ACTIONS = {"OK": "OKActions", "ALARM": "AlarmActions", "INSUFFICIENT_DATA": "InsufficientDataActions"}
POLICY = "arn:aws:autoscaling:"
REGION_NAMES = {"us-east-1": "US East (N. Virginia)"}
LONGEST_SUBJECT = 100


def check(settings: Mapping[str, Any], is_policy: Callable[[str], bool]) -> None:
    """Raise AwsError for an action that nobody here would carry out; `is_policy` knows the ARNs of scaling policies."""
    for kind in ACTIONS.values():
        for arn in settings.get(kind) or ():
            if arn.startswith(POLICY):
                if not is_policy(arn):
                    raise validation(f"There is no step scaling policy with the ARN that {kind} has: {arn}.")
            elif not arn.startswith("arn:aws:sns:"):
                raise validation(
                    "The local AWS carries out alarm actions of SNS topics and step scaling policies only: "
                    f"{kind} has {arn}."
                )


def of(alarm: Alarm) -> list[str]:
    """The actions of the state that an alarm is in; none when they are switched off."""
    enabled = alarm.settings.get("ActionsEnabled", True)
    return list(alarm.settings.get(ACTIONS[alarm.state]) or ()) if enabled else []


def carry_out(aws: LocalAws, alarm: Alarm, before: str) -> None:
    """Tell the topics of the state that an alarm is in, when it was in another one `before`."""
    for arn in of(alarm) if alarm.state != before else ():
        if arn.startswith(POLICY):
            continue
        data = {"actionState": "Succeeded", "notificationResource": arn}
        try:
            _publish(aws, arn, _subject(aws, alarm), json.dumps(_message(aws, alarm, before)))
            alarm.record("Action", f"Successfully executed action {arn}", data)
        except Exception as error:  # moto's; the alarm is in its state all the same
            data |= {"actionState": "Failed", "error": str(error)}
            alarm.record("Action", f"Failed to execute action {arn}", data)
        aws.saver.changed()


def _publish(aws: LocalAws, arn: str, subject: str, message: str) -> None:
    """Directly into moto: an alarm changes its state in a minute of the clock or in a call, inside of which this is."""
    from moto.backends import get_backend

    _, _, _, region, account, _ = arn.split(":", 5)
    get_backend("sns")[account][region].publish(message, arn=arn, subject=subject)


def _subject(aws: LocalAws, alarm: Alarm) -> str:
    return f'{alarm.state}: "{alarm.name}" in {REGION_NAMES.get(aws.region, aws.region)}'[:LONGEST_SUBJECT]


def _message(aws: LocalAws, alarm: Alarm, before: str) -> dict[str, Any]:
    """What AWS publishes, without the statistics' other forms."""
    settings = alarm.settings
    trigger = {
        name: settings[name]
        for name in (
            "MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Unit", "Period", "EvaluationPeriods",
            "DatapointsToAlarm", "ComparisonOperator", "Threshold", "TreatMissingData",
        )
        if name in settings
    }  # fmt: skip
    dimensions = [{"name": each["Name"], "value": each["Value"]} for each in settings.get("Dimensions") or ()]
    about: dict[str, Any] = {"Trigger": {**trigger, "Dimensions": dimensions}}
    if "AlarmRule" in settings:
        about = {"AlarmRule": settings["AlarmRule"]}
    return {
        "AlarmName": alarm.name,
        "AlarmDescription": settings.get("AlarmDescription"),
        "AWSAccountId": aws.account,
        "AlarmConfigurationUpdatedTimestamp": _moment(alarm.configured),
        "NewStateValue": alarm.state,
        "NewStateReason": alarm.reason,
        "StateChangeTime": _moment(alarm.updated),
        "Region": REGION_NAMES.get(aws.region, aws.region),
        "AlarmArn": alarm.arn,
        "OldStateValue": before,
        **{kind: list(settings.get(kind) or ()) for kind in ACTIONS.values()},
        **about,
    }


def _moment(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
