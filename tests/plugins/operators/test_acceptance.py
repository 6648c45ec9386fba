"""From trained candidates to a registered and released model."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from musher import record
from musher.operators.acceptance import EvaluateCandidatesOperator, RegisterModelOperator, ReleaseModelOperator
from musher.release import rehearsal

DATASET = {"version": "v1", "uri": "s3://somewhere/dataset/images/", "classes": ["a", "b"]}


def evaluation(accuracy: float, valid_loss: float | None = None, images: int = 20) -> dict[str, Any]:
    """What evaluate.py writes, and train.py where there is a validation loss."""
    found = {
        "accuracy": accuracy,
        "loss": 0.5,
        "images": images,
        "classes": ["a", "b"],
        "per_class": [{"label": label, "images": images // 2, "accuracy": accuracy} for label in "ab"],
    }
    if valid_loss is not None:
        found["validation"] = {"epoch": 1, "loss": valid_loss, "accuracy": 0.8}
    return found


def trained(project, job: str, content: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A training job's entry, with what it left on S3: evaluation.json, and files by their names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, written in {"evaluation": content, **more}.items():
            text = json.dumps(written).encode()
            info = tarfile.TarInfo(f"{name}.json")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    return {
        "job": job,
        "instances": 1,
        "instance_type": "ml.m5.xlarge",
        "wall_seconds": 60.0,
        "billable_seconds": 60.0,
        "test_accuracy": content["accuracy"],
        "test_loss": content["loss"],
        "cost_usd": 0.004,
        "model_data": project.model_archive(job),
        "output_data": project.put(f"jobs/{job}/output/output.tar.gz", buffer.getvalue()),
    }


@pytest.fixture(autouse=True)
def training_run(project):
    project.run_as("train_image_classifier", "training")


def test_the_validation_set_chooses_and_the_test_set_does_not(project):
    # GIVEN a candidate that is better on the validation set, and one that is better on the test set
    one = trained(project, "one", evaluation(accuracy=0.90, valid_loss=0.30))
    several = trained(project, "several", evaluation(accuracy=0.95, valid_loss=0.31))

    chosen = project.perform(EvaluateCandidatesOperator, candidates=[one, several])

    # THEN the first one is chosen, and the test set judges it
    assert chosen["job"] == "one"
    assert chosen["accuracy"] == 0.90
    part = project.read_part("training")
    assert part["chosen"] == "one"
    assert [job["valid_loss"] for job in part["jobs"]] == [0.30, 0.31]
    assert project.read_part("evaluation")["accuracy"] == 0.90


def test_a_path_that_was_not_taken_is_no_candidate(project):
    several = trained(project, "several", evaluation(accuracy=0.95, valid_loss=0.31))
    assert project.perform(EvaluateCandidatesOperator, candidates=[None, several])["job"] == "several"
    assert len(project.read_part("training")["jobs"]) == 1


def predictions(job: str) -> dict[str, Any]:
    """What the scripts write beside the evaluation: [file, bytes, label, predicted, probability]."""
    return {
        "weights": job,
        "classes": ["a", "b"],
        "pictures": [["a/1.jpg", 100, 0, 0, 0.75], ["b/1.jpg", 99, 1, 0, 0.5]],
    }


def test_what_the_chosen_one_said_of_each_picture_goes_into_the_runs_folder(project):
    jobs = [
        trained(project, name, evaluation(accuracy=0.9, valid_loss=loss), predictions=predictions(name))
        for name, loss in (("one", 0.31), ("several", 0.30))
    ]
    project.perform(EvaluateCandidatesOperator, candidates=jobs)

    bucket, run = project.environment.bucket, project.run.key
    kept = record.read(project.s3, bucket, run, record.Predictions)
    assert kept.weights == "several"
    assert kept.pictures[1] == record.JudgedPicture("b/1.jpg", 99, 1, 0, 0.5)
    assert "predictions" not in record.read_run(project.s3, bucket, run).to_json()  # none of the report's


def test_a_job_of_others_says_nothing_of_each_picture(project):
    project.perform(EvaluateCandidatesOperator, candidates=[trained(project, "one", evaluation(0.9, valid_loss=0.3))])
    assert record.read(project.s3, project.environment.bucket, project.run.key, record.Predictions) is None


def test_where_the_time_of_each_job_went_goes_into_the_record(project):
    # GIVEN a job with a profile, one whose profile is none, and one without any
    profile = {"complete": True, "trained": "head", "batch_size": 32, "verdict": {"sentence": "nothing"}, "new": 1}
    written = {"one": {"profile": profile}, "broken": {"profile": {"complete": "perhaps"}}, "none": {}}
    jobs = [trained(project, name, evaluation(0.9, valid_loss=0.3), **more) for name, more in written.items()]

    project.perform(EvaluateCandidatesOperator, candidates=jobs)

    (found,) = project.read_part("profile")["jobs"]
    assert (found["job"], found["verdict"]["sentence"]) == ("one", "nothing")


def test_a_job_without_a_validation_loss_is_one_sentence(project):
    old = trained(project, "old", evaluation(accuracy=0.95))
    with pytest.raises(AirflowFailException, match="The training job old wrote no validation loss"):
        project.perform(EvaluateCandidatesOperator, candidates=[old])


def candidate(project, accuracy: float = 0.9) -> dict[str, Any]:
    return {**trained(project, "one", evaluation(accuracy)), **evaluation(accuracy)}


def register(project, in_service: Any, accuracy: float = 0.9) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the operator returns, and the model package."""
    values = {"candidate": candidate(project, accuracy), "in_service": in_service, "dataset": DATASET}
    found = project.perform(RegisterModelOperator, **values)
    return found, project.sagemaker.describe_model_package(ModelPackageName=found["package_arn"])


def test_a_good_model_is_registered_once_with_what_later_runs_need(project):
    found, package = register(project, None)

    assert found["accepted"] is True
    assert package["ModelApprovalStatus"] == "Approved"
    assert package["ApprovalDescription"] == found["reason"]
    properties = package["CustomerMetadataProperties"]
    archive = project.s3.get_object(
        Bucket=project.environment.bucket, Key=f"{project.name}/jobs/one/output/model.tar.gz"
    )
    assert properties["sha256"] == hashlib.sha256(archive["Body"].read()).hexdigest()
    assert (properties["run_key"], properties["dataset_version"]) == (project.run.key, "v1")
    statistics = package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
    assert statistics == f"s3://{project.environment.bucket}/runs/{project.run.key}/evaluation.json"
    part = project.read_part("model")
    assert (part["status"], part["package_arn"]) == ("Approved", found["package_arn"])
    assert part["sha256"] == properties["sha256"]

    # An archive of others says nothing of its network.
    assert set(rehearsal.missing(properties)) == {"backbone", "head", "image_size"}

    # A retry registers nothing twice.
    assert register(project, None)[0] == found
    group = project.environment.model_package_group
    assert len(project.sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]) == 1


def test_the_registration_says_which_network_the_archive_holds(project):
    def registered(code: str, **description: Any) -> dict[str, str]:
        buffer = io.BytesIO()
        files = {
            "code/inference.py": code,
            "code/vendor/a.py": "",
            "model.json": json.dumps(description),
            "weights": code,
        }
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name, text in files.items():
                info = tarfile.TarInfo(f"./{name}")
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text.encode()))
        project.run_as("train_image_classifier", code)
        given = candidate(project) | {"model_data": project.put(f"{code}.tar.gz", buffer.getvalue())}
        arn = project.perform(RegisterModelOperator, candidate=given, in_service=None, dataset=DATASET)["package_arn"]
        found = project.sagemaker.describe_model_package(ModelPackageName=arn)["CustomerMetadataProperties"]
        assert found["sha256"] == hashlib.sha256(buffer.getvalue()).hexdigest()
        return {name: found[name] for name in rehearsal.ARCHIVE if name in found}

    first = registered("one", backbone="resnet18", head="linear", image_size=96, classes=["a"])
    assert {**first, "code": ""} == {"code": "", "backbone": "resnet18", "head": "linear", "image_size": "96"}
    # AND other code is other code
    assert registered("two", backbone="resnet18", head="linear", image_size=96)["code"] != first["code"]


def test_a_worse_model_than_the_one_in_service_is_registered_as_rejected(project):
    in_service = {"package_arn": "arn:aws:sagemaker:us-east-1:111122223333:model-package/p/1", **evaluation(0.99)}
    found, package = register(project, in_service)

    assert found["accepted"] is False
    assert package["ModelApprovalStatus"] == "Rejected"
    assert "accuracy beside the model in service is 0.9 and has to be at least 0.97" in package["ApprovalDescription"]
    assert project.read_part("model")["status"] == "Rejected"


def test_a_model_in_service_that_was_left_out_is_named_in_the_reason(project):
    found, _ = register(project, {"left_out": "the model m names no model archive"})
    assert found["accepted"] is True
    assert found["reason"].endswith("The model in service was not compared: the model m names no model archive.")


ASSET = Asset("registered_model")


def release(project, **registered: Any) -> dict[str, Any]:
    """What the asset's event says."""
    event = SimpleNamespace(extra={})
    operator = project.task(ReleaseModelOperator, registered=registered, outlets=[ASSET])
    operator.execute({**project.context, "outlet_events": {ASSET: event}})
    return event.extra


def test_an_accepted_model_is_announced_by_its_package(project):
    assert release(project, accepted=True, package_arn="arn", reason="good") == {"model_package_arn": "arn"}


def test_a_rejected_model_is_not_announced(project):
    with pytest.raises(AirflowSkipException, match="Not deployed: too bad"):
        release(project, accepted=False, package_arn="arn", reason="too bad")
