"""The stack of docker-compose.yaml, really up: the chain in it, edits, restarts, its other services.

`make test-compose` runs this; by its name, `make test` does not. The tests build on each other, in this order.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chain.conftest import COUNTED_CHECKS, AirflowStack
from tests.compose.containers import Containers
from tools import demo
from tools.stack import Stack

TRAIN, DEPLOY, ON_EC2, REMOVE = "train_image_classifier", "deploy_image_classifier", "train_on_ec2", "remove_deployment"
SMALL = {"dataset": "/opt/musher/pictures", "dataset_name": "sample", "max_jobs": 2, "tuning_epochs": 3, "epochs": 5}
ONE_SHOT = {"secrets", "airflow-init", "account"}
WAIT = 1800

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="session")
def containers() -> Containers:
    return Containers.load(Path(os.environ["MUSHER_TEST_COMPOSE"]))


@pytest.fixture(scope="session")
def figure() -> Callable[[str, float], None]:
    """Prints what was measured, with how busy the machine was."""

    def say(what: str, began: float) -> None:
        print(f"\n  {what}: {time.monotonic() - began:.0f} s (load {os.getloadavg()[0]:.1f})", flush=True)

    return say


@pytest.fixture(scope="session")
def up(containers, figure, tmp_path_factory) -> AirflowStack:
    began = time.monotonic()
    containers.up()
    figure("all healthy", began)
    ports = {"airflow_port": containers.airflow_port, "local_aws_port": containers.local_aws_port}
    return AirflowStack(Stack(**ports, home=tmp_path_factory.mktemp("stack")))


@pytest.fixture(scope="session")
def trained(up, containers, figure) -> str:
    """A training run in whose middle the scheduler was restarted; the deployment follows by itself."""
    began = time.monotonic()
    up.airflow.wait_for_dag(DEPLOY)
    up.airflow.unpause(DEPLOY)
    run_id = up.trigger(TRAIN, SMALL)
    up.wait_for_state(TRAIN, run_id, "tune", "deferred", timeout=WAIT)
    containers.compose("restart", "scheduler")
    run = up.wait(TRAIN, run_id, WAIT)
    figure(f"{TRAIN} with the scheduler restarted while it tuned", began)
    assert run["state"] == "success", up.why(TRAIN, run_id)
    return run_id


@pytest.fixture(scope="session")
def deployed(up, trained, figure) -> str:
    """The deployment that the released model started; again by hand where this machine could not offer the load.

    Such a verdict is refused and says nothing, or there is none: on a machine that others keep busy no load is on time.
    """
    run_id = demo.triggered_by(up.airflow, trained, known=set(), seconds=WAIT)
    for _ in range(3):
        began = time.monotonic()
        up.wait(DEPLOY, run_id, WAIT)
        figure(DEPLOY, began)
        found = verdict_of(up, run_id)
        if found and not found["refused_because"]:
            return run_id
        print(f"\n  no verdict: {found['refused_because'] if found else up.why(DEPLOY, run_id)}", flush=True)
        run_id = up.trigger(DEPLOY)
    raise AssertionError("three deployments had no verdict: this machine is too busy with other things")


def verdict_of(up: AirflowStack, run_id: str) -> dict[str, Any]:
    """Empty where the deployment has not come so far."""
    return record_of(up, run_id).get("verdict", {}) if up.airflow.xcom(DEPLOY, run_id, "report") else {}


def record_of(up: AirflowStack, run_id: str) -> dict[str, Any]:
    """The run record of a deployment and of the training before it."""
    key = f"{up.airflow.xcom(DEPLOY, run_id, 'report').rstrip('/')}/report.json"
    return json.loads(up.local_aws("s3").get_object(Bucket=up.bucket, Key=key)["Body"].read())


@pytest.fixture(scope="session")
def record(up, deployed) -> dict[str, Any]:
    return record_of(up, deployed)


def poll(condition: Callable[[], Any], otherwise: str, seconds: float = 300) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.5)
    return found


def test_every_service_is_healthy_and_none_is_root(up, containers):
    services = containers.services()
    assert set(services) > ONE_SHOT
    for name, service in services.items():
        expected = ("exited", "") if name in ONE_SHOT else ("running", "healthy")
        assert (service["State"], service["Health"]) == expected, name
    for name in set(services) - ONE_SHOT:
        assert containers.compose("exec", "-T", name, "id", "-u").strip() != "0", name


def test_an_edited_dag_shows_within_seconds(up, containers, figure):
    up.airflow.wait_for_dag(REMOVE)
    file = containers.checkout / "dags/remove_deployment.py"
    edited, count = re.subn(r"tags=\[", 'tags=["edited", ', file.read_text())
    assert count == 1

    def tags() -> list[str]:
        return [tag["name"] for tag in up.rest("GET", f"dags/{REMOVE}")["tags"]]

    assert "edited" not in tags()
    began = time.monotonic()
    file.write_text(edited)
    poll(lambda: "edited" in tags(), "the edit does not show")
    figure("until an edited DAG showed", began)


def test_training_goes_on_when_the_scheduler_restarts(record):
    assert [job["instances"] for job in record["training"]["jobs"]] == [1, 2]
    assert record["model"]["status"] == "Approved"
    assert record["model"]["test_accuracy"] >= 0.8


def test_the_deployment_is_measured_and_judged(up, record, deployed):
    verdict = record["verdict"]
    for check in verdict["checks"]:
        print(f"\n  {'passed' if check['passed'] else 'FAILED'}: {check['name']}: {check['measured']}", end="")
    checks = {check["name"]: check for check in verdict["checks"]}
    for name in COUNTED_CHECKS:
        assert checks[name]["passed"], checks[name]
    assert up.airflow.run(DEPLOY, deployed)["state"] == ("success" if verdict["passed"] else "failed")


def test_the_same_training_on_a_spot_instance(up, record, figure):
    began = time.monotonic()
    run_id = up.trigger(ON_EC2, {})
    run = up.wait(ON_EC2, run_id, WAIT)
    figure(ON_EC2, began)
    assert run["state"] == "success", up.why(ON_EC2, run_id)
    part = up.airflow.xcom(ON_EC2, run_id, "train")
    one = next(job for job in record["training"]["jobs"] if job["instances"] == 1)
    assert abs(part["test_accuracy"] - one["test_accuracy"]) <= 0.03


def test_training_goes_on_when_the_local_aws_restarts(up, containers, record, figure):
    # GIVEN a training whose tuning has a trial running WHEN the local AWS restarts
    for _ in range(3):
        began = time.monotonic()
        job, run_id = restarted_while_a_trial_ran(up, containers)
        # THEN the retries do the rest
        run = up.wait(TRAIN, run_id, WAIT)
        figure(f"{TRAIN} with the local AWS restarted while it tuned", began)
        assert run["state"] == "success", up.why(TRAIN, run_id)
        # Nothing else runs while the next tests look.
        if demo.released(up.airflow, run_id):
            up.wait(DEPLOY, demo.triggered_by(up.airflow, run_id, known=set(), seconds=WAIT), WAIT)
        if job["TrainingJobStatus"] == "Failed":
            break  # a trial may end by itself just before the restart
    assert job["TrainingJobStatus"] == "Failed"
    assert "restarted" in job["FailureReason"]
    # and what was there before is there still.
    model = up.local_aws("sagemaker").describe_model_package(ModelPackageName=record["model"]["package_arn"])
    assert model["ModelApprovalStatus"] == "Approved"


def restarted_while_a_trial_ran(up: AirflowStack, containers: Containers) -> tuple[dict[str, Any], str]:
    """The trial, as it is described after the restart, and the training run."""
    sagemaker = up.local_aws("sagemaker")
    run_id = up.trigger(TRAIN, SMALL)
    up.wait_for_state(TRAIN, run_id, "tune", "deferred", timeout=WAIT)
    running = poll(
        lambda: sagemaker.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"], "no trial runs", WAIT
    )
    containers.compose("restart", "local-aws")
    return sagemaker.describe_training_job(TrainingJobName=running[0]["TrainingJobName"]), run_id


def test_the_volumes_survive_down_and_up(up, containers, record, deployed, figure):
    sagemaker, s3 = up.local_aws("sagemaker"), up.local_aws("s3")

    def kept() -> dict[str, Any]:
        """What a person would miss: runs, the report, registered models, the endpoint."""
        keys = s3.list_objects_v2(Bucket=up.bucket, Prefix=f"runs/{record['run']}/")["Contents"]
        model = sagemaker.describe_model_package(ModelPackageName=record["model"]["package_arn"])
        groups = sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]
        return {
            "runs": {run["dag_run_id"]: run["state"] for run in up.airflow.runs(DEPLOY)},
            "objects": {key["Key"]: key["ETag"] for key in keys},
            "groups": sorted(group["ModelPackageGroupName"] for group in groups),
            "model": model["ModelApprovalStatus"],
            "endpoints": [each["EndpointName"] for each in sagemaker.list_endpoints()["Endpoints"]],
        }

    before = kept()
    assert before["objects"]
    assert before["endpoints"]
    containers.down()
    assert [each for each in containers.left() if not each.startswith("volume")] == []
    began = time.monotonic()
    containers.up()
    figure("all healthy again after down and up", began)
    assert kept() == before
    endpoint = before["endpoints"][0]
    poll(
        lambda: sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"] == "InService",
        f"{endpoint} serves no more",
    )


def test_the_demo_ends_with_the_verdict(up, containers, figure):
    began = time.monotonic()
    status, said = containers.ended("compose", "run", "--rm", "-T", "demo", "/opt/musher/pictures")
    figure("the demo", began)
    deployments = [run for run in up.airflow.runs(DEPLOY) if run["run_type"] == "asset_triggered"]
    on_ec2 = [run for run in up.airflow.runs(ON_EC2) if run["dag_run_id"].startswith("demo-")]
    assert on_ec2, said
    assert on_ec2[0]["state"] == "success", said
    assert (status == 0) == (deployments[0]["state"] == "success" and "✗" not in said), said
    assert "docker compose down" in said
    assert "build/demo" in said


def test_the_tests_pass_in_a_container(containers, figure):
    began = time.monotonic()
    said = containers.compose("--profile", "test", "run", "--rm", "-T", "tests")
    figure("the tests in a container", began)
    assert re.search(r"\d+ passed", said)
    assert "failed" not in said


def test_training_runs_on_a_celery_worker(up, containers, figure):
    began = time.monotonic()
    containers.up("--profile", "celery", AIRFLOW_EXECUTOR="CeleryExecutor")
    figure("all healthy with Celery", began)
    up.rest("PATCH", f"dags/{DEPLOY}", {"is_paused": True}, update_mask="is_paused")
    began = time.monotonic()
    run_id = up.trigger(TRAIN, SMALL)
    run = up.wait(TRAIN, run_id, WAIT)
    figure(f"{TRAIN} on a worker", began)
    assert run["state"] == "success", up.why(TRAIN, run_id)
    # THEN the worker ran each of its tasks, a deferred one twice
    log = containers.compose("--profile", "celery", "logs", "--no-log-prefix", "worker")
    tasks = [task for task in up.airflow.task_instances(TRAIN, run_id) if task["state"] == "success"]
    assert len(re.findall(r"execute_workload\[[0-9a-f-]+\] succeeded", log)) > len(tasks) > 5, log[-2000:]
