"""CloudWatch's operations on alarms besides making, listing and deleting them: their actions, metrics and tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local_aws.alarms import Alarm
from local_aws.errors import AwsError
from local_aws.metrics import key_of
from local_aws.services.base import FORWARD, Call, Service
from local_aws.services.cloudwatch import CloudWatch


class CloudWatchAlarms(Service):
    """Source: CloudWatch API reference; moto keeps dashboards and Contributor Insights' rules, with their tags."""

    name = "cloudwatch"

    @property
    def cloudwatch(self) -> CloudWatch:
        return self.aws.service(CloudWatch)

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
