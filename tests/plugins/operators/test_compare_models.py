"""Two models compared: one endpoint, real load, and the sentence that comes out."""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException
from musher import names
from musher.comparison import climb, under_load
from musher.config import ComparisonConfig
from musher.load import capacity
from musher.load.generator import run_phase
from musher.load.results import OfferLimits
from musher.operators.comparison import (
    ChooseModelsOperator,
    CompareUnderLoadOperator,
    DeployVariantsOperator,
    RemoveComparisonOperator,
)
from musher.operators.endpoint import DeployEndpointOperator
from musher.operators.removal import RemoveDeploymentOperator
from musher.operators.report import WriteReportOperator
from musher.operators.running_costs import ReportRunningCostsOperator

from tests.local_aws.serving import archive
from tests.plugins.operators.labelled import pictures, put

# Says of each picture what its table says, after a while.
MODEL = """
import hashlib, json, os, time

def model_fn(model_dir):
    return json.load(open(os.path.join(model_dir, "name.txt")))

def input_fn(body, content_type):
    return bytes(body)

def predict_fn(body, model):
    time.sleep(model["seconds"])
    return {"predictions": [{"label": model["table"][hashlib.sha256(body).hexdigest()], "probability": 0.9}]}

def output_fn(prediction, accept):
    weights = os.environ["MODEL_NAME"][-1] * 16
    return json.dumps(prediction), f"application/json; weights={weights}; model=" + os.environ["MODEL_NAME"]
"""
PARAMS = {"rounds": 4, "step_seconds": 0.3, "pictures": 40, "latency_limit_ms": 1000}


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """On a busy test machine requests leave late, which says nothing of the models."""

    def late(*given, **more):
        return run_phase(*given, **{**more, "limits": OfferLimits(send_lag_p99_ms=10_000)})

    monkeypatch.setattr(capacity, "run_phase", late)
    monkeypatch.setattr(under_load, "run_phase", late)
    # AND there is no need to be gentle with a model that only sleeps, nor to know its capacity well
    monkeypatch.setattr(capacity, "SHARE_OF_ONE_BY_ONE", 1.0)
    monkeypatch.setattr(climb, "START_RPS", 8.0)
    monkeypatch.setattr(climb, "FIRST_SHARE", 0.5)
    monkeypatch.setattr(climb, "REFINEMENTS", 1)


PICTURES = pictures(20)


@pytest.fixture(scope="module")
def registered(new_project):
    """A project in which the first of three models serves: quick and right, slow and often wrong, and a rejected
    one."""
    project = new_project()
    uri = put(project, PICTURES)

    def package(name: str, seconds: float, said: dict[str, str], **more) -> str:
        table = {hashlib.sha256(data).hexdigest(): said.get(file, file[0]) for file, data in PICTURES.items()}
        body = archive(code=MODEL, name=json.dumps({"seconds": seconds, "table": table}))
        data = project.model_archive(name, body)
        return project.package(data, CustomerMetadataProperties={"dataset_uri": uri, "run_key": name}, **more)

    quick = package("quick", 0.02, {})
    slow = package("slow", 0.06, {f"b/{number}.png": "a" for number in range(15)})
    rejected = package("rejected", 0.0, {}, status="Rejected")
    project.run_as("deploy_image_classifier", "first")
    project.perform(DeployEndpointOperator, model={"package_arn": quick, "specification": ""})
    return SimpleNamespace(project=project, quick=quick, slow=slow, rejected=rejected)


def choose(registered, **params) -> dict:
    registered.project.run_as("compare_models", "choose", **params)
    return registered.project.perform(ChooseModelsOperator)


def test_without_a_choice_it_is_the_one_in_service_and_the_newest_other_approved_one(registered):
    models = choose(registered)
    assert (models["a"]["package_arn"], models["b"]["package_arn"]) == (registered.quick, registered.slow)
    assert (models["a"]["version"], models["b"]["version"]) == (1, 2)
    assert models["b"]["dataset_uri"].endswith("/pictures/")


def test_models_that_are_named_are_taken_whatever_their_status(registered):
    models = choose(registered, model_package_arn_a=registered.slow, model_package_arn_b=registered.rejected)
    assert (models["a"]["package_arn"], models["b"]["package_arn"]) == (registered.slow, registered.rejected)
    assert models["b"]["status"] == "Rejected"


def test_a_choice_that_cannot_be_made_is_one_sentence(registered, project):
    nobody = registered.slow.replace("/2", "/99")
    with pytest.raises(AirflowFailException, match=r"^model_package_arn_b is '.*/99'; there is no such model package"):
        choose(registered, model_package_arn_b=nobody)
    project.run_as("compare_models", "empty")
    with pytest.raises(AirflowFailException, match=r"^model_package_arn_a is empty, and the group .* has no approved"):
        project.perform(ChooseModelsOperator)


def test_the_better_of_two_models_is_found_and_nothing_is_left(registered):
    project = registered.project
    models = choose(registered)
    run = project.run_as("compare_models", "both", **PARAMS)

    endpoint = project.perform(DeployVariantsOperator, models=models)
    assert endpoint == names.comparison_endpoint(project.name)
    described = project.sagemaker.describe_endpoint(EndpointName=endpoint)
    assert {each["VariantName"] for each in described["ProductionVariants"]} == {"a", "b"}
    tags = project.sagemaker.list_tags(ResourceArn=described["EndpointArn"])["Tags"]
    assert {"project", "dag", "run", "expires"} == {each["Key"] for each in tags}
    # AND a second try finds it
    assert project.perform(DeployVariantsOperator, models=models) == endpoint
    # AND another run does not take it over
    project.run_as("compare_models", "other", **PARAMS)
    with pytest.raises(AirflowFailException, match=r"of another comparison stands"):
        project.perform(DeployVariantsOperator, models=models)

    project.run_as("compare_models", "both", **PARAMS)
    conclusion = project.perform(CompareUnderLoadOperator, models=models, endpoint=endpoint)
    part = project.read_part("model_comparison")
    found = {each["name"]: each for each in part["differences"]}
    assert part["conclusion"] == conclusion
    assert conclusion.startswith("Model a (version 1) is typically ")
    assert "37.5 points" in conclusion
    assert found["typical latency"]["better"] == "a"
    assert found["typical latency"]["low"] > 1.05
    assert (found["accuracy"]["a"], found["accuracy"]["b"]) == (1.0, 0.625)
    assert found["accuracy"]["better"] == "a"
    assert found["errors"]["better"] is None
    assert found["errors"]["smallest"] > 0
    assert part["agreement"]["share"] == 0.625
    assert part["rounds"] == 4
    assert part["a"]["capacity_rps"] > part["b"]["capacity_rps"] > 0
    assert part["a"]["per_1000_usd"] < part["b"]["per_1000_usd"]
    assert (part["a"]["weights"], part["b"]["weights"]) == (["a" * 16], ["b" * 16])
    assert part["calls"] >= part["a"]["sent"] + part["b"]["sent"] > 200
    assert len(part["by_rate"]) > 2

    gone = project.perform(RemoveComparisonOperator)
    assert f"endpoint {endpoint}" in gone
    assert len([each for each in gone if each.startswith("model ")]) == 2
    assert project.perform(RemoveComparisonOperator) == []
    assert project.endpoint["EndpointStatus"] == "InService"

    project.perform(WriteReportOperator)
    key = f"runs/{run.key}/report.html"
    page = project.s3.get_object(Bucket=project.environment.bucket, Key=key)["Body"].read().decode()
    assert "Two models under the same load" in page
    assert "was not run" not in page


def test_what_a_lost_comparison_left_is_removed_once_it_has_expired(registered, monkeypatch):
    project = registered.project
    models = choose(registered)
    with monkeypatch.context() as patch:  # a comparison that began long ago
        patch.setattr(ComparisonConfig, "limit_seconds", -3600)
        run = project.run_as("compare_models", "lost", **PARAMS)
        endpoint = project.perform(DeployVariantsOperator, models=models)

    project.run_as("report_running_costs", "daily")
    listed = project.perform(ReportRunningCostsOperator)

    (mine,) = [each for each in listed if each["name"] == endpoint]
    assert (mine["run"], mine["detail"]) == (run.run_id, "1 x ml.m5.large, 1 x ml.m5.large")
    assert project.perform(RemoveComparisonOperator) == []
    assert project.endpoint["EndpointStatus"] == "InService"


def test_removing_the_deployment_removes_what_a_comparison_left(registered):
    project = registered.project
    models = choose(registered)
    project.run_as("compare_models", "left", **PARAMS)
    endpoint = project.perform(DeployVariantsOperator, models=models)
    gone = project.perform(RemoveDeploymentOperator)
    assert {f"endpoint {endpoint}", f"endpoint {project.name}-image-classifier"} <= set(gone)
