"""What the account's quotas are, and how much of them is in use: two questions, asked apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from musher import names
from musher.account.needs import EC2, ENDPOINT, SAGEMAKER, SPOT_TRAINING, TRAINING, quota_of_vcpus
from musher.hooks import sagemaker_jobs
from musher.hooks.serving import found

Client = Callable[[str], Any]


@dataclass(frozen=True)
class Quota:
    """A quota as Service Quotas has it; `of_aws` where the account has no value of its own."""

    service: str
    name: str
    code: str
    value: float
    of_aws: bool = False


def quotas(client: Client, service: str, wanted: Collection[str]) -> dict[str, Quota]:
    """The account's quotas of a service by their names; AWS's defaults where it has no value of its own.

    One that AWS does not have is left out. Raises ClientError.
    Source: Service Quotas API reference, ListServiceQuotas: "only the default values are available" of some.
    """
    known: dict[str, Quota] = {}
    for operation, of_aws in (("list_service_quotas", False), ("list_aws_default_service_quotas", True)):
        pages = (
            client("service-quotas")
            .get_paginator(operation)
            .paginate(ServiceCode=service, PaginationConfig={"PageSize": 100})
        )
        for page in pages:
            for each in page["Quotas"]:
                if each["QuotaName"] in wanted:
                    quota = Quota(service, each["QuotaName"], each["QuotaCode"], each["Value"], of_aws)
                    known.setdefault(quota.name, quota)
            if len(known) == len(set(wanted)):
                return known
    return known


def sagemaker_quota(use: str, instance_type: str) -> str:
    """The name of SageMaker's quota of instances: `ml.m5.large for endpoint usage`."""
    return f"{instance_type} for {use} usage"


def instances_in_use(client: Client, uses: Collection[str], project: str) -> Counter[tuple[str, str]]:
    """SageMaker's instances that count just now, by use and type.

    Without those of the project's rehearsal and comparison, whose place a run takes.
    """
    sagemaker, used = client("sagemaker"), Counter()
    if ENDPOINT in uses:
        ours = {names.Stack(project, rehearsal=True).endpoint, names.comparison_endpoint(project)}
        for page in sagemaker.get_paginator("list_endpoints").paginate():
            for each in page["Endpoints"]:
                if each["EndpointName"] not in ours:
                    used.update(_of_endpoint(sagemaker, each["EndpointName"]))
    if {TRAINING, SPOT_TRAINING} & set(uses):
        kind = sagemaker_jobs.TRAINING
        pages = sagemaker.get_paginator(kind.listing).paginate(StatusEquals="InProgress")
        for each in (job for page in pages for job in page[f"{kind.type}Summaries"]):
            job = found(lambda name=each[kind.name_field]: sagemaker.describe_training_job(TrainingJobName=name))
            if job:
                use = SPOT_TRAINING if job.get("EnableManagedSpotTraining") else TRAINING
                used[use, job["ResourceConfig"]["InstanceType"]] += job["ResourceConfig"]["InstanceCount"]
    return used


def _of_endpoint(sagemaker: Any, name: str) -> Counter[tuple[str, str]]:
    """An endpoint's instances by type, as its configuration has the types; those of a second fleet as well."""
    used: Counter[tuple[str, str]] = Counter()
    endpoint = found(lambda: sagemaker.describe_endpoint(EndpointName=name)) or {}
    fleets = [endpoint.get("ProductionVariants") or []]
    configurations = [endpoint.get("EndpointConfigName")]
    if pending := endpoint.get("PendingDeploymentSummary"):
        fleets.append(pending.get("ProductionVariants") or [])
        configurations.append(pending["EndpointConfigName"])
    for variants, configuration in zip(fleets, configurations, strict=True):
        types = instance_types(sagemaker, configuration) if configuration else {}
        for each in variants:
            if kind := types.get(each["VariantName"]):
                used[ENDPOINT, kind] += each.get("DesiredInstanceCount") or each.get("CurrentInstanceCount") or 0
    return used


def instance_types(sagemaker: Any, configuration: str) -> Mapping[str, str]:
    """The instance type of each variant of an endpoint configuration; none of a serverless one."""
    config = found(lambda: sagemaker.describe_endpoint_config(EndpointConfigName=configuration)) or {}
    variants = config.get("ProductionVariants") or []
    return {each["VariantName"]: each["InstanceType"] for each in variants if each.get("InstanceType")}


def vcpus(client: Client, instance_type: str, *, spot: bool) -> tuple[int, int]:
    """The vCPUs of an instance type, and how many of its quota's are in use just now."""
    ec2 = client("ec2")
    running: Counter[str] = Counter()
    states = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    for page in ec2.get_paginator("describe_instances").paginate(Filters=states):
        for each in (instance for reservation in page["Reservations"] for instance in reservation["Instances"]):
            on_spot = each.get("InstanceLifecycle") == "spot"
            if quota_of_vcpus(each["InstanceType"], spot=on_spot) == quota_of_vcpus(instance_type, spot=spot):
                running[each["InstanceType"]] += 1
    described = ec2.describe_instance_types(InstanceTypes=sorted({instance_type, *running}))["InstanceTypes"]
    size = {each["InstanceType"]: each["VCpuInfo"]["DefaultVCpus"] for each in described}
    return size[instance_type], sum(size[kind] * count for kind, count in running.items())


__all__ = ["EC2", "SAGEMAKER", "Quota", "instance_types", "instances_in_use", "quotas", "sagemaker_quota", "vcpus"]
