"""Releases whose worker is lost, and local AWSs that are restarted under one: what served serves, and nothing stays."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import time

import pytest
from musher import names, record
from musher.hooks.deployment_lock import DeploymentLock
from musher.operators.end_deployment import EndDeploymentOperator
from musher.operators.endpoint import DeployEndpointOperator

from tests.local_aws.daemon import wait_for
from tests.plugins.operators import releasing

MINUTE = releasing.MINUTE


@pytest.fixture(scope="module")
def serving(new_project):
    return releasing.Released(new_project())


@pytest.fixture
def lost_release(serving):
    """A run that has planned, and whose release is killed, as a worker's process may be, while the new model takes
    calls; returns the configuration that served before."""
    project, before = serving.project, serving.project.endpoint["EndpointConfigName"]
    project.run_as("deploy_image_classifier", f"lost-{time.time_ns()}", **releasing.PARAMS)
    DeploymentLock(project.s3, project.environment.bucket, project.run).take()  # as plan_release does
    process = released_in_a_process_of_its_own(serving)
    process.kill()
    process.join()
    return before


def released_in_a_process_of_its_own(serving) -> multiprocessing.Process:
    """A worker's process, once the new model takes calls."""
    project = serving.project

    def work() -> None:
        connect(project, dataclasses.replace(project.daemon, _clients={}))  # a connection is no two processes'
        serving.release_of_this_run("good")

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    try:
        wait_for(lambda: is_baking(project.endpoint), 240, "the release does not bake")
    except BaseException:
        process.kill()  # it would hold the deployment's lock in the tests that follow
        raise
    return process


def connect(project, daemon) -> None:
    project.daemon, project.sagemaker, project.s3 = daemon, daemon.client("sagemaker"), daemon.client("s3")


@contextlib.contextmanager
def started_again(project, start_daemon, tmp_path, monkeypatch):
    """The project's local AWS, from the state that it has saved, on another port."""
    daemon = start_daemon(tmp_path, minute=MINUTE, state=project.daemon.state)
    monkeypatch.setenv("AWS_ENDPOINT_URL", daemon.url)
    connect(project, daemon)
    yield
    daemon.stop()


def is_baking(endpoint) -> bool:
    variants = (endpoint.get("PendingDeploymentSummary") or {}).get("ProductionVariants", [])
    return any(status["Status"] == "Baking" for each in variants for status in each.get("VariantStatus", []))


def lock(project) -> DeploymentLock:
    return DeploymentLock(project.s3, project.environment.bucket, names.Run("another", "run"))


def assert_nothing_is_left(serving, before) -> None:
    project = serving.project
    assert project.endpoint["EndpointStatus"] == "InService"
    assert project.endpoint["EndpointConfigName"] == before
    assert serving.scalable_target == {"MinCapacity": 1, "MaxCapacity": 2}
    assert serving.alarms == []
    assert serving.configurations == [before]
    lock(project).take()
    lock(project).give_back()


def test_without_anybody_aws_takes_a_lost_release_back_and_the_end_of_the_run_leaves_nothing(serving, lost_release):
    # WHEN nobody judges any more, THEN AWS goes back by itself, and no caller notices
    with serving.callers() as (wrong, answered):
        assert serving.settled["EndpointConfigName"] == lost_release
    assert wrong == []
    assert all(answered)

    # AND the run's last task has the number of instances, the alarms and the lock as they were before, and says so
    serving.told()
    serving.project.perform(EndDeploymentOperator)
    assert_nothing_is_left(serving, lost_release)
    assert serving.told() == ["a release was rolled back"]


def test_a_run_that_is_given_up_at_once_is_taken_back_at_once(serving, lost_release):
    # GIVEN a run marked failed: its last task does not wait for AWS to miss the heartbeat
    with serving.callers() as (wrong, answered):
        serving.project.perform(EndDeploymentOperator)
    assert wrong == []
    assert all(answered)
    assert_nothing_is_left(serving, lost_release)


def test_a_configuration_that_a_killed_task_had_no_time_to_delete_goes_too(serving):
    project, before = serving.project, serving.configurations
    project.run_as("deploy_image_classifier", "no-time", **releasing.PARAMS)
    DeploymentLock(project.s3, project.environment.bucket, project.run).take()  # as plan_release does
    project.task(DeployEndpointOperator, model=serving.model("good"))._create_configuration(project.context)
    restored = record.ScalingBefore(requests={}, restored=True)
    record.write(project.s3, project.environment.bucket, project.run.key, restored)
    assert serving.configurations != before

    project.perform(EndDeploymentOperator)

    assert serving.configurations == before


def test_the_next_try_begins_anew_and_leaves_one_instance(serving, lost_release):
    # GIVEN a worker that was lost, whose task is tried again
    part = serving.release_of_this_run("good")
    assert part["config"] != lost_release
    serving.project.perform(EndDeploymentOperator)
    assert serving.settled["EndpointConfigName"] == part["config"]
    assert serving.scalable_target == {"MinCapacity": 1, "MaxCapacity": 2}
    assert serving.alarms == []


def test_what_a_restart_of_aws_leaves_is_released_by_the_next_try(serving, start_daemon, tmp_path, monkeypatch):
    # GIVEN a release during whose bake the local AWS ends, and with it the try
    project, before = serving.project, serving.project.endpoint["EndpointConfigName"]
    project.run_as("deploy_image_classifier", f"restarted-{time.time_ns()}", **releasing.PARAMS)
    DeploymentLock(project.s3, project.environment.bucket, project.run).take()  # as plan_release does
    process = released_in_a_process_of_its_own(serving)
    project.daemon.stop()
    process.join(60)
    assert process.exitcode == 1

    # WHEN it is there again, THEN what served serves
    with started_again(project, start_daemon, tmp_path, monkeypatch):
        wait_for(lambda: project.endpoint["EndpointStatus"] == "InService")
        assert project.endpoint["EndpointConfigName"] == before
        # AND the next try releases the model after all
        assert serving.release_of_this_run("good")["config"] == serving.settled["EndpointConfigName"] != before
        project.perform(EndDeploymentOperator)
        assert serving.scalable_target == {"MinCapacity": 1, "MaxCapacity": 2}
        assert serving.alarms == []
