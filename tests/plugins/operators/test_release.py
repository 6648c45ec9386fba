"""Good and bad models released to an endpoint that serves, while callers ask it."""

from __future__ import annotations

import threading
import time

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from musher.costs import prices
from musher.hooks.served_before import PREVIOUS_CONFIG
from musher.operators.deployment import DeployFunctionOperator, RegisterScalingOperator
from musher.operators.end_deployment import EndDeploymentOperator
from musher.operators.release import ReleaseEndpointOperator
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
    assert written["cost_usd"] > 0
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
    assert (serving.told(), written["problems"]) == (["a release was rolled back"], [])
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


def test_a_task_that_is_ended_before_its_release_has_begun_ends_quietly(serving):
    task = serving.project.task(ReleaseEndpointOperator, model={}, tried_on="rehearsal")
    task.cloudwatch = serving.project.daemon.client("cloudwatch")

    task.on_kill()  # with no alarm there that it could set

    assert serving.alarms == []


def function_of(serving, folder, code: str) -> None:
    """Have a function with this code in front of the endpoint."""
    (folder / "handler.py").write_text(f"def handler(event, context):\n    return {{'code': '{code}'}}\n")
    serving.project.perform(DeployFunctionOperator, endpoint={"name": serving.project.endpoint["EndpointName"]})


def test_one_click_brings_back_what_served_before_and_another_one_undoes_that(serving, tmp_path):
    # GIVEN a release of a model, and with it of another version of the function and another target of the scaling
    project = serving.project
    project.environment = project.environment.model_copy(update={"lambda_folder": str(tmp_path)})
    client, name = project.daemon.client("lambda"), f"{project.name}-classifier"

    def state() -> tuple[str, str, float, dict[str, int]]:
        """What serves: configuration, version, the scaling's target and how many environments are ready for whom."""
        policies = project.daemon.client("application-autoscaling").describe_scaling_policies(
            ServiceNamespace="sagemaker", ResourceId=serving.variant
        )
        (target,) = [
            each["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] for each in policies["ScalingPolicies"]
        ]
        kept = client.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]
        ready = {
            each["FunctionArn"].rsplit(":", 1)[1]: each["RequestedProvisionedConcurrentExecutions"] for each in kept
        }
        version = client.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
        return project.endpoint["EndpointConfigName"], version, target, ready

    def scaled_for(rate: float) -> None:
        endpoint = {"name": project.endpoint["EndpointName"]}
        project.perform(RegisterScalingOperator, endpoint=endpoint, capacity={"max_rps_per_instance": rate})

    project.run_as("deploy_image_classifier", "of-before", **{**releasing.PARAMS, "provisioned_concurrency": 1})
    function_of(serving, tmp_path, "a")
    scaled_for(1000.0)
    before = state()
    serving.release("to-be-rolled-back", "good", provisioned_concurrency=1)
    function_of(serving, tmp_path, "b")
    scaled_for(500.0)
    now = state()
    assert [one == other for one, other in zip(now, before, strict=True)] == [False] * 4
    serving.told()

    with serving.callers() as (wrong, answered):
        project.run_as("roll_back_deployment", "back")
        assert project.perform(RollBackDeploymentOperator) == before[0]
        assert state() == before
        # AND a task that is cleared has nothing left to do
        assert project.perform(RollBackDeploymentOperator) == before[0]
        assert state() == before
        told = project.read_part("roll_back")
        project.run_as("roll_back_deployment", "forth")
        assert project.perform(RollBackDeploymentOperator) == now[0]
    assert wrong == []
    assert all(answered)
    assert state() == now
    assert serving.settled["EndpointConfigName"] == now[0]
    assert serving.scalable_target == {"MinCapacity": 1, "MaxCapacity": 2}
    # AND it is known what it cost: as many instances more as there were, for as long as the update took
    price = prices.endpoint_cost(told["instance_type"], told["seconds"] / 3600, told["instances"])
    assert told["cost_usd"] == pytest.approx(price)
    assert told["seconds"] > 0
    assert told["problems"] == []
    assert serving.told() == ["the deployment was rolled back"] * 2


def test_a_roll_back_that_was_broken_off_goes_on_where_it_was(serving, monkeypatch):
    # GIVEN a roll-back whose worker dies once the endpoint has been updated
    project = serving.project
    now = project.endpoint["EndpointConfigName"]
    project.run_as("roll_back_deployment", "broken-off")
    with monkeypatch.context() as patch:
        patch.setattr(RollBackDeploymentOperator, "_function_back", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            project.perform(RollBackDeploymentOperator)
    before = project.endpoint["EndpointConfigName"]
    assert before != now
    # WHEN the task is tried again, THEN it does not go back from where it already is
    assert project.perform(RollBackDeploymentOperator) == before
    assert project.endpoint["EndpointConfigName"] == before
    assert serving.configuration_before == now


def test_nothing_to_go_back_to_is_one_sentence(serving, new_project):
    with pytest.raises(AirflowFailException, match=r"^There is no endpoint p\d+-image-classifier: nothing is deployed"):
        new_project().perform(RollBackDeploymentOperator)


def test_a_model_that_was_tried_out_where_it_serves_needs_no_release(serving):
    with pytest.raises(AirflowSkipException, match="nothing left to release"):
        serving.project.perform(ReleaseEndpointOperator, model={}, tried_on="production")


def test_what_was_approved_against_another_model_is_not_released(serving):
    before = serving.project.endpoint["EndpointConfigName"]
    approval = {"approved": True, "why": "Ada approved it.", "serving": "what-served-then"}
    serving.project.run_as("deploy_image_classifier", "approved-long-ago", **releasing.PARAMS)
    with pytest.raises(AirflowFailException, match=rf"^The release was approved while .* and {before} serves now"):
        serving.project.perform(
            ReleaseEndpointOperator, model=serving.model("good"), tried_on="rehearsal", approval=approval
        )
    assert serving.project.endpoint["EndpointConfigName"] == before
    serving.project.perform(EndDeploymentOperator)  # gives the lock back


def test_a_rehearsal_that_did_not_pass_releases_nothing(serving):
    verdict = {"passed": False, "checks": []}
    before = serving.project.endpoint["EndpointConfigName"]
    with pytest.raises(AirflowFailException, match="load test did not pass"):
        serving.project.perform(ReleaseEndpointOperator, model={}, tried_on="rehearsal", verdict=verdict)
    assert serving.project.endpoint["EndpointConfigName"] == before
