"""CloudWatch's operations on alarms besides making metric alarms: composite ones, lists, actions, states and tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local_aws import alarm_actions, alarm_rules, alarm_suppression
from local_aws.alarms import Alarm, Composite
from local_aws.errors import AwsError, validation
from local_aws.metric_requests import aware
from local_aws.metrics import key_of
from local_aws.services.base import FORWARD, Call, Service
from local_aws.services.cloudwatch import CloudWatch, paged
from local_aws.tags import check_tags

COMPOSITE_SETTINGS = (
    "AlarmDescription", "ActionsEnabled", "OKActions", "AlarmActions", "InsufficientDataActions", "AlarmRule",
    *alarm_suppression.SETTINGS,
)  # fmt: skip


# What is said of an alarm that is asked for by another one.
RELATIVES = ("AlarmName", "AlarmArn", "StateValue", "StateReason", "StateUpdatedTimestamp")


class CloudWatchAlarms(Service):
    """Source: CloudWatch API reference; moto keeps dashboards and Contributor Insights' rules, with their tags."""

    name = "cloudwatch"

    @property
    def cloudwatch(self) -> CloudWatch:
        return self.aws.service(CloudWatch)

    def put_composite_alarm(self, call: Call) -> None:
        params, name = call.params, call.params["AlarmName"]
        known = {each.name: each for each in self.cloudwatch.alarms()}
        old = known.get(name)
        if old is not None and not isinstance(old, Composite):
            raise validation(f"{name} is a metric alarm: a composite alarm has another name.")
        missing = [each for each in alarm_rules.parse(params["AlarmRule"]).children if each not in {*known, name}]
        if missing:
            raise validation(
                f"Could not save the composite alarm as alarms [{', '.join(missing)}] in the alarm rule do not exist"
            )
        # Neither hosts nor capacity are among the actions that AWS's composite alarms have.
        alarm_actions.check(params, lambda arn: False)
        alarm_suppression.check(params, lambda each: each in known)
        check_tags(params.get("Tags"))
        settings = {each: params[each] for each in COMPOSITE_SETTINGS if params.get(each) is not None}
        alarm = self.cloudwatch.put_composite(name, {"ActionsEnabled": True} | settings)
        if old is None:
            self.cloudwatch.tags.add(alarm.arn, params.get("Tags"))

    def describe_alarms(self, call: Call) -> dict[str, Any]:
        """Metric alarms alone, unless AlarmTypes asks for others."""
        params, alarms = call.params, self.cloudwatch.alarms()
        names, kinds = params.get("AlarmNames"), params.get("AlarmTypes") or ["MetricAlarm"]
        family = {name: params[name] for name in ("ChildrenOfAlarmName", "ParentsOfAlarmName") if params.get(name)}
        if family:
            alarms, kinds = self._relatives(alarms, family), ["MetricAlarm", "CompositeAlarm"]
        found = [
            each
            for each in alarms
            if each.kind in kinds
            and (not names or each.name in names)
            and each.name.startswith(params.get("AlarmNamePrefix") or "")
            and params.get("StateValue") in (None, each.state)
        ]
        answer = paged(found, call, "Alarms", params.get("MaxRecords") or 50)
        shown = answer.pop("Alarms")
        for key, kind in (("MetricAlarms", "MetricAlarm"), ("CompositeAlarms", "CompositeAlarm")):
            described = [each.describe() for each in shown if each.kind == kind]
            if family:
                described = [{name: each[name] for name in RELATIVES if name in each} for each in described]
            answer[key] = described
        return answer

    @staticmethod
    def _relatives(alarms: list[Alarm], family: dict[str, str]) -> list[Alarm]:
        """The alarms that another's rule names, or whose rules name another."""
        if len(family) > 1:
            raise validation("Give ChildrenOfAlarmName or ParentsOfAlarmName, not both.")
        ((kind, name),) = family.items()
        if name not in {each.name for each in alarms}:
            raise AwsError("ResourceNotFound", f"Alarm {name} does not exist.")
        if kind == "ParentsOfAlarmName":
            return [each for each in alarms if isinstance(each, Composite) and name in each.children]
        children = {
            child for each in alarms if each.name == name and isinstance(each, Composite) for child in each.children
        }
        return [each for each in alarms if each.name in children]

    def delete_alarms(self, call: Call) -> None:
        names = call.params["AlarmNames"]
        known = {each.name: each for each in self.cloudwatch.alarms()}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise AwsError("ResourceNotFound", f"Alarm {unknown[0]} does not exist.")
        composites = [each for each in known.values() if isinstance(each, Composite)]
        if sum(each.name in names for each in composites) > 1:
            raise validation("One operation can delete one composite alarm, besides metric alarms.")
        # Also one whose rule names an alarm that is deleted with it.
        needed = [name for name in names if any(name in each.children and each.name != name for each in composites)]
        if needed:
            these = "it" if len(needed) == 1 else "them"
            raise validation(f"Cannot delete {','.join(needed)} as there are composite alarm(s) depending on {these}.")
        for name in names:
            self.cloudwatch.remove_alarm(name)

    def set_alarm_state(self, call: Call) -> None:
        named = [each for each in self.cloudwatch.alarms() if each.name == call.params["AlarmName"]]
        if not named:
            raise AwsError("ResourceNotFound", f"Alarm {call.params['AlarmName']} does not exist.")
        (alarm,) = named
        before = alarm.state
        alarm.become(call.params["StateValue"], call.params["StateReason"])
        if not isinstance(alarm, Composite):
            alarm_actions.carry_out(self.aws, alarm, before)
        self.cloudwatch.judge_composites()

    def describe_alarm_history(self, call: Call) -> dict[str, Any]:
        params = call.params
        start, end = params.get("StartDate"), params.get("EndDate")
        kinds = params.get("AlarmTypes") or ["MetricAlarm"]
        items = [
            item
            for alarm in self.cloudwatch.alarms()
            if params.get("AlarmName") in (None, alarm.name) and alarm.kind in kinds
            for item in alarm.history
            if params.get("HistoryItemType") in (None, item["HistoryItemType"])
            and (start is None or item["Timestamp"] >= aware(start))
            and (end is None or item["Timestamp"] <= aware(end))
        ]
        newest_first = params.get("ScanBy", "TimestampDescending") == "TimestampDescending"
        items.sort(key=lambda item: item["Timestamp"], reverse=newest_first)
        return paged(items, call, "AlarmHistoryItems", params.get("MaxRecords") or 100)

    def describe_alarms_for_metric(self, call: Call) -> dict[str, Any]:
        params = call.params
        key = key_of(params["Namespace"], params["MetricName"], params.get("Dimensions"))
        asked = ("Statistic", "ExtendedStatistic", "Period", "Unit")
        found = [
            each.describe()
            for each in self.cloudwatch.alarms()
            if each.key == key and all(params.get(name) in (None, each.settings.get(name)) for name in asked)
        ]
        return {"MetricAlarms": found}

    def enable_alarm_actions(self, call: Call) -> None:
        self._switch(call, True)

    def disable_alarm_actions(self, call: Call) -> None:
        self._switch(call, False)

    def _switch(self, call: Call, enabled: bool) -> None:
        """AWS passes over names that no alarm has."""
        for alarm in self.cloudwatch.alarms():
            if alarm.name in call.params["AlarmNames"] and alarm.settings.get("ActionsEnabled", True) is not enabled:
                alarm.settings = alarm.settings | {"ActionsEnabled": enabled}
                alarm.record("ConfigurationUpdate", f'Alarm "{alarm.name}" updated', {})

    def tag_resource(self, call: Call) -> dict[str, Any]:
        arn = self._tagged(call)
        if arn is None:
            return FORWARD
        check_tags(call.params["Tags"])
        self.cloudwatch.tags.add(arn, call.params["Tags"])
        return {}

    def untag_resource(self, call: Call) -> dict[str, Any]:
        arn = self._tagged(call)
        if arn is None:
            return FORWARD
        self.cloudwatch.tags.remove(arn, call.params["TagKeys"])
        return {}

    def list_tags_for_resource(self, call: Call) -> dict[str, Any]:
        arn = self._tagged(call)
        return FORWARD if arn is None else {"Tags": self.cloudwatch.tags.of(arn)}

    def resource_tags(self, arn: str) -> Mapping[str, str] | None:
        return {each["Key"]: each["Value"] for each in self.cloudwatch.tags.of(arn)} if ":alarm:" in arn else None

    def _tagged(self, call: Call) -> str | None:
        """The ARN of the alarm that a call names; None for what is no alarm. Raises AwsError for an unknown one."""
        arn = call.params["ResourceARN"]
        if ":alarm:" not in arn:
            return None
        found: list[Alarm] = [each for each in self.cloudwatch.alarms() if each.arn == arn]
        if not found:
            raise AwsError("ResourceNotFoundException", f"The resource {arn} does not exist.", status=404)
        return arn
