"""Good and bad models released to an endpoint that serves, while callers ask it."""

from __future__ import annotations

import threading
import time

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from musher.operators.release import PREVIOUS_CONFIG, ReleaseEndpointOperator
from musher.operators.roll_back import RollBackDeploymentOperator

from tests.plugins.operators import releasing

MINUTE = releasing.MINUTE


@pytest.fixture(scope="module")
def serving(new_project):
    return releasing.Released(new_project())


def test_a_good_model_takes_over_and_no_call_is_lost(serving):
    project = serving.project
    before = project.endpoint["EndpointConfigName"]
    with serving.callers() as (wrong, answered):
        part = serving.release("good", "good")
    assert wrong == []
    assert len(answered) > 50
    assert all(answered)
    now = serving.settled
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
    assert serving.scalable_target == {"MinCapacity": 1, "MaxCapacity": 2}
    assert serving.alarms == []


@pytest.mark.parametrize(
    ("behave", "check", "params"),
    [
        ("fails", "errors", {}),
        ("fails sometimes", "errors", {"judge_answers": 200}),
        ("slow", "latency", {"slower_allowed": 0.3}),
        ("wrong", "accuracy", {}),
        ("other order", "accuracy", {}),
        ("leaks", "errors", {}),
    ],
)
def test_a_bad_model_is_taken_back(serving, behave, check, params):
    project = serving.project
    before = project.endpoint["EndpointConfigName"]
    with serving.callers() as (wrong, answered), pytest.raises(AirflowFailException, match="was taken back") as caught:
        serving.release(behave.replace(" ", "-"), behave, **params)
    now, written = serving.settled, project.read_part("release")
    assert now["EndpointStatus"] == "InService"
    assert now["EndpointConfigName"] == before
    assert written["outcome"] == "rolled back"
    # One failure in twenty may be chance for as long as there are few answers: that is no pass either.
    outcomes = ("fail", "inconclusive") if behave == "fails sometimes" else ("fail",)
    assert written["judged"] in outcomes
    assert next(each for each in written["checks"] if each["name"] == check)["outcome"] in outcomes, written["checks"]
    assert check in str(caught.value)
    # AND of the callers only those of the canary, while it lasted, got anything but the right answer
    bad = len(wrong) + answered.count(False)
    print(f"{behave}: {bad} of {len(wrong) + len(answered)} lost, {written['seconds_to_roll_back']} s to roll back")
    assert bad < (len(wrong) + len(answered)) / 2
    assert serving.scalable_target == {"MinCapacity": 1, "MaxCapacity": 2}
    assert serving.alarms == []


def test_a_model_that_cannot_load_takes_no_call(serving):
    project = serving.project
    before = project.endpoint["EndpointConfigName"]
    with serving.callers() as (wrong, answered), pytest.raises(AirflowFailException, match="was taken back"):
        serving.release("cannot-load", "cannot load")
    assert wrong == []
    assert all(answered)
    assert project.endpoint["EndpointConfigName"] == before


def test_a_person_can_stop_it(serving):
    project = serving.project
    before, stopped = project.endpoint["EndpointConfigName"], []

    def stop() -> None:
        while not (project.endpoint.get("PendingDeploymentSummary") and serving.alarms):
            time.sleep(0.1)
        operator = project.task(RollBackDeploymentOperator)
        stopped.append(operator.execute(project.context))

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(AirflowFailException, match=r"Rolled back by a person\."):
        serving.release("stopped", "good")
    thread.join()
    assert stopped == [before]
    assert serving.settled["EndpointConfigName"] == before


def test_one_click_brings_back_what_served_before_and_another_one_undoes_that(serving):
    # GIVEN a release, which keeps what served before
    project = serving.project
    before = project.endpoint["EndpointConfigName"]
    now = serving.release("to-be-rolled-back", "good")["config"]
    with serving.callers() as (wrong, answered):
        assert project.perform(RollBackDeploymentOperator) == before
        assert project.endpoint["EndpointConfigName"] == before
        assert project.perform(RollBackDeploymentOperator) == now
    assert wrong == []
    assert all(answered)
    assert serving.settled["EndpointConfigName"] == now
    assert serving.scalable_target == {"MinCapacity": 1, "MaxCapacity": 2}


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
