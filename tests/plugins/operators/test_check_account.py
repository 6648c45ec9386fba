"""The first task of each DAG against a local AWS: one list of what is missing, and nothing where nothing is."""

from __future__ import annotations

import json

import pytest
from airflow.sdk.exceptions import AirflowFailException
from botocore.exceptions import ClientError
from musher.account import quotas
from musher.operators.account import CheckAccountOperator

from local_aws.control import tell

ENDPOINTS = "ml.m5.large for endpoint usage"


def quota(project, **order):
    tell(project.daemon.port, "quota", order)


@pytest.fixture
def raised(project):
    """Puts back what a test has made of these quotas."""
    yield
    for name, value in (
        ("Concurrent executions", 1000),
        (ENDPOINTS, 20),
        ("ml.m5.xlarge for training job usage", 20),
        ("All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", 512),
    ):
        quota(project, name=name, value=value)


def missing(project, what: str) -> list[str]:
    """The sentences of the list, one an entry."""
    with pytest.raises(AirflowFailException) as caught:
        project.perform(CheckAccountOperator, what=what)
    first, *entries = str(caught.value).splitlines()
    assert first == "The account lacks what this run needs; nothing was launched:"
    assert [entry.partition(". ")[0] for entry in entries] == [str(n) for n in range(1, len(entries) + 1)]
    return [entry.partition(". ")[2] for entry in entries]


@pytest.mark.parametrize("what", ["training", "deployment", "comparison", "ec2_training", "nothing"])
def test_an_account_that_has_everything_passes(project, what, capsys):
    if what == "ec2_training":
        project.params = {"instance_type": "m5.xlarge"}
    assert project.perform(CheckAccountOperator, what=what) is None
    assert "could not be asked" not in capsys.readouterr().out


def test_what_is_missing_is_one_list_with_how_to_get_it(project, raised):
    iam = project.daemon.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam.create_role(RoleName=project.name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
    role = f"arn:aws:iam::123456789012:role/{project.name}"
    image = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/{project.name}:1"
    gone = {"bucket": f"{project.name}-none", "endpoint_role_arn": role, "lambda_role_arn": f"{role}-none"}
    project.environment = project.environment.model_copy(update={**gone, "inference_image": image})
    quota(project, name=ENDPOINTS, value=2)
    quota(project, name="Concurrent executions", value=10)

    bucket, first, second, images, endpoints, calls = missing(project, "deployment")

    said = "Airflow Variable musher: "
    assert bucket.startswith(f"{said}bucket is '{project.name}-none', and there is no such bucket: bring the stack")
    assert endpoints.startswith(
        f"The quota '{ENDPOINTS}' is 2, of which 0 are in use, and this run needs 3 instances: "
    )
    assert (
        "service-quotas request-service-quota-increase --region us-east-1 --service-code sagemaker --quota" in endpoints
    )
    assert "--desired-value 3`" in endpoints
    assert calls.startswith(
        "The quota 'Concurrent executions' is 10, of which 0 are reserved by other functions and AWS"
    )
    assert "--quota-code L-B99A9384 --desired-value 110`" in calls
    assert first.startswith(
        f"{said}endpoint_role_arn is '{role}', which sagemaker.amazonaws.com may not take: its trust"
    )
    assert second.startswith(f"{said}lambda_role_arn is '{role}-none', and there is no such role: bring the stack")
    assert images == f"{said}inference_image is '{image}', and there is no such image: push it, or name another one."


def test_what_others_use_counts(project, raised):
    arn = project.package(project.model_archive())
    project.sagemaker.create_model(
        ModelName=f"{project.name}-others",
        ExecutionRoleArn=project.environment.endpoint_role_arn,
        Containers=[{"ModelPackageName": arn}],
    )
    variant = {"VariantName": "a", "ModelName": f"{project.name}-others", "InstanceType": "ml.m5.large"}
    for name in (f"{project.name}-others", f"{project.name}-image-classifier-rehearsal"):
        project.sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[{**variant, "InitialInstanceCount": 2}]
        )
        project.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    quota(project, name=ENDPOINTS, value=4)

    (entry,) = missing(project, "deployment")

    # A rehearsal's own endpoint, which the run takes over, does not count.
    assert entry.startswith(f"The quota '{ENDPOINTS}' is 4, of which 2 are in use, and this run needs 3 instances: ")


def test_training_on_ec2_needs_vcpus_and_a_network_that_lets_it_in(project, raised):
    ec2 = project.daemon.client("ec2")
    other = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=other, CidrBlock="10.9.0.0/24")["Subnet"]["SubnetId"]
    changes = {"ec2_subnet": subnet, "ec2_address": "public", "ssh_port": 2022, "ec2_instance_profile": "none"}
    project.environment = project.environment.model_copy(update=changes)
    project.params = {"instance_type": "m5.4xlarge"}
    quota(project, name="L-34B43A08", value=8)

    profile, port, network, address, vcpus = missing(project, "ec2_training")

    assert "Spot Instance Requests' is 8, of which 0 are in use, and this run needs 16 vCPUs for m5.4xlarge: " in vcpus
    assert "ec2_instance_profile is 'none', which does not exist or has no role: " in profile
    assert "which lets nobody in to port 2022; it needs an inbound rule" in port
    assert f"ec2_subnet is '{subnet}', which is in {other}, and ec2_security_group is in vpc-" in network
    assert address.endswith("which gives out no public addresses, and ec2_address is 'public': name another subnet.")


def test_what_cannot_be_asked_ends_no_run(project, monkeypatch, capsys):
    """A role without the permission, or a region without Service Quotas: AWS itself will refuse what is too much."""

    def refused(*_):
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "ListServiceQuotas")

    monkeypatch.setattr(quotas, "quotas", refused)
    project.perform(CheckAccountOperator, what="training")
    assert "Whether the quotas of SageMaker suffice could not be asked: " in capsys.readouterr().out
