"""An EC2 instance ends itself when nothing is left that could end it."""

from __future__ import annotations

import contextlib
import json
import time

import psutil
import pytest

from tests.chain.conftest import jobs_of, stop_training, until_it_trains
from tests.local_aws.frozen import frozen
from tools.sample_dataset import draw

SLOW = {"finetune": "all", "epochs": 200, "dataset_name": "slow"}
RUN = "a-run-with-a-long-training"


def until(condition, seconds, message):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, message() if callable(message) else message
        time.sleep(0.5)
    return found


def said(logs):
    """Everything that a DAG's tasks have logged."""
    return "\n".join(file.read_text() for file in sorted(logs.rglob("*.log*")))


def instances(stack, *states):
    filters = [{"Name": "tag:dag", "Values": ["train_on_ec2"]}, {"Name": "instance-state-name", "Values": list(states)}]
    found = stack.local_aws("ec2").describe_instances(Filters=filters)["Reservations"]
    return [each["InstanceId"] for reservation in found for each in reservation["Instances"]]


def suspend_training(stack):
    """Let what trains stand still: for the two minutes of an instance's life it would take all cores."""
    found = []
    for process in stack.stack.local_aws.family():
        with contextlib.suppress(psutil.Error):
            if any(word.endswith("/train.py") for word in process.cmdline()):
                process.suspend()
                found.append(process)
    return found


@pytest.mark.timeout(700)
def test_an_instance_does_not_outlive_a_killed_airflow_for_long(airflow_stack, tmp_path):
    # GIVEN a training on SageMaker that takes its time, as the newest run's record has it
    stack = airflow_stack
    draw(tmp_path, breeds=2, train=16, valid=2, test=2)
    stack.trigger("one_training_job", {"dataset": str(tmp_path), **SLOW}, "slow")
    sagemaker = stack.local_aws("sagemaker")
    (job,) = until(lambda: jobs_of(stack, "slow"), 90, "no job")
    facts = {"job": job, "instances": 1, "instance_type": "ml.m5.xlarge", "wall_seconds": 60.0}
    facts |= {"billable_seconds": 60, "test_accuracy": None, "test_loss": None, "cost_usd": 0.01}
    body = json.dumps({"jobs": [facts], "chosen": job})
    stack.local_aws("s3").put_object(Bucket=stack.bucket, Key=f"runs/{RUN}/training.json", Body=body)

    until_it_trains(stack, job)
    # A task that is marked failed stops its job and, unlike one whose job was stopped, is not tried again.
    with frozen(stack.state):
        stop_training(stack, "one_training_job", "slow")
    described = sagemaker.describe_training_job
    until(lambda: described(TrainingJobName=job)["TrainingJobStatus"] == "Stopped", 180, "it runs")

    # and the same training on an instance that may live for two minutes
    run_id = stack.trigger("train_on_ec2", {"max_life_minutes": 2})
    stack.wait_for_state("train_on_ec2", run_id, "train", "deferred", "failed")
    (instance,) = until(lambda: instances(stack, "running"), 60, "no instance runs")
    logs = stack.home / "logs" / "dag_id=train_on_ec2"
    until(lambda: "images: train=" in said(logs), 110, lambda: f"it does not train:\n{said(logs)[-3000:]}")

    # WHEN Airflow is killed, all of it at once
    for process in stack.stack.airflow.family():
        process.kill()

    # THEN the instance is gone at the end of its life, though its training does not heed a signal
    assert instances(stack, "running") == [instance]
    assert suspend_training(stack)
    until(lambda: not instances(stack, "pending", "running", "shutting-down"), 150, "it outlived its longest life")
    assert instances(stack, "terminated") == [instance]
    stack.stack.down(lambda line: None)
