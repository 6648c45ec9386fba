"""Good and bad models released to an endpoint that serves, while callers ask it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import threading
import time
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from botocore.exceptions import ClientError
from musher.hooks.serving import CHANGING
from musher.operators.deployment import RegisterScalingOperator
from musher.operators.endpoint import DeployEndpointOperator
from musher.operators.release import PREVIOUS_CONFIG, ReleaseEndpointOperator
from musher.operators.roll_back import RollBackDeploymentOperator
from PIL import Image

from tests.local_aws.daemon import wait_for
from tests.local_aws.serving import archive

# Says of each picture what its table says, and behaves as it is told.
MODEL = """
import hashlib, json, os, time

calls = 0

def model_fn(model_dir):
    model = json.load(open(os.path.join(model_dir, "name.txt")))
    if model["behave"] == "cannot load":
        raise RuntimeError("no such layer")
    return model

def input_fn(body, content_type):
    return bytes(body)

def predict_fn(body, model):
    global calls
    calls += 1
    behave = model["behave"]
    time.sleep(0.02 if behave != "slow" else 0.06)
    if behave == "fails" or (behave == "fails sometimes" and calls % 10 == 0):
        raise ValueError("cannot reshape")
    if behave == "dies" and calls > 30:
        os._exit(1)
    label = model["table"][hashlib.sha256(body).hexdigest()]
    if behave == "wrong":
        label = {"a": "b", "b": "a"}[label]
    return {"predictions": [{"label": label, "probability": 0.9}]}

def output_fn(prediction, accept):
    return json.dumps(prediction), "application/json; weights=0123456789abcdef; model=" + os.environ["MODEL_NAME"]
"""
# Three silent minutes are the end of a release: longer than a busy machine may keep its heartbeat waiting.
MINUTE = 4.0
PARAMS = {
    "bake_seconds": 250,  # sixteen seconds and a half here
    "final_bake_seconds": 30,
    "judge_answers": 100,
    "judge_requests_per_second": 40,
    "slower_allowed": 0.5,
    "max_instances": 2,
}


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 12), (shade, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = {f"{label}/{number}.png": picture(100 * (label == "b") + number) for label in "ab" for number in range(20)}
TABLE = {hashlib.sha256(data).hexdigest(): file[0] for file, data in PICTURES.items()}


@pytest.fixture(scope="module")
def serving(new_project):
    """A project whose endpoint serves a good model on one instance, with auto-scaling and pictures."""
    project = new_project()
    for file, data in PICTURES.items():
        project.put(f"pictures/test/{file}", data)
    uri = f"s3://{project.environment.bucket}/{project.name}/pictures/"

    def model(behave: str) -> dict:
        body = archive(code=MODEL, name=json.dumps({"behave": behave, "table": TABLE}))
        arn = project.package(project.model_archive(behave.replace(" ", "-"), body))
        return {"package_arn": arn, "specification": "", "dataset_uri": uri, "run_key": project.run.key}

    project.run_as("deploy_image_classifier", "first", **PARAMS)
    endpoint = project.perform(DeployEndpointOperator, model=model("good"))
    project.perform(RegisterScalingOperator, endpoint=endpoint, capacity={"max_rps_per_instance": 1000.0})
    return SimpleNamespace(project=project, model=model, endpoint=endpoint)


@contextlib.contextmanager
def callers(project, rps: float = 10.0):
    """Somebody asks the endpoint all the time; yields the list of what went wrong and of how many answers came."""
    runtime, name = project.daemon.client("sagemaker-runtime"), project.endpoint["EndpointName"]
    wrong, answered, over = [], [], threading.Event()

    def ask() -> None:
        while True:
            data = list(PICTURES.values())[len(answered) % len(PICTURES)]
            try:
                body = runtime.invoke_endpoint(EndpointName=name, ContentType="image/png", Body=data)["Body"].read()
                answered.append(json.loads(body)["predictions"][0]["label"] == TABLE[hashlib.sha256(data).hexdigest()])
            except ClientError as error:
                wrong.append(error.response["Error"]["Code"])
            if over.wait(1 / rps):
                return

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield wrong, answered
    finally:
        over.set()
        thread.join()


def release(serving, run: str, behave: str, **params):
    project = serving.project
    project.run_as("deploy_image_classifier", run, **{**PARAMS, **params})
    return project.perform(ReleaseEndpointOperator, model=serving.model(behave), stack="rehearsal")


def settled(project) -> dict:
    """The endpoint, once auto-scaling has taken the instance away that the release added."""
    wait_for(lambda: project.endpoint["EndpointStatus"] not in CHANGING, 60)
    return project.endpoint


def scalable_target(project) -> dict:
    client = project.daemon.client("application-autoscaling")
    (found,) = client.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[f"endpoint/{project.endpoint['EndpointName']}/variant/AllTraffic"]
    )["ScalableTargets"]
    return {"MinCapacity": found["MinCapacity"], "MaxCapacity": found["MaxCapacity"]}


def alarms(project) -> list[str]:
    found = project.daemon.client("cloudwatch").describe_alarms(AlarmNamePrefix=project.endpoint["EndpointName"])
    return [each["AlarmName"] for each in found["MetricAlarms"]]


def test_a_good_model_takes_over_and_no_call_is_lost(serving):
    project = serving.project
    before = project.endpoint["EndpointConfigName"]
    with callers(project) as (wrong, answered):
        part = release(serving, "good", "good")
    assert wrong == []
    assert len(answered) > 50
    assert all(answered)
    now = settled(project)
    assert now["EndpointStatus"] == "InService"
    assert now["EndpointConfigName"] == part["config"] != before
    written = project.read_part("release")
    assert written["outcome"] == "released"
    assert written["judged"] == "pass"
    assert {each["name"]: each["outcome"] for each in written["checks"]} == dict.fromkeys(
        ("errors", "latency", "accuracy", "agreement"), "pass"
    )
    # AND what served before stays, to go back to, and scaling is as it was
    assert project.sagemaker.describe_endpoint_config(EndpointConfigName=before)["EndpointConfigName"] == before
    tags = project.sagemaker.list_tags(ResourceArn=now["EndpointArn"])["Tags"]
    assert {"Key": PREVIOUS_CONFIG, "Value": before} in tags
    assert scalable_target(project) == {"MinCapacity": 1, "MaxCapacity": 2}
    assert alarms(project) == []


@pytest.mark.parametrize(
    ("behave", "check"),
    [
        ("fails", "errors"),
        ("fails sometimes", "errors"),
        ("slow", "latency"),
        ("wrong", "accuracy"),
        ("dies", "errors"),
    ],
)
def test_a_bad_model_is_taken_back(serving, behave, check):
    project = serving.project
    before = project.endpoint["EndpointConfigName"]
    with callers(project) as (wrong, answered), pytest.raises(AirflowFailException, match="was taken back") as caught:
        release(serving, behave.replace(" ", "-"), behave)
    now, written = settled(project), project.read_part("release")
    assert now["EndpointStatus"] == "InService"
    assert now["EndpointConfigName"] == before
    assert written["outcome"] == "rolled back"
    assert written["judged"] == "fail"
    assert next(each for each in written["checks"] if each["name"] == check)["outcome"] == "fail", written["checks"]
    assert check in str(caught.value)
    # AND of the callers only those of the canary, while it lasted, got anything but the right answer
    bad = len(wrong) + answered.count(False)
    print(f"{behave}: {bad} of {len(wrong) + len(answered)} lost, {written['seconds_to_roll_back']} s to roll back")
    assert bad < (len(wrong) + len(answered)) / 2
    assert scalable_target(project) == {"MinCapacity": 1, "MaxCapacity": 2}
    assert alarms(project) == []


def test_a_model_that_cannot_load_takes_no_call(serving):
    project = serving.project
    before = project.endpoint["EndpointConfigName"]
    with callers(project) as (wrong, answered), pytest.raises(AirflowFailException, match="was taken back"):
        release(serving, "cannot-load", "cannot load")
    assert wrong == []
    assert all(answered)
    assert project.endpoint["EndpointConfigName"] == before


def test_a_person_can_stop_it(serving):
    project = serving.project
    before, stopped = project.endpoint["EndpointConfigName"], []

    def stop() -> None:
        while not (project.endpoint.get("PendingDeploymentSummary") and alarms(project)):
            time.sleep(0.1)
        operator = project.task(RollBackDeploymentOperator)
        stopped.append(operator.execute(project.context))

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(AirflowFailException, match=r"Rolled back by a person\."):
        release(serving, "stopped", "good")
    thread.join()
    assert stopped == [before]
    assert settled(project)["EndpointConfigName"] == before


def test_one_click_brings_back_what_served_before_and_another_one_undoes_that(serving):
    # GIVEN a release, which keeps what served before
    project = serving.project
    before = project.endpoint["EndpointConfigName"]
    now = release(serving, "to-be-rolled-back", "good")["config"]
    with callers(project) as (wrong, answered):
        assert project.perform(RollBackDeploymentOperator) == before
        assert project.endpoint["EndpointConfigName"] == before
        assert project.perform(RollBackDeploymentOperator) == now
    assert wrong == []
    assert all(answered)
    assert settled(project)["EndpointConfigName"] == now
    assert scalable_target(project) == {"MinCapacity": 1, "MaxCapacity": 2}


def test_nothing_to_go_back_to_is_one_sentence(serving, new_project):
    with pytest.raises(AirflowFailException, match=r"^There is no endpoint p\d+-image-classifier: nothing is deployed"):
        new_project().perform(RollBackDeploymentOperator)


def test_a_model_that_was_tried_out_where_it_serves_needs_no_release(serving):
    with pytest.raises(AirflowSkipException, match="nothing left to release"):
        serving.project.perform(ReleaseEndpointOperator, model={}, stack="production")


def test_a_rehearsal_that_did_not_pass_releases_nothing(serving):
    verdict = {"passed": False, "checks": []}
    before = serving.project.endpoint["EndpointConfigName"]
    with pytest.raises(AirflowFailException, match="load test did not pass"):
        serving.project.perform(ReleaseEndpointOperator, model={}, stack="rehearsal", verdict=verdict)
    assert serving.project.endpoint["EndpointConfigName"] == before
