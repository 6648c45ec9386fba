"""Deferrable operators of Airflow's Amazon provider: they wait with aiobotocore, in the triggerer."""

from __future__ import annotations

import asyncio
import json
import textwrap
import uuid

import pytest

pytest.importorskip("airflow.providers.amazon")

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerEndpointOperator, SageMakerTrainingOperator
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.sdk.exceptions import TaskDeferred

from tests.local_aws.serving import Serving
from tests.local_aws.training_scripts import Jobs, archive

# Goes on until a file of this machine is there, and says in it how to end.
SCRIPT = textwrap.dedent("""
    import argparse, pathlib, time
    parser = argparse.ArgumentParser()
    parser.add_argument("--told")
    told = pathlib.Path(parser.parse_known_args()[0].told)
    while not told.exists():
        time.sleep(0.05)
    assert told.read_text() == "succeed", "no more biscuits"
""")


@pytest.fixture(autouse=True)
def environment(local_aws, monkeypatch):
    for name, value in {
        "AWS_ENDPOINT_URL": local_aws.url, "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": local_aws.credentials[0], "AWS_SECRET_ACCESS_KEY": local_aws.credentials[1],
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


def deferred(operator):
    """What Airflow's triggerer gets of a task that defers itself: (the trigger made anew, the method to go on with)."""
    with pytest.raises(TaskDeferred) as caught:
        operator.execute({})
    trigger = caught.value.trigger
    path, arguments = trigger.serialize()
    assert path == f"{type(trigger).__module__}.{type(trigger).__name__}"
    return type(trigger)(**json.loads(json.dumps(arguments))), getattr(operator, caught.value.method_name)


def event_of(trigger):
    async def first():
        async for event in trigger.run():
            return event.payload

    return asyncio.run(asyncio.wait_for(first(), 240))


@pytest.mark.parametrize(("word", "outcome"), [("succeed", "success"), ("fail", "error")])
def test_a_training_is_waited_for(local_aws, bucket, role_arn, wait_for, tmp_path, word, outcome):
    jobs = Jobs(local_aws, bucket, role_arn, wait_for)
    jobs.s3.put_object(Bucket=bucket, Key="code/told/sourcedir.tar.gz", Body=archive(job=SCRIPT))
    request = jobs.request(word) | {
        "TrainingJobName": f"deferred-{word}-{uuid.uuid4().hex[:8]}",
        "InputDataConfig": [jobs.channel("train", "data/train/"), jobs.channel("code", "code/told/")],
        "HyperParameters": jobs.script(told=str(tmp_path / "told")),
    }
    operator = SageMakerTrainingOperator(
        task_id="train", aws_conn_id=None, config=request, check_interval=1, deferrable=True, check_if_job_exists=False
    )
    trigger, go_on = deferred(operator)
    (tmp_path / "told").write_text(word)
    event = event_of(trigger)
    assert (event["status"], event["job_name"]) == (outcome, request["TrainingJobName"])
    if outcome == "success":
        assert go_on({}, event)["Training"]["TrainingJobStatus"] == "Completed"
    else:
        with pytest.raises(Exception, match="Training job: Failed"):
            go_on({}, event)


def test_an_endpoint_is_waited_for(local_aws, bucket, role_arn):
    serving = Serving(local_aws, bucket, role_arn)
    name = f"deferred-{uuid.uuid4().hex[:8]}"
    config = {"EndpointName": name, "EndpointConfigName": serving.config(serving.model())}
    operator = SageMakerEndpointOperator(
        task_id="deploy", aws_conn_id=None, config=config, check_interval=1, deferrable=True
    )
    trigger, go_on = deferred(operator)
    assert go_on({}, event_of(trigger))["Endpoint"]["EndpointStatus"] == "InService"
    assert serving.call(name)["model"] == "a"
    serving.delete(name)


def test_an_object_is_waited_for(local_aws, bucket):
    key = f"deferred/{uuid.uuid4().hex}.txt"
    sensor = S3KeySensor(
        task_id="wait", aws_conn_id=None, bucket_name=bucket, bucket_key=key, deferrable=True, poke_interval=1
    )
    trigger, go_on = deferred(sensor)
    local_aws.client("s3").put_object(Bucket=bucket, Key=key, Body=b"here")
    event = event_of(trigger)
    assert event["status"] == "running" or event == {"status": "success"}
    go_on({}, event)
