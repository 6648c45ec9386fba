"""What a model's rehearsal measures, what it spares because an equal one has passed, and where there is no room."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from musher import names, record
from musher.operators.deployment import DeployFunctionOperator
from musher.operators.end_deployment import EndDeploymentOperator
from musher.operators.endpoint import DeployEndpointOperator
from musher.operators.load_test import LoadTestOperator, MeasureCapacityOperator
from musher.operators.parity import CheckParityOperator
from musher.operators.release_plan import PlanReleaseOperator
from musher.release import rehearsal

from local_aws.control import tell
from tests.plugins.operators.labelled import judged_right, model_archive, pictures, put

ARCHIVE = {"code": "0011223344556677", "backbone": "efficientnet_lite0", "head": "linear", "image_size": "224"}
PICTURES = pictures(2)
SAID = {data: [{"label": file[0], "probability": 0.9}] for file, data in PICTURES.items()}
PARAMS = {
    "max_instances": 1,  # nothing scales
    "latency_limit_ms": 20_000,  # no test of how fast this machine is
    "reserved_concurrency": 5,
    "provisioned_concurrency": 1,
    "slower_in_rehearsal_allowed": 10,
}


@pytest.fixture(scope="module")
def serving(new_project) -> Iterator[SimpleNamespace]:
    """A project that serves a model; `plan(run, **params)` what is planned for the next one."""
    project = new_project()
    uri = put(project, PICTURES)
    arn = project.package(project.model_archive("m", model_archive(SAID)))
    model = {"package_arn": arn, "specification": "", "dataset_uri": uri, "image": "image:1", "archive": ARCHIVE}

    def plan(run: str, **params) -> dict:
        model["run_key"] = project.run_as("deploy_image_classifier", run, **PARAMS | params).key
        planned = project.perform(PlanReleaseOperator, model=model)
        project.perform(EndDeploymentOperator)
        assert project.read_part("rehearsal") == planned["rehearsal"]
        return planned

    first = plan("first")
    project.perform(DeployEndpointOperator, model=model)
    yield SimpleNamespace(project=project, model=model, plan=plan, first=first)
    tell(project.daemon.port, "quota", {"name": "Concurrent executions", "value": 1000})


def test_a_first_deployment_is_tried_out_where_it_will_serve(serving):
    assert {name: serving.first[name] for name in ("stack", "rehearse", "register", "load")} == {
        "stack": "production", "rehearse": True, "register": True, "load": True,
    }  # fmt: skip
    assert serving.first["rehearsal"]["why"].startswith("Nothing serves yet")


def test_what_serves_already_may_be_replaced_unrehearsed(serving):
    planned = serving.plan("never", rehearsal="never")
    assert (planned["stack"], planned["rehearse"], planned["load"]) == ("rehearsal", False, False)


def test_what_an_earlier_deployment_found_is_not_this_ones(serving):
    # GIVEN a model whose deployment found something out
    project = serving.project
    serving.plan("again", rehearsal="never")
    found = record.Verdict.of([record.Check(name="p99", passed=True)])
    record.write(project.s3, project.environment.bucket, serving.model["run_key"], found)
    # WHEN the same model is deployed once more THEN its record has nothing of that
    serving.plan("again", rehearsal="never")
    there = record.read_run(project.s3, project.environment.bucket, serving.model["run_key"])
    assert there.verdict is None
    assert not there.unreadable
    assert there.rehearsal.extent == "none"


def test_without_room_for_a_second_reserve_the_rest_is_tried_and_the_next_one_is_short(serving):
    # GIVEN an account that serves with five and has room for no other five
    project, model = serving.project, serving.model
    tell(project.daemon.port, "quota", {"name": "Concurrent executions", "value": 104})

    # WHEN a model is rehearsed
    planned = serving.plan("full")
    assert (planned["stack"], planned["load"]) == ("rehearsal", True)
    told = planned["rehearsal"]
    assert told["why"].startswith("Rehearsed in full: no rehearsal has passed yet. Calls at once are not tried: ")
    assert "would leave 99 of the account's 104 unreserved, and AWS keeps 100." in told["why"]
    endpoint = project.perform(DeployEndpointOperator, model=model, stack=planned["stack"])
    function = project.perform(DeployFunctionOperator, endpoint=endpoint, stack=planned["stack"], rehearsal=told)
    parity = judged(serving, function, told)
    # what serves was asked as well, and is as quick: it is the same model
    assert (parity["pace"]["outcome"], parity["pace"]["samples"]) == ("pass", [40, 40]), parity["pace"]
    capacity = {"max_rps_per_instance": 30.0, "p50_ms": 5.0, "p99_ms": 9.0}
    scaling = {"target_metric": "m", "target_value": 900.0, "min": 1, "max": 1}
    verdict = project.perform(
        LoadTestOperator, model=model, rehearsal=told, endpoint=endpoint, function=function, parity=parity,
        capacity=capacity, scaling=scaling,
    )  # fmt: skip

    # THEN its function has nothing reserved, and everything but calls at once was tried, and passed
    assert (function["reserved"], function["provisioned"]) == (None, 0)
    name = names.Stack(project.name, rehearsal=True).function
    assert "ReservedConcurrentExecutions" not in project.daemon.client("lambda").get_function_concurrency(
        FunctionName=name
    )
    assert [phase["name"] for phase in project.read_part("load_test")["phases"]] == ["warm_up", "steady"]
    assert verdict["passed"], verdict
    assert [each["name"] for each in verdict["checks"]] == [
        "load was offered as promised", "p99 latency within limit", "error rate within limit", rehearsal.PARITY,
        rehearsal.PACE,
    ]  # fmt: skip

    # AND the next model with the same network needs no such load: smoke test, parity and latency say the rest
    full, planned = model["run_key"], serving.plan("short")
    told = planned["rehearsal"]
    assert (planned["rehearse"], planned["register"], planned["load"]) == (True, False, False)
    assert f"(run {full})" in told["why"]
    known = project.perform(MeasureCapacityOperator, endpoint=endpoint, model=model, rehearsal=told)
    assert known["max_rps_per_instance"] == project.read_part("endpoint")["capacity"]["max_rps_per_instance"] == 30.0
    judged(serving, function, told)
    verdict = project.read_part("verdict")
    assert verdict["passed"], verdict
    assert [each["name"] for each in verdict["checks"]] == [
        rehearsal.PARITY, rehearsal.LATENCY, rehearsal.PACE,
    ]  # fmt: skip

    # BUT another instance type does, and so does an account with room, whose calls at once nobody has tried
    assert (
        "instance_type is ml.c5.large and was ml.m5.large"
        in serving.plan("type", instance_type="ml.c5.large")["rehearsal"]["why"]
    )
    assert serving.plan("asked", rehearsal="always")["load"]
    tell(project.daemon.port, "quota", {"name": "Concurrent executions", "value": 1000})
    told = serving.plan("room")["rehearsal"]
    assert (told["extent"], told["concurrency"]) == ("full", True)
    assert told["why"].endswith("that one tried no calls at once.")


def judged(serving, function: dict, planned: dict) -> dict:
    """What the check of parity says, against the evaluation of this very model."""
    project = serving.project
    record.write(project.s3, project.environment.bucket, project.run.key, judged_right(PICTURES))
    return project.perform(
        CheckParityOperator, model=serving.model, function=function, rehearsal=planned, stack=planned["stack"]
    )
