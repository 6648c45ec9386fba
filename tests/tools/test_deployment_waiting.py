"""Waiting for what takes long: answers of MWAA and CloudFormation, as their API references have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from tools import cloudformation
from tools.cloudformation import InfrastructureError, Stack, Waiting
from tools.deployment.environment import LOGS, MOVING, PACKAGE, Environment, log_groups

KEYS = {"region_name": "us-east-1", "aws_access_key_id": "AKIATESTTESTTESTTEST", "aws_secret_access_key": "x"}
WANTED = {
    "PluginsPath": "mwaa/plugins/0a/plugins.zip", "PluginsVersion": "p2",
    "RequirementsPath": "mwaa/requirements/0a/requirements.txt", "RequirementsVersion": "r2",
}  # fmt: skip
RUNNING = {field: WANTED[parameter] for field, parameter in PACKAGE.items()} | {
    "WebserverUrl": "x.airflow.amazonaws.com"
}


@pytest.fixture
def mwaa() -> Iterator[Stubber]:
    with Stubber(boto3.client("mwaa", **KEYS)) as stub:
        yield stub
        stub.assert_no_pending_responses()


@pytest.fixture
def stacks() -> Iterator[Stubber]:
    with Stubber(boto3.client("cloudformation", **KEYS)) as stub:
        yield stub
        stub.assert_no_pending_responses()


def answers(mwaa: Stubber, *statuses: str, **more: Any) -> None:
    """The stubber checks each answer against botocore's own model of GetEnvironment."""
    for status in statuses:
        environment = {"Name": "musher", "Status": status, **RUNNING, **more}
        mwaa.add_response("get_environment", {"Environment": environment}, {"Name": "musher"})


def environment(mwaa: Stubber, minutes: float = 1000, said: list[str] | None = None) -> Environment:
    say = None if said is None else said.append
    return Environment(mwaa.client, "musher", Waiting(poll_seconds=0, minutes=minutes, say=say))


def test_an_update_is_waited_for_and_its_address_is_the_answer(mwaa):
    said: list[str] = []
    answers(mwaa, "CREATING_SNAPSHOT", "UPDATING", "AVAILABLE")
    assert environment(mwaa, said=said).running(WANTED)["WebserverUrl"] == "x.airflow.amazonaws.com"
    assert said == [
        "The environment musher is CREATING_SNAPSHOT, for 0 min here",
        "The environment musher is UPDATING, for 0 min here",
    ]


def test_every_status_that_ends_by_itself_is_waited_for(mwaa):
    known = set(boto3.client("mwaa", **KEYS).meta.service_model.shape_for("EnvironmentStatus").enum)
    assert known > MOVING
    answers(mwaa, *sorted(MOVING), "AVAILABLE")
    environment(mwaa).running(WANTED)


def test_waiting_has_an_end_and_says_that_the_change_goes_on(mwaa):
    answers(mwaa, "UPDATING")
    with pytest.raises(InfrastructureError) as ended:
        environment(mwaa, minutes=-1).settle()
    assert str(ended.value).startswith("The environment musher is still UPDATING after")
    assert str(ended.value).endswith("it goes on without you: the same command again waits for it.")


@pytest.mark.parametrize(
    ("status", "more", "sentence"),
    [
        ("CREATE_FAILED", {}, "The environment musher is CREATE_FAILED; its DAGs are as they were."),
        ("PENDING", {}, "The environment musher is PENDING; its DAGs are as they were."),
        (
            "UPDATE_FAILED",
            {
                "LastUpdate": {
                    "Status": "FAILED",
                    "Error": {"ErrorCode": "INCORRECT_CONFIGURATION", "ErrorMessage": "no"},
                }
            },
            "The environment musher is UPDATE_FAILED: no (INCORRECT_CONFIGURATION); its DAGs are as they were.",
        ),
        (
            "AVAILABLE",
            {"PluginsS3ObjectVersion": "p1"},
            "runs another package, with PluginsS3ObjectVersion 'p1' where 'p2' was asked for; its DAGs are as they",
        ),
    ],
)
def test_an_environment_that_does_not_run_the_package_is_named(mwaa, status, more, sentence):
    answers(mwaa, status, **more)
    with pytest.raises(InfrastructureError) as failed:
        environment(mwaa).running(WANTED)
    assert sentence in str(failed.value)


def test_no_environment_is_not_taken_for_a_running_one(mwaa):
    mwaa.add_client_error("get_environment", "ResourceNotFoundException", "no musher", 404)
    with pytest.raises(InfrastructureError, match=r"^There is no environment musher, although its stack is whole\.$"):
        environment(mwaa).running(WANTED)


def test_who_may_not_look_is_told(mwaa):
    mwaa.add_client_error("get_environment", "AccessDeniedException", "not you", 403)
    with pytest.raises(InfrastructureError, match=r"^The environment musher cannot be looked at: not you"):
        environment(mwaa).settle()


def test_the_log_groups_are_those_that_the_template_asks_for():
    template = cloudformation.load((cloudformation.FOLDER / "mwaa.yaml").read_text())
    asked = template["Resources"]["Environment"]["Properties"]["LoggingConfiguration"]
    assert {each.removesuffix("Logs").lower() for each in asked} == {each.lower() for each in LOGS}
    assert "airflow-musher-Task" in log_groups("musher")


def stack(status: str) -> dict[str, Any]:
    return {"Stacks": [{"StackName": "musher-mwaa", "StackId": "arn", "CreationTime": 0, "StackStatus": status}]}


def test_a_stack_that_somebody_changes_is_waited_for(stacks):
    for status in ("UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE"):
        stacks.add_response("describe_stacks", stack(status), {"StackName": "musher-mwaa"})
    Stack(lambda service: stacks.client, "musher-mwaa", Waiting(poll_seconds=0)).settle()


@pytest.mark.parametrize("status", ["REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "DELETE_FAILED"])
def test_a_stack_that_stands_still_is_not_waited_for(stacks, status):
    stacks.add_response("describe_stacks", stack(status))
    Stack(lambda service: stacks.client, "musher-mwaa", Waiting(poll_seconds=0)).settle()


def test_the_wait_for_a_stack_has_an_end(stacks):
    stacks.add_response("describe_stacks", stack("CREATE_IN_PROGRESS"))
    with pytest.raises(InfrastructureError) as ended:
        Stack(lambda service: stacks.client, "musher-mwaa", Waiting(poll_seconds=0, minutes=-1)).settle()
    assert str(ended.value).startswith("The stack musher-mwaa is still CREATE_IN_PROGRESS after")
    assert str(ended.value).endswith("the same command again waits for it.")


def test_the_wait_for_a_stack_says_what_it_is_at(stacks, monkeypatch):
    monkeypatch.setattr(cloudformation, "SAY_SECONDS", 0)
    resources = [
        ("Environment", "AWS::MWAA::Environment", "CREATE_IN_PROGRESS"),
        ("Variable", "AWS::SecretsManager::Secret", "CREATE_COMPLETE"),
    ]
    summaries = [
        {"LogicalResourceId": name, "ResourceType": kind, "ResourceStatus": status, "LastUpdatedTimestamp": 0}
        for name, kind, status in resources
    ]
    stacks.add_response("describe_stacks", stack("CREATE_IN_PROGRESS"))
    stacks.add_response("list_stack_resources", {"StackResourceSummaries": summaries})
    stacks.add_response("describe_stacks", stack("CREATE_COMPLETE"))
    said: list[str] = []
    Stack(lambda service: stacks.client, "musher-mwaa", Waiting(poll_seconds=0, say=said.append)).settle()
    assert said == ["musher-mwaa: CREATE_IN_PROGRESS for 0 min, at Environment (AWS::MWAA::Environment)"]
