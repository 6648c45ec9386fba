"""What a run needs of an account: quotas, roles, images, a network. Worked out from its configuration alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from musher.config import ComparisonConfig, DeploymentConfig, TrainingConfig
from musher.release.plan import plan

SAGEMAKER, EC2 = "sagemaker", "ec2"
TRAINING, SPOT_TRAINING, ENDPOINT = "training job", "spot training job", "endpoint"
# The services that roles are for, as their trust policies name them.
OF_SAGEMAKER, OF_LAMBDA, OF_EC2 = "sagemaker.amazonaws.com", "lambda.amazonaws.com", "ec2.amazonaws.com"

_STANDARD = "Standard (A, C, D, H, I, M, R, T, Z)"
# The quotas that count the vCPUs of a family of EC2's instance types, on demand and on Spot.
# Source: EC2 user guide, "Amazon EC2 service quotas".
_FAMILIES = (
    (
        re.compile(r"[acdhimrtz]\d"),
        f"Running On-Demand {_STANDARD} instances",
        f"All {_STANDARD} Spot Instance Requests",
    ),
    (re.compile(r"(g|vt)\d"), "Running On-Demand G and VT instances", "All G and VT Spot Instance Requests"),
    (re.compile(r"p[234]"), "Running On-Demand P instances", "All P4, P3 and P2 Spot Instance Requests"),
)


@dataclass(frozen=True)
class Served:
    """What the endpoint in service has: instances of a type; none of them where nothing serves."""

    instance_type: str = ""
    instances: int = 0


@dataclass(frozen=True)
class Needs:
    """`instances` by use and type, such as {("endpoint", "ml.m5.large"): 3}, beside those that are in use; `vcpus` of
    EC2 instances by quota, of a type that is in `instance_types`.

    `concurrency` reserved for the function; `roles` the Variable's fields by the service that takes them; `images` its
    fields that name images; `ssh` whether instances have to be reached.
    """

    instances: Mapping[tuple[str, str], int] = field(default_factory=dict)
    ec2_instance: tuple[str, bool] | None = None
    """An EC2 instance: its type, and whether it is a Spot instance."""
    concurrency: int = 0
    roles: Mapping[str, str] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    ssh: bool = False

    def with_others(self, others: Needs) -> Needs:
        """What either of two runs needs, of which one runs at a time."""
        most = Counter(self.instances) | Counter(others.instances)
        return Needs(
            instances=dict(most),
            ec2_instance=self.ec2_instance or others.ec2_instance,
            concurrency=max(self.concurrency, others.concurrency),
            roles={**self.roles, **others.roles},
            images=tuple(dict.fromkeys([*self.images, *others.images])),
            ssh=self.ssh or others.ssh,
        )


def training(config: TrainingConfig) -> Needs:
    """The trials at a time, or the instances of one training; and the evaluation of the model in service, which is on
    demand."""
    kind = config.training_instance_type
    most = max(config.max_parallel_jobs, *config.instance_counts)
    needed = {(SPOT_TRAINING, kind): most, (TRAINING, kind): 1} if config.managed_spot else {(TRAINING, kind): most}
    return Needs(instances=needed, roles={"training_role_arn": OF_SAGEMAKER}, images=("training_image",))


def deployment(config: DeploymentConfig, served: Served | None = None) -> Needs:
    """The fleet that is rehearsed, scaled out, and in a release the second fleet: the larger of both.

    Parameters: `served` what the endpoint has; None for nothing.
    """
    served = served or Served()
    fleet: Counter[tuple[str, str]] = Counter()
    if not served.instances or config.rehearsal != "never":
        fleet[ENDPOINT, config.instance_type] = config.max_instances
    if served.instances:
        moved = plan(config, served.instances)
        released = Counter({(ENDPOINT, config.instance_type): moved.instances})
        if moved.raised_from:
            released[ENDPOINT, served.instance_type] += moved.instances - moved.raised_from
        fleet |= released
    return Needs(
        instances=dict(fleet),
        concurrency=config.reserved_concurrency,
        roles={
            "endpoint_role_arn": OF_SAGEMAKER,
            "lambda_role_arn": OF_LAMBDA,
            "lambda_rehearsal_role_arn": OF_LAMBDA,
        },
        images=("inference_image",),
    )


def comparison(config: ComparisonConfig) -> Needs:
    """An instance for each of the two models."""
    return Needs(
        instances={(ENDPOINT, config.instance_type): 2},
        roles={"endpoint_role_arn": OF_SAGEMAKER},
        images=("inference_image",),
    )


def ec2_training(instance_type: str, *, spot: bool) -> Needs:
    """One instance that is reached by SSH. Parameters: `instance_type` empty where it is not known."""
    return Needs(ec2_instance=(instance_type, spot) if instance_type else None, ssh=True)


def quota_of_vcpus(instance_type: str, *, spot: bool) -> str:
    """The name of EC2's quota that counts a type's vCPUs; empty for a family that is not known here."""
    for families, on_demand, of_spot in _FAMILIES:
        if families.match(instance_type):
            return of_spot if spot else on_demand
    return ""
