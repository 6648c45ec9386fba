"""What watches a deployment once its run has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowSkipException

from musher import names, request_parameters
from musher.operators.base import MusherOperator, deployment_config, plainly, run_of

if TYPE_CHECKING:
    from airflow.sdk import Context


class SetAlarmsOperator(MusherOperator):
    """Make the alarms on what serves, or bring them up to date with this run's limits; returns their names.

    Parameters: `stack` where the model was tried out; `endpoint` what ReleaseEndpointOperator returned, None where it
    released nothing: then this run's limits are not those of what serves, and the task is skipped.

    They tell the topic of the Variable, where there is one, and stay until `remove_deployment`.
    """

    template_fields = aws_template_fields("stack", "endpoint")

    def __init__(self, *, stack: Any, endpoint: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stack, self.endpoint = stack, endpoint

    @plainly
    def execute(self, context: Context) -> list[str]:
        if self.stack != names.PRODUCTION and not self.endpoint:
            raise AirflowSkipException("Nothing was released: the alarms stay as they are.")
        env, cloudwatch = self.environment, self.client("cloudwatch")
        alarms = request_parameters.serving_alarms(
            deployment_config(context),
            names.Stack(env.project),
            topic=env.notifications_topic_arn,
            tags=request_parameters.tags(env, run_of(context)),
        )
        for each in alarms:
            cloudwatch.put_metric_alarm(**each)
            self.log.info("%s: %s", each["AlarmName"], each["AlarmDescription"])
        if not env.notifications_topic_arn:
            self.log.warning("The Variable musher names no notifications_topic_arn: nobody is told by these alarms")
        return [each["AlarmName"] for each in alarms]
