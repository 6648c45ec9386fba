"""What watches an endpoint that serves: quiet while it is idle, and heard when it fails or is gone."""

from __future__ import annotations

import contextlib

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from botocore.exceptions import ClientError
from musher import names, request_parameters
from musher.operators.alarms import SetAlarmsOperator
from musher.operators.endpoint import DeployEndpointOperator
from musher.operators.removal import RemoveDeploymentOperator

from tests.local_aws.daemon import wait_for
from tests.local_aws.serving import archive
from tests.plugins.operators.listening import Listener

FAILS = """
def model_fn(model_dir):
    return None

def predict_fn(data, model):
    raise ValueError("cannot reshape")
"""
ERRORS, LATENCY, NO_INSTANCE = "errors", "latency", "no-instance"


@pytest.fixture
def watched(project):
    """A project whose endpoint fails on every call, and whose alarms tell a topic that a queue has subscribed to."""
    project.listener = Listener(project)
    project.run_as("deploy_image_classifier", "first", max_error_rate=0.05)
    model = {"package_arn": project.package(project.model_archive(body=archive(code=FAILS))), "specification": ""}
    project.perform(DeployEndpointOperator, model=model)
    return project


def states(project) -> dict[str, str]:
    prefix = f"{project.name}-image-classifier-serving-"
    found = project.daemon.client("cloudwatch").describe_alarms(AlarmNamePrefix=prefix)["MetricAlarms"]
    return {each["AlarmName"].removeprefix(prefix): each["StateValue"] for each in found}


def told(project) -> list[str]:
    """The subjects of the messages that have come since this was last asked."""
    return [each.partition('"')[0] for each in project.listener.subjects()]


def test_the_alarms_follow_what_serves_until_it_is_removed(watched):
    # GIVEN an endpoint that nobody calls, long enough to be judged
    reported = {"EndpointName": f"{watched.name}-image-classifier", "VariantName": "AllTraffic"}
    dimensions = [{"Name": name, "Value": value} for name, value in reported.items()]
    cloudwatch = watched.daemon.client("cloudwatch")
    wait_for(lambda: cloudwatch.list_metrics(MetricName="CPUUtilization", Dimensions=dimensions)["Metrics"])
    # WHEN the alarms are set, twice the same
    wanted = list(request_parameters.serving_alarm_names(names.Stack(watched.name)))
    for _ in range(2):
        assert watched.perform(SetAlarmsOperator, stack="production") == wanted
    # THEN all is quiet
    wait_for(lambda: set(states(watched).values()) == {"OK"}, 30)
    told(watched)

    # WHEN every call fails
    runtime = watched.daemon.client("sagemaker-runtime")

    def call() -> bool:
        with contextlib.suppress(ClientError):
            runtime.invoke_endpoint(EndpointName=reported["EndpointName"], ContentType="application/json", Body=b"{}")
        return states(watched)[ERRORS] == "ALARM"

    wait_for(call, 60)
    assert states(watched)[NO_INSTANCE] == "OK"
    assert told(watched) == ["ALARM: "]

    # WHEN the endpoint is deleted behind our back
    watched.sagemaker.delete_endpoint(EndpointName=reported["EndpointName"])
    wait_for(lambda: states(watched)[NO_INSTANCE] == "ALARM", 60)
    # THEN somebody hears of it, and the end of the errors is told too
    heard = []
    wait_for(lambda: heard.extend(told(watched)) or sorted(heard) == ["ALARM: ", "OK: "], 30, str(heard))

    # AND with the deployment the alarms go
    removed = watched.perform(RemoveDeploymentOperator)
    assert {f"alarm {name}" for name in wanted} <= set(removed)
    assert states(watched) == {}


def test_what_was_not_released_changes_no_alarm(project):
    with pytest.raises(AirflowSkipException, match="Nothing was released"):
        project.perform(SetAlarmsOperator, stack="rehearsal")
    assert states(project) == {}
