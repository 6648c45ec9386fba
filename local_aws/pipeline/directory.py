"""Which services there are, and by what a request says that it means one: from the heads of botocore's models."""

from __future__ import annotations

import functools
import gzip
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import botocore
from moto.core.model import OperationModel, ServiceModel
from moto.core.utils import get_service_model

DATA = Path(botocore.__file__).parent / "data"
HEAD_BYTES = 8192
METADATA = re.compile(r'"metadata"\s*:\s*')
# The signing name of a request, where botocore's models have another one.
SIGNING_NAMES = {"eventbridge": "events"}


class Directory(NamedTuple):
    """The services' names in botocore."""

    by_signing_name: dict[str, tuple[str, ...]]
    by_target: dict[str, tuple[str, ...]]
    """By what comes before the dot of X-Amz-Target, and in the path of Smithy's RPC v2."""
    by_version: dict[str, tuple[str, ...]]
    """The Query protocol's, by `Version`."""


@functools.cache
def directory() -> Directory:
    """All services of this botocore. It takes a fifth of a second, once."""
    signing, target, version = defaultdict(list), defaultdict(list), defaultdict(list)
    for service, head in _heads():
        signing[head.get("signingName", head["endpointPrefix"])].append(service)
        if "targetPrefix" in head:
            target[head["targetPrefix"]].append(service)
        if {"query", "ec2"} & {head["protocol"], *head.get("protocols", ())}:
            version[head["apiVersion"]].append(service)
    for name, services in signing.items():
        services.sort(key=lambda service, name=name: (service != name, len(service)))
    return Directory(*({key: tuple(value) for key, value in each.items()} for each in (signing, target, version)))


def _heads() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for folder in sorted(DATA.iterdir()):
        versions = sorted(folder.glob("*/service-2.json.gz"))
        if versions:
            with gzip.open(versions[-1], "rt", encoding="utf-8") as file:
                text = file.read(HEAD_BYTES)
            start = METADATA.search(text)
            if start is not None:
                found.append((folder.name, json.JSONDecoder().raw_decode(text, start.end())[0]))
    return found


def services_signed_as(name: str) -> tuple[str, ...]:
    """The services whose requests are signed with a name; () for a name that no service has."""
    return COMMON.get(name) or directory().by_signing_name.get(SIGNING_NAMES.get(name, name), ())


def _there(*services: str) -> tuple[str, ...]:
    """Those that this botocore has: MWAA's lines carry several, and not the newest."""
    return tuple(service for service in services if (DATA / service).is_dir())


# Asked for most, and known without reading all heads; tests/local_aws/test_pipeline.py holds them to the directory.
COMMON = {
    "s3": ("s3", "s3control"),
    "sts": ("sts",),
    "monitoring": ("cloudwatch",),
    "ec2": ("ec2",),
    "logs": ("logs",),
    "ssm": ("ssm",),
    "cloudformation": ("cloudformation",),
    "application-autoscaling": ("application-autoscaling",),
    "ec2-instance-connect": ("ec2-instance-connect",),
    "iam": _there("iam", "iam-toolbox"),
    "lambda": _there("lambda", "lambda-web", "lambda-core", "lambda-microvms"),
    "sagemaker": _there(
        "sagemaker", "sagemaker-edge", "sagemaker-metrics", "sagemaker-runtime", "sagemakerjobruntime",
        "sagemaker-a2i-runtime", "sagemaker-featurestore-runtime", "sagemakertrainingsessionruntime",
    ),
}  # fmt: skip


@functools.cache
def model(service: str) -> ServiceModel:
    """botocore's model of a service, in moto's classes."""
    return get_service_model(service)


@functools.cache
def operation(service: str, name: str) -> OperationModel:
    """One operation of it."""
    return model(service).operation_model(name)


@functools.cache
def protocols(service: str) -> tuple[str, ...]:
    """What a service speaks."""
    metadata = model(service).metadata
    return tuple(dict.fromkeys([metadata["protocol"], *metadata.get("protocols", ())]))
