"""A person's answer to the request to release a model: what is asked, what becomes of it, and who is told."""

from __future__ import annotations

import datetime as dt
import types

import pytest
from airflow.providers.standard.operators import hitl
from airflow.providers.standard.triggers.hitl import HITLTriggerEventSuccessPayload
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from musher import record
from musher.config import Environment
from musher.hooks.deployment_lock import DeploymentLock
from musher.names import Run
from musher.operators.approval import ApproveReleaseOperator
from musher.operators.release import ReleaseEndpointOperator

from tests.plugins.operators.listening import Listener

# What ends a task's first part: it waits in the scheduler from Airflow 3.3 on, and in the triggerer before that.
WAITS = ("TaskAwaitingInput", "TaskDeferred")
PARAMS = {"approval": "before_release", "approval_limit_hours": 12}
PASSED = {"passed": True, "checks": [{"name": "errors", "passed": True}]}
MODEL = {"weights": "0" * 16, "labels": ["a", "b"]}


class Asked:
    """A project with a registered model, in which a release waits for an approval."""

    def __init__(self, project, monkeypatch) -> None:
        self.project, self.details = project, []
        self.listener = Listener(project)
        self.environment = project.environment
        monkeypatch.setattr(Environment, "load", classmethod(lambda cls: self.environment))
        monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **detail: self.details.append(detail))
        project.run_as("deploy_image_classifier", "asked", **PARAMS)
        properties = {"run_key": project.run.key, "test_accuracy": "0.9", "reason": "Accepted: accuracy 0.9."}
        self.arn = project.package("s3://nowhere/model.tar.gz", CustomerMetadataProperties=properties)
        self.model = {"package_arn": self.arn, "run_key": project.run.key}
        evaluation = record.Evaluation(accuracy=0.9, loss=0.3, images=200, classes=["a", "b"])
        record.write(project.s3, project.environment.bucket, project.run.key, evaluation)

    def operator(self, **values) -> ApproveReleaseOperator:
        given = {"model": self.model, "stack": "rehearsal", "projected": {"afterwards_per_month_usd": 89.5}, **values}
        return ApproveReleaseOperator(task_id="approve_release", aws_conn_id=None, **given)

    def ask(self, **values):
        """Run the first part of the task; None when it waits, else what it returned."""
        operator = self.operator(**values)
        ti = types.SimpleNamespace(
            id="0b5c", dag_id="deploy_image_classifier", run_id="asked", task_id="approve_release", map_index=-1
        )
        params = {**self.project.params, **operator.params.dump()}
        try:
            return operator.execute({**self.project.context, "params": params, "ti": ti, "task_instance": ti})
        except BaseException as wait:
            if type(wait).__name__ not in WAITS:
                raise
        return None

    def answer(self, chosen: str, *, by: str | None = "Ada", why: str = "", timedout: bool = False):
        """Run the second part with what Airflow gives it."""
        event = HITLTriggerEventSuccessPayload(
            chosen_options=[chosen],
            params_input={"why": why},
            responded_at=dt.datetime(2026, 11, 25, 18, 30, tzinfo=dt.UTC),
            responded_by_user={"id": "7", "name": by} if by else None,
            timedout=timedout,
        )
        return self.operator().execute_complete(self.project.context, event)

    @property
    def package(self) -> dict:
        return self.project.sagemaker.describe_model_package(ModelPackageName=self.arn)


@pytest.fixture
def asked(project, monkeypatch) -> Asked:
    return Asked(project, monkeypatch)


def test_the_request_has_the_figures_and_the_topic_is_told(asked):
    verdict = record.Verdict.from_json(PASSED)
    assert asked.ask(verdict=verdict.to_json()) is None
    (detail,) = asked.details
    assert detail["subject"] == f"Release {asked.environment.model_package_group}/1?"
    assert detail["defaults"] == ["Reject"]
    body = detail["body"]
    # 180 of 200, by Wilson's interval
    assert "| 90.0% (85.1% to 93.4%, 200 pictures) |" in body
    assert "Nothing serves now." in body
    assert "**Load test**: passed, all 1 checks hold." in body
    assert "89.50 USD a month" in body
    (message,) = asked.listener.messages()
    assert message["Subject"] == f"{asked.project.name}: {detail['subject']}"
    assert body in message["Message"]
    assert "later is a rejection" in message["Message"]
    assert asked.project.read_part("approval")["outcome"] == "waiting"


@pytest.mark.parametrize(
    ("chosen", "status", "words"),
    [
        ("Approve", "Approved", "Ada approved it on 2026-11-25 at 18:30 UTC: looks good."),
        ("Reject", "Rejected", "Ada rejected it on 2026-11-25 at 18:30 UTC: looks good."),
    ],
)
def test_who_decided_and_why_is_in_the_registry_and_in_the_record(asked, chosen, status, words):
    asked.ask()
    answer = asked.answer(chosen, why=" looks good ")
    assert answer == {"approved": chosen == "Approve", "why": words, "serving": None}
    package = asked.package
    assert package["ModelApprovalStatus"] == status
    assert package["ApprovalDescription"] == f"Release {status.lower()}. {words} Accepted: accuracy 0.9."
    properties = package["CustomerMetadataProperties"]
    assert (properties["release"], properties["release_decided_by"]) == (status.lower(), "Ada")
    assert properties["test_accuracy"] == "0.9"
    part = asked.project.read_part("approval")
    assert (part["outcome"], part["by"], part["reason"], part["problems"]) == (status.lower(), "Ada", "looks good", [])


def test_time_that_is_up_is_a_rejection_and_says_what_to_do(asked):
    asked.ask()
    answer = asked.answer("Reject", by=None, timedout=True)
    assert not answer["approved"]
    assert answer["why"].startswith("Nobody answered within 12 hours, until ")
    assert f"start deploy_image_classifier with model_package_arn {asked.arn}" in answer["why"]
    # AND nobody has decided anything about the model
    assert asked.package["ModelApprovalStatus"] == "Approved"
    with pytest.raises(AirflowSkipException, match=r"^Not released: Nobody answered within 12 hours"):
        asked.project.perform(ReleaseEndpointOperator, model={}, tried_on="rehearsal", approval=answer)


def test_a_topic_that_cannot_be_told_holds_nothing_up(asked):
    topic = asked.environment.notifications_topic_arn
    asked.environment = asked.environment.model_copy(update={"notifications_topic_arn": f"{topic}-gone"})
    assert asked.ask() is None
    assert len(asked.details) == 1
    (problem,) = asked.project.read_part("approval")["problems"]
    assert problem.startswith(f"The topic {topic}-gone was not told '{asked.project.name}: Release ")


def test_a_decision_that_the_registry_does_not_take_stands_all_the_same(asked):
    asked.ask()
    asked.project.sagemaker.delete_model_package(ModelPackageName=asked.arn)
    assert asked.answer("Approve")["approved"]
    (problem,) = asked.project.read_part("approval")["problems"]
    assert problem.startswith(f"The decision was not written to {asked.arn}: ")


@pytest.mark.parametrize(
    ("values", "params"),
    [
        ({"stack": "production"}, PARAMS),
        ({}, {"approval": "none"}),
        ({"verdict": {"passed": False, "checks": []}}, PARAMS),
    ],
)
def test_nobody_is_asked_in_vain(asked, values, params):
    asked.project.params = params
    assert asked.ask(**values)["approved"]
    assert asked.details == []
    assert asked.listener.messages() == []


def test_what_serves_can_be_changed_while_an_approval_waits(asked):
    lock = DeploymentLock(asked.project.s3, asked.environment.bucket, asked.project.run)
    lock.take()
    asked.ask()
    assert not lock.is_ours()


def test_a_release_that_was_approved_takes_the_lock_again(asked):
    # GIVEN another run that changes the deployment when the answer has come
    other = DeploymentLock(asked.project.s3, asked.environment.bucket, Run("roll_back_deployment", "by-hand"))
    approval = {"approved": True, "why": "Ada approved it.", "serving": "what-served"}
    values = {"model": asked.model, "tried_on": "rehearsal", "approval": approval}
    with (
        other.held(),
        pytest.raises(AirflowFailException, match=r"^The run by-hand of roll_back_deployment changes the"),
    ):
        asked.project.perform(ReleaseEndpointOperator, **values)
