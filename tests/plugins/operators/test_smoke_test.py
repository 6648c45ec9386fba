"""A real endpoint is asked about real pictures; whatever is no prediction fails the task."""

from __future__ import annotations

import json

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from musher.operators.deployment import SmokeTestOperator
from musher.operators.endpoint import DeployEndpointOperator

from tests.local_aws.serving import archive
from tests.plugins.operators.labelled import pictures, put

# Answers with what the model's name says, so that a test can have it say anything.
MODEL = """
import json, os

def model_fn(model_dir):
    return json.load(open(os.path.join(model_dir, "name.txt")))

def input_fn(body, content_type):
    return bytes(body)

def predict_fn(body, model):
    if model == "nothing at all":
        raise ValueError("no such dog")
    return model

def output_fn(prediction, accept):
    return json.dumps(prediction), "application/json"
"""
GOOD = [{"label": "beagle", "probability": 0.75}]


@pytest.fixture(scope="module")
def served(new_project):
    """`served(answer)`: a project whose endpoint gives that answer to everything, and what was deployed there."""

    def served(answer: str, stack: str = "production"):
        project = new_project()
        dataset = put(project, pictures(1))
        model = project.package(project.model_archive(body=archive(MODEL, answer)))
        package = {"package_arn": model, "specification": ""}
        endpoint = project.perform(DeployEndpointOperator, model=package, stack=stack)
        return project, {"endpoint": endpoint, "model": {"dataset_uri": dataset}}

    return served


@pytest.mark.parametrize("stack", ["production", "rehearsal"])
def test_it_answers_with_the_first_prediction(served, stack):
    project, given = served(json.dumps({"predictions": GOOD}), stack)

    assert project.perform(SmokeTestOperator, **given) == GOOD[0]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param('{"predictions": []}', id="an empty list"),
        pytest.param('{"said": "nothing"}', id="something else"),
        pytest.param('{"predictions": [{"label": "beagle", "probability": 7}]}', id="a probability above one"),
    ],
)
def test_an_answer_without_a_prediction_fails(served, answer):
    project, given = served(answer)

    with pytest.raises(
        AirflowException, match=f"The endpoint {given['endpoint']['name']} answered without predictions"
    ):
        project.perform(SmokeTestOperator, **given)


def test_a_model_that_fails_and_a_data_set_that_is_gone_are_said(served):
    project, given = served('"nothing at all"')

    name = given["endpoint"]["name"]
    with pytest.raises(AirflowException, match=rf"^The endpoint {name} failed at a test picture: .*no such dog .*log:"):
        project.perform(SmokeTestOperator, **given)
    given["model"]["dataset_uri"] = f"s3://{project.environment.bucket}/{project.name}/gone/"
    with pytest.raises(AirflowFailException, match=r"There are no pictures to send at s3://.*/gone/test/"):
        project.perform(SmokeTestOperator, **given)
