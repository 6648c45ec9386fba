"""Quotas: listed as Service Quotas lists them, changed by a command, and what exceeds one refused as AWS refuses it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from botocore.exceptions import ClientError

from local_aws import quotas
from local_aws.control import Refused, tell
from tests.local_aws.daemon import ROOT
from tests.local_aws.ec2_hosts import PARAMETER
from tests.local_aws.serving import Serving
from tests.local_aws.training_scripts import Jobs

ENDPOINTS = "ml.c5.xlarge for endpoint usage"


def quota(daemon, name: str, value: object) -> str:
    return tell(daemon.port, "quota", {"name": name, "value": value})


@pytest.fixture
def limited(local_aws):
    """`limited(name, value)`: another quota for this test."""
    before: dict[str, float] = {}

    def limited(name: str, value: float) -> None:
        before.setdefault(name, quotas.known()[name].raised)
        quota(local_aws, name, value)

    yield limited
    for name, value in before.items():
        quota(local_aws, name, value)


def refused(call, code: str, **params) -> str:
    with pytest.raises(ClientError) as caught:
        call(**params)
    assert caught.value.response["Error"]["Code"] == code
    return caught.value.response["Error"]["Message"]


def listed(client, operation: str, service: str) -> dict[str, dict]:
    pages = client.get_paginator(operation).paginate(ServiceCode=service)
    return {each["QuotaName"]: each for page in pages for each in page["Quotas"]}


def test_they_are_listed_by_service_with_what_the_account_has_and_what_aws_gives(local_aws, limited):
    client = local_aws.client("service-quotas")
    limited(ENDPOINTS, 7)
    of_sagemaker = listed(client, "list_service_quotas", "sagemaker")
    assert len(of_sagemaker) > 300
    assert of_sagemaker[ENDPOINTS]["Value"] == 7
    assert listed(client, "list_aws_default_service_quotas", "sagemaker")[ENDPOINTS]["Value"] == 0
    code = of_sagemaker[ENDPOINTS]["QuotaCode"]
    of = {"ServiceCode": "sagemaker", "QuotaCode": code}
    assert client.get_service_quota(**of)["Quota"] == of_sagemaker[ENDPOINTS]
    assert client.get_aws_default_service_quota(**of)["Quota"]["Value"] == 0
    standard = client.get_service_quota(ServiceCode="ec2", QuotaCode="L-1216C47A")["Quota"]
    assert standard["QuotaName"] == "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"
    (calls,) = listed(client, "list_service_quotas", "lambda").values()
    assert calls["Value"] == local_aws.client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]


def test_what_has_no_quota_here_is_refused(local_aws):
    client = local_aws.client("service-quotas")
    message = refused(client.list_service_quotas, "NoSuchResourceException", ServiceCode="glacier")
    assert message == "The local AWS has quotas of ec2, lambda, sagemaker, not of 'glacier'."
    refused(client.get_service_quota, "NoSuchResourceException", ServiceCode="ec2", QuotaCode="L-00000000")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ml.m5.large for endpoint use", 1, r"no quota 'ml\.m5\.large for endpoint use'; did you mean 'ml\.m5\.large"),
        (ENDPOINTS, -1, rf"{ENDPOINTS} must be a number from 0, not -1\."),
        (ENDPOINTS, "many", r"The value of a quota is a number from 0, not 'many'\."),
        (ENDPOINTS, True, r"The value of a quota is a number from 0, not True\."),
        (quotas.CONCURRENT, 0, r"Concurrent executions must be a whole number from 1, not 0\."),
    ],
)
def test_what_is_no_quota_is_one_sentence(local_aws, name, value, sentence):
    with pytest.raises(Refused, match=sentence):
        quota(local_aws, name, value)


def test_the_command_lists_and_changes_them(local_aws, limited):
    limited(ENDPOINTS, 20)  # put back afterwards
    command = [sys.executable, "-m", "local_aws", "quota"]

    def run(*words: str) -> str:
        done = subprocess.run(
            [*command, *words, "--port", str(local_aws.port)], cwd=ROOT, capture_output=True, text=True, check=True
        )
        return done.stdout

    assert run("set", ENDPOINTS, "3") == f"From now on the account's quota '{ENDPOINTS}' is 3.\n"
    assert run("list", "ml.c5.xlarge for endpoint") == f"     3  sagemaker  {ENDPOINTS}\n"


def sentence(name: str, limit: int, used: int, more: int) -> str:
    return (
        f"The account-level service limit '{name}' is {limit} Instances, with current utilization of {used} Instances "
        f"and a request delta of {more} Instances. Please use AWS Service Quotas to request an increase for this "
        "quota. If AWS Service Quotas is not available, contact AWS support to request an increase for this quota."
    )


def test_an_endpoint_has_no_more_instances_than_the_quota(local_aws, bucket, role_arn, limited):
    serving = Serving(local_aws, bucket, role_arn)
    client = serving.sagemaker
    limited(ENDPOINTS, 1)
    model = serving.model()
    one = serving.config(model, instance_type="ml.c5.xlarge")
    two = serving.config(model, instance_type="ml.c5.xlarge", count=2)

    told = refused(client.create_endpoint, "ResourceLimitExceeded", EndpointName="too-many", EndpointConfigName=two)
    assert told == sentence(ENDPOINTS, 1, 0, 2)
    assert client.list_endpoints(NameContains="too-many")["Endpoints"] == []

    client.create_endpoint(EndpointName="quota", EndpointConfigName=one)
    assert serving.wait("quota")["EndpointStatus"] == "InService"
    # An update takes a second fleet beside the first; more capacity takes what is missing.
    told = refused(client.update_endpoint, "ResourceLimitExceeded", EndpointName="quota", EndpointConfigName=two)
    assert told == sentence(ENDPOINTS, 1, 1, 2)
    told = refused(
        client.update_endpoint_weights_and_capacities,
        "ResourceLimitExceeded",
        EndpointName="quota",
        DesiredWeightsAndCapacities=[{"VariantName": "v0", "DesiredInstanceCount": 3}],
    )
    assert told == sentence(ENDPOINTS, 1, 1, 2)
    assert client.describe_endpoint(EndpointName="quota")["EndpointStatus"] == "InService"
    client.delete_endpoint(EndpointName="quota")


def test_jobs_have_no_more_instances_than_their_own_quota(local_aws, bucket, role_arn, limited, wait_for):
    jobs = Jobs(local_aws, bucket, role_arn, wait_for)
    client = local_aws.client("sagemaker")
    for name in ("ml.c5.xlarge for training job usage", "ml.c5.2xlarge for spot training job usage"):
        limited(name, 0)
    request = jobs.request("quota") | {"ResourceConfig": resources("ml.c5.xlarge", 2)}
    told = refused(client.create_training_job, "ResourceLimitExceeded", **request)
    assert told == sentence("ml.c5.xlarge for training job usage", 0, 0, 2)
    # Managed Spot has a quota of its own.
    spot = {
        **jobs.request("quota"),
        "ResourceConfig": resources("ml.c5.2xlarge", 1),
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
    }
    told = refused(client.create_training_job, "ResourceLimitExceeded", **spot)
    assert told == sentence("ml.c5.2xlarge for spot training job usage", 0, 0, 1)
    assert client.list_training_jobs(NameContains="quota-")["TrainingJobSummaries"] == []


def resources(instance_type: str, count: int) -> dict:
    return {"InstanceType": instance_type, "InstanceCount": count, "VolumeSizeInGB": 1}


def test_instances_have_no_more_vcpus_than_their_family_and_market(local_aws, limited):
    ec2 = local_aws.client("ec2")
    image = f"resolve:ssm:{PARAMETER}"
    limited("Running On-Demand G and VT instances", 3)
    limited("All G and VT Spot Instance Requests", 3)
    launch = {"ImageId": image, "InstanceType": "g5.xlarge", "MinCount": 1, "MaxCount": 1}
    told = refused(ec2.run_instances, "VcpuLimitExceeded", **launch)
    assert told.startswith("You have requested more vCPU capacity than your current vCPU limit of 3 allows")
    told = refused(
        ec2.run_instances, "MaxSpotInstanceCountExceeded", **launch, InstanceMarketOptions={"MarketType": "spot"}
    )
    assert told == "Max spot instance count exceeded"


def test_a_new_account_has_next_to_nothing_and_a_restart_keeps_it(new_local_aws):
    daemon = new_local_aws()
    tell(daemon.port, "quota", {"new_account": True})
    daemon.stop()
    again = new_local_aws(state=daemon.state)
    found = listed(again.client("service-quotas"), "list_service_quotas", "sagemaker")
    assert {each["Value"] for each in found.values()} == {0}
    assert again.client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"] == 10
