"""Bad models that are rehearsed: none of them is released, and nobody who calls what serves notices anything."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowException
from musher import record
from musher.operators import parity
from musher.operators.deployment import DeployFunctionOperator, RegisterScalingOperator, SmokeTestOperator
from musher.operators.endpoint import DeployEndpointOperator
from musher.operators.load_test import LoadTestOperator, MeasureCapacityOperator
from musher.operators.parity import CheckParityOperator
from musher.operators.release import ReleaseEndpointOperator
from musher.operators.removal import RemoveDeploymentOperator

from tests.plugins.operators import releasing

MINUTE = releasing.MINUTE
# Beyond what the slow model takes at best, and no test of how fast this machine is.
PARAMS = {
    **releasing.PARAMS,
    "provisioned_concurrency": 1,
    "reserved_concurrency": 200,
    "latency_limit_ms": 20_000,
}
FULL = record.Rehearsal(stack="rehearsal", extent="full", why="Nothing has passed yet.").to_json()


@pytest.fixture(autouse=True)
def sooner_than_else(monkeypatch):
    monkeypatch.setattr(parity, "MOST_RPS", 20.0)
    monkeypatch.setattr(parity, "REQUESTS_OF_A_P99", 40)  # enough for one failure in twenty and for the leak


@pytest.fixture(scope="module")
def serving(new_project):
    return releasing.Released(new_project())


def rehearse_and_release(project, model) -> None:
    """What deploy_image_classifier does with a model beside one that serves, one task after the other."""
    perform, stack = project.perform, "rehearsal"
    try:
        endpoint = perform(DeployEndpointOperator, model=model, stack=stack)
        perform(SmokeTestOperator, endpoint=endpoint, model=model)
        function = perform(DeployFunctionOperator, endpoint=endpoint, stack=stack)
        of_model = {"model": model, "rehearsal": FULL}
        told = perform(CheckParityOperator, function=function, stack=stack, **of_model)
        capacity = perform(MeasureCapacityOperator, endpoint=endpoint, **of_model)
        scaling = perform(RegisterScalingOperator, endpoint=endpoint, capacity=capacity)
        more = {"endpoint": endpoint, "function": function, "scaling": scaling, "capacity": capacity}
        verdict = perform(LoadTestOperator, parity=told, **of_model, **more)
    finally:
        perform(RemoveDeploymentOperator, stack=stack)
    perform(ReleaseEndpointOperator, model=model, tried_on=stack, verdict=verdict)


def left_of(project) -> list[str]:
    """What there is of this project beside what serves, all of which costs or could cost money."""
    name = f"{project.name}-"
    serving = project.endpoint["EndpointConfigName"]
    sagemaker, functions = project.sagemaker, project.daemon.client("lambda").list_functions()["Functions"]
    return [
        *(each["EndpointName"] for each in sagemaker.list_endpoints(NameContains=f"{name}image")["Endpoints"][1:]),
        *(each["EndpointConfigName"] for each in sagemaker.list_endpoint_configs(NameContains=name)["EndpointConfigs"]
          if each["EndpointConfigName"] != serving),
        *(each["ModelName"] for each in sagemaker.list_models(NameContains=name)["Models"]
          if each["ModelName"] != serving),
        *(each["FunctionName"] for each in functions if each["FunctionName"].startswith(name)),
    ]  # fmt: skip


def described(serving) -> dict:
    return {name: value for name, value in serving.project.endpoint.items() if name != "ResponseMetadata"}


# Another class order is to the parity check what shuffled labels are.
BAD = [
    ("cannot load", r"^The endpoint p\d+-image-classifier-rehearsal is Failed: .*no such layer", {}),
    ("fails", r"^The endpoint p\d+-image-classifier-rehearsal failed at a test picture: .*cannot reshape", {}),
    ("fails sometimes", r"is not fit to serve: \d+ of \d+ calls failed \(function answered 502: ", {}),
    ("leaks", r"is not fit to serve: \d+ of \d+ calls failed \(function answered 50[23]: ", {}),
    ("wrong", r"is not fit to serve: \d+ of \d+ answers are further than 0.1 from the evaluation's: ", {}),
    # On a busy machine what both take besides is most of it, and twice as slow is less than that.
    ("slow", r"is not fit to serve: a request to the new fleet takes [\d.]+ times as long as one to the old one ",
     {"slower_in_rehearsal_allowed": 0}),
    ("slow", r"^one instance does not take even [\d.]+ requests a second: ",
     {"latency_limit_ms": 45, "slower_in_rehearsal_allowed": 10}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("behave", "why", "params"), BAD, ids=[" ".join([behave, *params]) for behave, _, params in BAD]
)
def test_a_bad_model_is_never_released(serving, behave, why, params):
    project, before = serving.project, described(serving)
    run = "-".join([behave.replace(" ", "-"), *params])
    project.run_as("deploy_image_classifier", run, **{**PARAMS, **params})

    with serving.callers() as (wrong, answered), pytest.raises(AirflowException, match=why) as caught:
        rehearse_and_release(project, serving.model(behave))

    # THEN whoever called what serves was answered, and rightly
    print(f"{behave}: {len(wrong)} of {len(wrong) + len(answered)} lost: {caught.value}")
    assert wrong == []
    assert answered
    assert all(answered)
    # AND it is as it was: neither its endpoint nor its scaling was touched
    assert described(serving) == before
    assert serving.scalable_target == {"MinCapacity": 1, "MaxCapacity": 2}
    assert serving.alarms == []
    # AND nothing of the rehearsal is left
    assert left_of(project) == []
    assert "\n" not in str(caught.value)
