"""The model that serves is the one to beat: whoever deployed it, and in whatever way."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

import pytest
from airflow.sdk.exceptions import AirflowException
from musher import names
from musher.hooks.in_service import InService
from musher.operators.endpoint import DeployEndpointOperator
from musher.operators.evaluation import EvaluateInServiceOperator

from tests.local_aws.daemon import wait_for
from tests.local_aws.serving import IMAGE

DATASET = {"version": "v2", "uri": "s3://somewhere/dataset/images/", "classes": ["a", "b"]}
# An evaluate.py that knows the models of these tests by their names.
SCRIPT = """
import json, os, pathlib, tarfile
with tarfile.open(pathlib.Path(os.environ["SM_CHANNEL_MODEL"], "model.tar.gz")) as archive:
    name = archive.extractfile("name.txt").read().decode()
if name == "foreign":
    raise ValueError("the model knows nothing of pictures")
evaluation = {"accuracy": 0.75, "loss": 0.5, "images": 4, "classes": ["a", "b"], "per_class": []}
pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "evaluation.json").write_text(json.dumps(evaluation))
"""


@pytest.fixture(scope="module")
def served(new_project):
    """A project with a staged script and a test picture."""
    project = new_project()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("evaluate.py")
        info.size = len(SCRIPT.encode())
        tar.addfile(info, io.BytesIO(SCRIPT.encode()))
    project.put("code/sourcedir.tar.gz", gzip.compress(buffer.getvalue()))
    project.put("data/test/a/1.jpg", b"a picture")
    return project


def registered(project, name: str, accuracy: float, version: str = "v1", **more) -> str:
    """A model package as a training run registers it."""
    figures = {"accuracy": accuracy, "loss": 0.1, "images": 4, "classes": ["a", "b"], "per_class": [], **more}
    metrics = project.put(f"{name}/evaluation.json", json.dumps(figures).encode())
    return project.package(
        project.model_archive(name),
        CustomerMetadataProperties={"run_key": f"run-of-{name}", "dataset_version": version},
        ModelMetrics={"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": metrics}}},
    )


def deploy(project, arn: str, run_id: str) -> None:
    project.run_as("deploy_image_classifier", run_id)
    project.perform(DeployEndpointOperator, model={"package_arn": arn, "specification": ""})


def by_hand(project, name: str, **container: str) -> None:
    """Update the endpoint as a person may: a model and a configuration of any name."""
    project.sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=project.environment.endpoint_role_arn, PrimaryContainer=container
    )
    variant = {"VariantName": names.VARIANT, "ModelName": name, "InstanceType": "ml.m5.large"}
    project.sagemaker.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=[{**variant, "InitialInstanceCount": 1}]
    )
    project.sagemaker.update_endpoint(EndpointName=names.Stack(project.name).endpoint, EndpointConfigName=name)
    wait_for(lambda: project.endpoint["EndpointStatus"] == "InService")
    assert project.endpoint["EndpointConfigName"] == name


def operator_values(project) -> dict:
    base = f"s3://{project.environment.bucket}/{project.name}"
    inputs = {"dataset": f"{base}/data/", "code": f"{base}/code/", "pretrained": f"{base}/none/"}
    return {"inputs": inputs, "dataset": DATASET}


def evaluate(project, run_id: str):
    project.run_as("train_image_classifier", run_id)
    return project.perform(EvaluateInServiceOperator, **operator_values(project))


def jobs(project) -> list[str]:
    found = project.sagemaker.list_training_jobs(NameContains=f"{project.name}-")["TrainingJobSummaries"]
    return [each["TrainingJobName"] for each in found]


def test_an_approved_model_that_nobody_deployed_is_not_in_service(project):
    registered(project, "good", 0.99, version="v2")
    assert evaluate(project, "r") is None


def test_the_model_that_serves_counts_and_not_the_newest_one(served):
    # GIVEN two models measured on this very data set, of which the older one serves
    older = registered(served, "older", 0.8, version="v2")
    registered(served, "newer", 0.9, version="v2")
    deploy(served, older, "first")

    # THEN its figure is taken, and no job is needed
    found = evaluate(served, "r1")
    assert (found["package_arn"], found["accuracy"]) == (older, 0.8)
    assert jobs(served) == []


def test_a_package_without_metrics_is_measured(served):
    # GIVEN a package that somebody registered by hand, and that serves
    arn = served.package(served.model_archive("by-hand"))
    deploy(served, arn, "second")

    found = evaluate(served, "r2")
    assert (found["package_arn"], found["accuracy"]) == (arn, 0.75)
    assert len(jobs(served)) == 1

    # A retry takes the result of that job; where something else serves by then, it does not pass for its figure.
    assert evaluate(served, "r2") == found
    served.sagemaker.delete_endpoint(EndpointName=names.Stack(served.name).endpoint)
    operator = served.task(EvaluateInServiceOperator, **operator_values(served))
    event = {"name": jobs(served)[0], "status": "Completed"}
    assert operator.resume(served.context, event=event) == {
        "left_out": "it was taken out of service while it was measured"
    }
    wait_for(lambda: not served.sagemaker.list_endpoints(NameContains=f"{served.name}-")["Endpoints"])


def test_a_model_that_cannot_be_measured_is_left_out_with_the_reason(served):
    # GIVEN a model that comes from no package, and that our evaluation cannot use
    deploy(served, registered(served, "third", 0.8), "third")
    data = served.model_archive("foreign")
    by_hand(served, f"hand-made-{served.name}", Image=IMAGE, ModelDataUrl=data)

    found = evaluate(served, "r3")
    assert found.keys() == {"left_out"}
    assert "the model knows nothing of pictures" in found["left_out"]

    # and one whose record is gone
    served.sagemaker.delete_model(ModelName=f"hand-made-{served.name}")
    assert evaluate(served, "r4") == {"left_out": f"the model hand-made-{served.name} does not exist any more"}


def test_a_job_that_measures_one_of_ours_and_fails_is_an_error(served, monkeypatch):
    # GIVEN one of our models in service, measured on another data set: its own figure does not count
    package = served.sagemaker.describe_model_package(ModelPackageName=registered(served, "foreign", 0.8))
    data = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    monkeypatch.setattr("musher.operators.evaluation.in_service", lambda *_: InService("ours", package, data))
    with pytest.raises(AirflowException, match="the model knows nothing of pictures"):
        evaluate(served, "r5")
