"""Auto-scaling follows from the measured capacity, and can be registered again."""

from __future__ import annotations

import pytest
from musher import names
from musher.operators.deployment import RegisterScalingOperator
from musher.operators.endpoint import DeployEndpointOperator


@pytest.fixture(scope="module")
def served(new_project):
    """A project whose endpoint and rehearsal's endpoint stand."""
    project = new_project()
    model = {"package_arn": project.package(project.model_archive()), "specification": ""}
    project.endpoints = [
        project.perform(DeployEndpointOperator, model=model, stack=stack) for stack in ("production", "rehearsal")
    ]
    return project


def registered(project, stack):
    """The target and the policy of a stack's endpoint, as Application Auto Scaling has them."""
    client = project.daemon.client("application-autoscaling")
    variant = {"ServiceNamespace": "sagemaker", "ResourceId": f"endpoint/{stack.endpoint}/variant/{names.VARIANT}"}
    targets = client.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[variant["ResourceId"]])[
        "ScalableTargets"
    ]
    return targets, client.describe_scaling_policies(**variant)["ScalingPolicies"]


def test_each_stack_scales_by_itself_at_what_was_measured(served):
    for rehearsal, capacity in ((False, 20), (True, 8)):
        stack, endpoint = names.Stack(served.name, rehearsal), served.endpoints[rehearsal]

        part = served.perform(RegisterScalingOperator, endpoint=endpoint, capacity={"max_rps_per_instance": capacity})

        # Calls of a minute, at half of the highest rate.
        assert (part["target_value"], part["min"], part["max"]) == (capacity * 60 * 0.5, 1, 3)
        (target,), (policy,) = registered(served, stack)
        assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 3)
        assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == part["target_value"]
        alarms = served.daemon.client("cloudwatch").describe_alarms(AlarmNamePrefix=stack.scaling_alarms)
        assert len(alarms["MetricAlarms"]) == 2


def test_registering_again_replaces_the_target(served):
    served.params = {"max_instances": 5, "safety_factor": 0.25}
    try:
        served.perform(RegisterScalingOperator, endpoint=served.endpoints[0], capacity={"max_rps_per_instance": 20})
    finally:
        served.params = {}
    (target,), (policy,) = registered(served, names.Stack(served.name))
    assert target["MaxCapacity"] == 5
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 20 * 60 * 0.25


def test_what_does_not_scale_is_not_registered(new_project):
    project = new_project()
    project.params = {"max_instances": 1}
    endpoint = {"name": names.Stack(project.name).endpoint}

    part = project.perform(RegisterScalingOperator, endpoint=endpoint, capacity={"max_rps_per_instance": 20})

    assert (part["min"], part["max"]) == (1, 1)
    assert registered(project, names.Stack(project.name)) == ([], [])


def test_a_capacity_of_nothing_gives_no_target(served):
    before = registered(served, names.Stack(served.name))
    with pytest.raises(ValueError, match="max_rps_per_instance is 0; a scaling target needs more than 0"):
        served.perform(RegisterScalingOperator, endpoint=served.endpoints[0], capacity={"max_rps_per_instance": 0})
    assert registered(served, names.Stack(served.name)) == before
