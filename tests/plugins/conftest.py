"""Fixtures for the tests of plugins/: an S3 that answers over HTTP, and botocore's own opinion of a request."""

from __future__ import annotations

import re
from pathlib import Path

import boto3
import botocore.session
import pytest
from botocore.validate import ParamValidator
from musher.config import Environment
from musher.costs import prices
from musher.names import Run

REGION = "us-east-1"


@pytest.fixture
def env() -> Environment:
    return Environment(
        bucket="musher-bucket",
        region=REGION,
        training_role_arn="arn:aws:iam::111122223333:role/musher-training",
        endpoint_role_arn="arn:aws:iam::111122223333:role/musher-endpoint",
        lambda_role_arn="arn:aws:iam::111122223333:role/musher-lambda",
    )


@pytest.fixture
def run() -> Run:
    return Run("train_image_classifier", "manual__2026-11-20T20:39:00.123456+00:00")


@pytest.fixture
def fixed_prices(monkeypatch) -> prices.Prices:
    """The price table that sums in tests are worked out from, whatever `make prices` does to the real one."""
    table = prices.Prices.read(Path(__file__).with_name("prices.json"))
    monkeypatch.setattr(prices, "table", lambda: table)
    return table


@pytest.fixture(scope="session")
def s3_server():
    """The address of an S3 that speaks HTTP."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server, monkeypatch, env):
    """A boto3 client of a real S3 over HTTP, with the environment's bucket empty in it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    client = boto3.client("s3", endpoint_url=s3_server, region_name=REGION)
    client.create_bucket(Bucket=env.bucket)
    yield client
    for bucket in client.list_buckets()["Buckets"]:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"]):
            if found := [{"Key": item["Key"]} for item in page.get("Contents", [])]:
                client.delete_objects(Bucket=bucket["Name"], Delete={"Objects": found})
        client.delete_bucket(Bucket=bucket["Name"])


# The Unicode classes of AWS's patterns that Python's `re` lacks, narrowed to what is enough to judge our requests.
_CLASSES = {
    r"\p{L}": "a-zA-ZÀ-ɏ",
    r"\p{M}": "",
    r"\p{Z}": " ",
    r"\p{N}": "0-9",
    r"\p{S}": "$+<=>^`|~",
    r"\p{P}": r"!-#%-*,-/:;?@\[-\]_{}",
    r"\p{Print}": r"[\x20-\x7e]",
}


def _pattern(text: str) -> re.Pattern:
    for java, python in _CLASSES.items():
        text = text.replace(java, python)
    if "\\u" in text:  # a range of almost all of Unicode
        return re.compile(".*", re.DOTALL)
    return re.compile(re.sub(r"\$\{\d+,\d+\}", "", text))  # a slip in AWS's own model: `*)${1,256}`


def _limits(shape, value, where):
    limits = shape.metadata
    if limits.get("enum") and value not in limits["enum"]:
        yield f"{where}: {value!r} is not in the enum"
    if shape.type_name == "string" and "pattern" in limits and not _pattern(limits["pattern"]).fullmatch(value):
        yield f"{where}: {value!r} does not match {limits['pattern']}"
    measure = value if isinstance(value, (int, float)) else len(value)
    if "min" in limits and measure < limits["min"]:
        yield f"{where}: below {limits['min']}"
    if "max" in limits and measure > limits["max"]:
        yield f"{where}: above {limits['max']}"


def _problems(shape, value, where):
    """What botocore's validator leaves unchecked: enums, patterns and the limits of strings, lists and numbers."""
    yield from _limits(shape, value, where)
    if shape.type_name == "structure":
        for name in shape.members.keys() & value.keys():
            yield from _problems(shape.members[name], value[name], f"{where}.{name}")
    elif shape.type_name == "list":
        for index, item in enumerate(value):
            yield from _problems(shape.member, item, f"{where}[{index}]")
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from _problems(shape.key, key, f"{where} key")
            yield from _problems(shape.value, item, f"{where}[{key}]")


@pytest.fixture(scope="session")
def aws_problems():
    """A function (service, operation, request) -> what AWS's own model finds wrong with the request: [] is good."""
    session = botocore.session.get_session()

    def check(service: str, operation: str, request: dict) -> list[str]:
        shape = session.get_service_model(service).operation_model(operation).input_shape
        report = ParamValidator().validate(request, shape).generate_report()
        return [line for line in [report, *_problems(shape, request, operation)] if line]

    return check
