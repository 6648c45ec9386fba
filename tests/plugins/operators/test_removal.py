"""Back to zero cost: what a deployment made is gone and listed; what is not the project's stays."""

from __future__ import annotations

import pytest
from musher import names
from musher.operators.deployment import DeployFunctionOperator, RegisterScalingOperator
from musher.operators.endpoint import DeployEndpointOperator
from musher.operators.removal import RemoveDeploymentOperator

from tests.local_aws.serving import IMAGE


def made_by_hand(project, name: str, tagged: str) -> None:
    """A model and a configuration, as a deployment that failed leaves them."""
    listed = [{"Key": "project", "Value": tagged}]
    project.sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=project.environment.endpoint_role_arn,
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": project.model_archive(name)},
        Tags=listed,
    )
    variant = {"VariantName": names.VARIANT, "ModelName": name, "InstanceType": "ml.m5.large"}
    project.sagemaker.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=[{**variant, "InitialInstanceCount": 1}], Tags=listed
    )


def test_a_deployment_is_removed_with_what_earlier_ones_left_and_nothing_else(project):
    # GIVEN an endpoint, what a failed deployment left, and what bears such a name but another project's tag
    arn = project.package(project.model_archive())
    deployed = project.perform(DeployEndpointOperator, model={"package_arn": arn, "specification": ""})
    left, others = f"{project.name}-endpoint-left", f"{project.name}-endpoint-others"
    made_by_hand(project, left, tagged=project.name)
    made_by_hand(project, others, tagged="another")

    removed = project.perform(RemoveDeploymentOperator)

    assert f"endpoint {deployed['name']}" in removed
    for name in (deployed["config"], left):
        assert f"endpoint configuration {name}" in removed
        assert f"model {name}" in removed
    assert project.sagemaker.list_endpoints(NameContains=f"{project.name}-")["Endpoints"] == []
    configs = project.sagemaker.list_endpoint_configs(NameContains=f"{project.name}-")["EndpointConfigs"]
    models = project.sagemaker.list_models(NameContains=f"{project.name}-")["Models"]
    assert [each["EndpointConfigName"] for each in configs] == [others]
    assert [each["ModelName"] for each in models] == [others]
    # Registered models stay.
    assert project.sagemaker.describe_model_package(ModelPackageName=arn)["ModelApprovalStatus"] == "Approved"

    # Repeated, there is nothing to remove.
    assert project.perform(RemoveDeploymentOperator) == []


HANDLER = "def handler(event, context):\n    return {}\n"


@pytest.fixture
def deployed(project, tmp_path):
    """A project with a production stack and a rehearsal: `{stack: endpoint}`."""
    (tmp_path / "handler.py").write_text(HANDLER)
    project.environment = project.environment.model_copy(update={"lambda_folder": str(tmp_path)})
    project.run_as("deploy_image_classifier", "first", provisioned_concurrency=1)
    model = {"package_arn": project.package(project.model_archive()), "specification": ""}
    endpoints = {}
    for stack in ("production", "rehearsal"):
        endpoint = endpoints[stack] = project.perform(DeployEndpointOperator, model=model, stack=stack)
        project.perform(DeployFunctionOperator, endpoint=endpoint, stack=stack)
        project.perform(RegisterScalingOperator, endpoint=endpoint, capacity={"max_rps_per_instance": 20})
    return endpoints


def left(project):
    """What stands of a project, by its names."""
    listed = project.sagemaker.list_endpoints(NameContains=project.name)["Endpoints"]
    functions = project.daemon.client("lambda").list_functions()["Functions"]
    configs = project.sagemaker.list_endpoint_configs(NameContains=f"{project.name}-")["EndpointConfigs"]
    models = project.sagemaker.list_models(NameContains=f"{project.name}-")["Models"]
    targets = project.daemon.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")
    alarms = project.daemon.client("cloudwatch").describe_alarms()["MetricAlarms"]
    found = {each["EndpointName"] for each in listed} | {each["EndpointConfigName"] for each in configs}
    found |= {each["FunctionName"] for each in functions} | {f"model {each['ModelName']}" for each in models}
    found |= {each["ResourceId"] for each in targets["ScalableTargets"]} | {each["AlarmName"] for each in alarms}
    return {each for each in found if project.name in each}


def test_a_rehearsal_is_removed_without_touching_what_serves(project, deployed):
    rehearsal = names.Stack(project.name, rehearsal=True)
    before = left(project)

    removed = project.perform(RemoveDeploymentOperator, stack="rehearsal")

    config = deployed["rehearsal"]["config"]
    assert set(removed) >= {
        f"scalable target of {rehearsal.endpoint}",
        f"endpoint {rehearsal.endpoint}",
        f"endpoint configuration {config}",
        f"model {config}",
        f"provisioned concurrency of {rehearsal.function}",
        f"function {rehearsal.function}",
    }
    assert all("rehearsal" in each for each in removed)
    assert left(project) == {each for each in before if "rehearsal" not in each}
    assert project.endpoint["EndpointConfigName"] == deployed["production"]["config"]
    assert project.perform(RemoveDeploymentOperator, stack="rehearsal") == []


def test_with_what_serves_goes_the_rehearsal(project, deployed):
    removed = project.perform(RemoveDeploymentOperator)

    for rehearsal in (False, True):
        stack = names.Stack(project.name, rehearsal)
        assert {f"endpoint {stack.endpoint}", f"function {stack.function}"} <= set(removed)
    assert left(project) == set()


@pytest.mark.parametrize("gone", ["function", "scalable target", "endpoint"])
def test_what_a_deployment_did_not_get_to_is_no_obstacle(project, deployed, gone):
    stack = names.Stack(project.name, rehearsal=True)
    if gone == "function":
        project.daemon.client("lambda").delete_function(FunctionName=stack.function)
    elif gone == "endpoint":
        project.sagemaker.delete_endpoint(EndpointName=stack.endpoint)
    else:
        project.daemon.client("application-autoscaling").deregister_scalable_target(
            ServiceNamespace="sagemaker",
            ResourceId=f"endpoint/{stack.endpoint}/variant/{names.VARIANT}",
            ScalableDimension="sagemaker:variant:DesiredInstanceCount",
        )

    removed = project.perform(RemoveDeploymentOperator, stack="rehearsal")

    assert (f"function {stack.function}" in removed) is (gone != "function")
    assert (f"scalable target of {stack.endpoint}" in removed) is (gone != "scalable target")
    assert not [each for each in left(project) if "rehearsal" in each]


def test_a_rehearsals_log_group_goes_also_where_its_function_has_gone_and_the_stacks_own_stays(project):
    """The other one is a resource of infra/musher.yaml: without it the stack's retention could not be changed."""
    serving, rehearsal = names.Stack(project.name), names.Stack(project.name, rehearsal=True)
    logs = project.daemon.client("logs")
    for stack in (serving, rehearsal):
        logs.create_log_group(logGroupName=stack.log_group)

    assert project.perform(RemoveDeploymentOperator) == [f"log group {rehearsal.log_group}"]
    groups = logs.describe_log_groups(logGroupNamePrefix=serving.log_group)["logGroups"]
    assert [each["logGroupName"] for each in groups] == [serving.log_group]
