"""Which operations are answered by whom: the table of `python -m local_aws support`, made from the code."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from botocore import xform_name
from moto.backends import get_backend, list_of_moto_modules

from local_aws.pipeline import owners

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local_aws.services.base import Service

# Moto keeps these under other module names than botocore's.
MODULES = {
    "application-autoscaling": "applicationautoscaling",
    "lambda": "awslambda",
    "sagemaker-runtime": "sagemakerruntime",
    "service-quotas": "servicequotas",
}
# Whose handlers write the answer themselves (`Service.fast_paths`).
DATA_PLANE = {"lambda": {"Invoke"}, "sagemaker-runtime": {"InvokeEndpoint", "InvokeEndpointWithResponseStream"}}
# Where moto's own class exists but answers what AWS would not: refused rather than invented.
INVENTED_BY_MOTO = {
    "sagemaker": {
        "CreateTrainingJob", "CreateHyperParameterTuningJob", "CreateProcessingJob", "CreateTransformJob",
        "CreateAutoMLJob", "CreateAutoMLJobV2", "CreateCompilationJob", "CreateLabelingJob", "CreateNotebookInstance",
    },
    "sagemaker-runtime": {"InvokeEndpoint", "InvokeEndpointAsync"},
    "lambda": {"Invoke", "InvokeAsync"},
    "ec2": {
        "RequestSpotInstances", "RequestSpotFleet", "CreateFleet", "GetPasswordData", "RunScheduledInstances",
        "ImportInstance",
    },
    "ec2-instance-connect": {"SendSerialConsoleSSHPublicKey"},
}  # fmt: skip


@functools.cache
def supported_by_moto(service: str) -> frozenset[str] | None:
    """The operations of a botocore service that moto answers here; None for a service it does not have.

    It is never asked about what lives here: see `pipeline/owners.py`.
    """
    known = implemented_by_moto(service)
    return known and frozenset(name for name in known if not owners.touches_ours(service, name))


@functools.cache
def implemented_by_moto(service: str) -> frozenset[str] | None:
    """The operations that moto has something sensible for, about whatever; None for a service it does not have."""
    module = MODULES.get(service, service.replace("-", ""))
    if service == "s3" or module not in set(list_of_moto_modules()):
        return None
    from moto.core.utils import get_service_model

    responses = __import__(f"moto.{module}.responses", fromlist=["responses"])
    methods: set[str] = set()
    for value in vars(responses).values():
        if isinstance(value, type) and value.__module__.startswith(f"moto.{module}."):
            methods.update(dir(value))
    if module in {"ec2", "rds", "redshift"}:
        get_backend(module)
        for mixin in [cls for value in vars(responses).values() if isinstance(value, type) for cls in value.__mro__]:
            methods.update(dir(mixin))
    names = get_service_model(service).operation_names
    return frozenset(
        name for name in names if xform_name(name) in methods and name not in INVENTED_BY_MOTO.get(service, ())
    )


def own_operations(services: Iterable[type[Service]] | None = None) -> dict[str, set[str]]:
    """By service the operations that are answered here, the data-plane ones included."""
    from moto.core.utils import get_service_model

    if services is None:
        from local_aws.services import SERVICES

        services = SERVICES
    own: dict[str, set[str]] = {service: set(names) for service, names in DATA_PLANE.items()}
    for service in services:
        names = get_service_model(service.name).operation_names
        implemented = {name for name in names if hasattr(service, xform_name(name))}
        own.setdefault(service.name, set()).update(implemented)
    return own


def table(services: Iterable[type[Service]]) -> str:
    """Markdown: a row a service with its own operations, those of moto, and how many AWS has."""
    from moto.core.utils import get_service_model

    own = own_operations(services)
    also = ["iam", "sts", "logs", "ssm", "events", "secretsmanager", "cloudformation", "ec2"]
    rows = ["| service | really executed here | records kept by moto | operations AWS has |", "|---|---|---|---|"]
    for name in [*sorted(own), *[each for each in also if each not in own]]:
        operations = get_service_model(name).operation_names
        mine = sorted(own.get(name, ()))
        moto = sorted((supported_by_moto(name) or frozenset()) - set(mine))
        moto_text = ", ".join(moto) if len(moto) <= 40 else f"{len(moto)} operations"
        if name == "s3":
            moto_text = "buckets and their configuration"
        rows.append(f"| {name} | {', '.join(mine) or '-'} | {moto_text or '-'} | {len(operations)} |")
    return "\n".join(rows)
