"""The account's quotas: which there are, what AWS gives an account to begin with, and what this one has.

Those of SageMaker are one for each instance type and use, as AWS lists them; those of EC2 count vCPUs of instances, for
a group of families each. An account here has had its quotas raised; Service Quotas says AWS's defaults
besides.

Sources: Service Quotas user guide; EC2 user guide, "Amazon EC2 service quotas"; SageMaker API reference,
ResourceLimitExceeded.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from typing import NamedTuple

from local_aws import instance_types
from local_aws.errors import AwsError

SAGEMAKER, EC2, LAMBDA = "sagemaker", "ec2", "lambda"
SERVICE_NAMES = {
    SAGEMAKER: "Amazon SageMaker",
    EC2: "Amazon Elastic Compute Cloud (Amazon EC2)",
    LAMBDA: "AWS Lambda",
}
TRAINING, SPOT_TRAINING, ENDPOINT = "training job", "spot training job", "endpoint"
CONCURRENT = "Concurrent executions"

_STANDARD = "Standard (A, C, D, H, I, M, R, T, Z)"
# Families of EC2's instance types, the quotas that count their vCPUs on demand and as Spot instances, and AWS's codes.
# What no line has is not limited here.
_EC2 = (
    (
        re.compile(r"[acdhimrtz]\d"),
        (f"Running On-Demand {_STANDARD} instances", "L-1216C47A", 5),
        (f"All {_STANDARD} Spot Instance Requests", "L-34B43A08", 5),
    ),
    (
        re.compile(r"(g|vt)\d"),
        ("Running On-Demand G and VT instances", "L-DB2E81BA", 0),
        ("All G and VT Spot Instance Requests", "L-3819A6DF", 0),
    ),
    (
        re.compile(r"p[234]"),
        ("Running On-Demand P instances", "L-417A185B", 0),
        ("All P4, P3 and P2 Spot Instance Requests", "L-7212CCBC", 0),
    ),
)
# What this account has been given.
_RAISED = {SAGEMAKER: 20, EC2: 512}


class Quota(NamedTuple):
    """A quota: `default` AWS's, `raised` what an account here has to begin with."""

    service: str
    name: str
    code: str
    default: float
    raised: float


@functools.cache
def known() -> Mapping[str, Quota]:
    """Every quota by its name; the names differ among the services."""
    found = [Quota(LAMBDA, CONCURRENT, "L-B99A9384", 1000, 1000)]
    for _, *both in _EC2:
        found += [Quota(EC2, name, code, default, _RAISED[EC2]) for name, code, default in both]
    for use, types in _sagemaker_types().items():
        for each in types:
            name = sagemaker_name(each, use)
            found.append(Quota(SAGEMAKER, name, _code(name), 0, _RAISED[SAGEMAKER]))
    return {each.name: each for each in found}


def _sagemaker_types() -> dict[str, list[str]]:
    from local_aws.pipeline.directory import model

    shape = model("sagemaker").shape_for
    training = [each for each in shape("TrainingInstanceType").enum if each.startswith("ml.")]
    endpoint = [each for each in shape("ProductionVariantInstanceType").enum if each.startswith("ml.")]
    return {TRAINING: training, SPOT_TRAINING: training, ENDPOINT: endpoint}


def _code(name: str) -> str:
    """A code of AWS's form for a quota whose own is not known here."""
    return f"L-{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}"


def sagemaker_name(instance_type: str, use: str) -> str:
    """The name of SageMaker's quota of instances, such as `ml.m5.large for endpoint usage`."""
    return f"{instance_type} for {use} usage"


def ec2_name(instance_type: str, spot: bool) -> str | None:
    """The name of the quota that counts an instance type's vCPUs; None for a family that has none here."""
    for families, *both in _EC2:
        if families.match(instance_type):
            return both[spot][0]
    return None


def vcpus(instance_type: str) -> int:
    """The vCPUs of an EC2 instance type, from moto's copy of DescribeInstanceTypes."""
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    known = INSTANCE_TYPES.get(instance_type)  # a newer type may be missing
    return known["VCpuInfo"]["DefaultVCpus"] if known else instance_types.vcpus(instance_type)


class Quotas:
    """What the account's quotas are now."""

    def __init__(self) -> None:
        self.changed: dict[str, float] = {}
        """Those that are not as they were to begin with, by name."""

    def value(self, name: str) -> float:
        return self.changed.get(name, known()[name].raised)

    def check(self, name: str, used: int, more: int) -> None:
        """Whether `more` SageMaker instances may be had beside those in use.

        Raises AwsError("ResourceLimitExceeded") with AWS's sentence.
        """
        limit = int(self.value(name)) if name in known() else None
        if limit is not None and more > 0 and used + more > limit:
            raise AwsError(
                "ResourceLimitExceeded",
                f"The account-level service limit '{name}' is {limit} Instances, with current utilization of {used} "
                f"Instances and a request delta of {more} Instances. Please use AWS Service Quotas to request an "
                "increase for this quota. If AWS Service Quotas is not available, contact AWS support to request an "
                "increase for this quota.",
            )

    def check_vcpus(self, instance_type: str, spot: bool, used: int, more: int) -> None:
        """Whether so many more vCPUs of EC2 instances may be had beside those in use.

        Raises AwsError: VcpuLimitExceeded, or MaxSpotInstanceCountExceeded for a Spot instance.
        """
        name = ec2_name(instance_type, spot)
        if name is None or used + more <= self.value(name):
            return
        if spot:
            raise AwsError("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
        raise AwsError(
            "VcpuLimitExceeded",
            f"You have requested more vCPU capacity than your current vCPU limit of {self.value(name):g} allows for "
            "the instance bucket that the specified instance type belongs to. Please visit "
            "http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.",
        )
