"""Back to zero cost: what a deployment made is gone and listed; what is not the project's stays."""

from __future__ import annotations

from musher import names
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
