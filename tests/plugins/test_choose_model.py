"""Which image a deployment takes of a registered model, and what is said of it; against a registry that answers."""

from __future__ import annotations

import uuid
from types import SimpleNamespace

import boto3
import pytest
from musher import request_parameters
from musher.operators.deployment import ChooseModelOperator

REGISTRY = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference"


@pytest.fixture
def choose(s3, s3_server, env, run):
    """Registers a model as the training DAG does, and chooses it for an instance type: what the operator returns."""
    sagemaker = boto3.client("sagemaker", endpoint_url=s3_server, region_name=env.region)
    # Each test has a group of its own: moto deletes none.
    env = env.model_copy(update={"project": f"p{uuid.uuid4().hex[:8]}"})

    def choose(instance_type, **facts):
        environment = env.model_copy(update=facts)
        arn = sagemaker.create_model_package(
            **request_parameters.model_package(
                environment, run, model_data="s3://b/m.tar.gz", accepted=True, reason="Good.", properties={}
            )
        )["ModelPackageArn"]
        operator = ChooseModelOperator(task_id="choose_model", aws_conn_id=None)
        operator.__dict__["environment"] = environment
        params = {"model_package_arn": arn, "instance_type": instance_type}
        return operator.execute({"params": params, "dag_run": SimpleNamespace(dag_id="d", run_id="r")})

    sagemaker.create_model_package_group(**request_parameters.model_package_group(env, run))
    return choose


@pytest.mark.parametrize(
    ("instance_type", "specification", "tag"),
    [("ml.m5.large", "", "2.6.0-cpu-py312"), ("ml.g5.xlarge", "gpu", "2.6.0-gpu-py312")],
)
def test_the_instance_type_decides_and_a_warning_says_that_support_has_ended(
    choose, capsys, instance_type, specification, tag
):
    assert choose(instance_type)["specification"] == specification
    log = capsys.readouterr().out
    assert f"The endpoint's instances, {instance_type}, run {REGISTRY}:{tag}" in log
    assert f"AWS's support of the image pytorch-inference:{tag} ended on 2026-06-30: it is not patched any more" in log


def test_nothing_is_said_of_an_image_of_ones_own(choose, capsys):
    mine = "111122223333.dkr.ecr.us-east-1.amazonaws.com/mine:1"
    assert choose("ml.g5.xlarge", inference_image=mine)["specification"] == ""
    log = capsys.readouterr().out
    assert f"run {mine}" in log
    assert "support" not in log
