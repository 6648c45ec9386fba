"""Images that AWS no longer patches, in what serves and in what will be started; and a function's URLs."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError
from musher.audit import resources, supported
from musher.audit.looking import Looking

NOW = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
REGISTRY = "763104351884.dkr.ecr.us-east-1.amazonaws.com"
OLD, SOON = "pytorch-inference:2.6.0-cpu-py312", "pytorch-training:2.10.0-cpu-py313"
GOOD = "pytorch:2.13-cpu-amzn2023-sagemaker"
SAID = "AWS's support of the image"
ARN = "arn:aws:lambda:us-east-1:111122223333:function:musher-classifier"


def looking(client):
    return Looking(lambda service: client, project="musher", account="111122223333", now=NOW)


def paginator(**pages):
    """A client's get_paginator: each name gives its one page."""
    return lambda name: SimpleNamespace(paginate=lambda **_: [pages[name]])


def refused(code):
    return ClientError({"Error": {"Code": code, "Message": "not you"}}, "AnyOperation")


@pytest.fixture
def sagemaker():
    """Three endpoints: ours with two variants, ours whose configuration nobody may read, and another project's."""
    endpoints = [{"EndpointName": name, "EndpointArn": name} for name in ("ours", "hidden", "theirs")]
    ours, mine = ({"Image": f"{REGISTRY}/{SOON}"}, {"Image": "me/mine:1"})
    models = {"a": {"PrimaryContainer": {"Image": f"{REGISTRY}/{OLD}"}}, "b": {"Containers": [ours, mine]}}

    def describe_endpoint_config(EndpointConfigName):
        if EndpointConfigName == "hidden":
            raise refused("AccessDenied")
        return {"ProductionVariants": [{"ModelName": "a"}, {"ModelName": "b"}, {"VariantName": "component"}]}

    def pages(name):
        if name == "list_endpoints":
            return SimpleNamespace(paginate=lambda: [{"Endpoints": endpoints}])
        return SimpleNamespace(paginate=tags)

    def tags(ResourceArn):
        return [{"Tags": [{"Key": "project", "Value": "other" if ResourceArn == "theirs" else "musher"}]}]

    return SimpleNamespace(
        get_paginator=pages,
        describe_endpoint=lambda EndpointName: {"EndpointConfigName": EndpointName},
        describe_endpoint_config=describe_endpoint_config,
        describe_model=lambda ModelName: models[ModelName],
    )


def test_images_by_the_end_of_their_support(sagemaker):
    at = looking(sagemaker)
    supported.look(at, {"training jobs": f"{REGISTRY}/{GOOD}", "the next endpoint": f"{REGISTRY}/{OLD}"})
    assert [(each.severity, each.where, each.what[:80]) for each in at.sorted()] == [
        ("medium", "endpoint ours", f"{SAID} {OLD} ended on 2026-06-30"[:80]),
        ("medium", "image of the next endpoint", f"{SAID} {OLD} ended on 2026-06-30"[:80]),
        ("low", "endpoint ours", f"{SAID} {SOON} ends on 2027-01-21."[:80]),
    ]
    assert [(each.what, each.why) for each in at.not_looked_at] == [("the endpoint hidden", "AccessDenied: not you")]


def test_a_url_without_iam_is_found():
    def no_policy(**_):
        raise refused("ResourceNotFoundException")

    urls = [
        {"FunctionArn": f"{ARN}:{alias}", "FunctionUrl": f"https://{alias}.lambda-url.on.aws/", "AuthType": kind}
        for alias, kind in (("live", "AWS_IAM"), ("test", "NONE"))
    ]
    client = SimpleNamespace(
        get_paginator=paginator(
            list_functions={"Functions": [{"FunctionName": "musher-classifier", "FunctionArn": ARN}]},
            list_aliases={"Aliases": []},
            list_versions_by_function={"Versions": []},
            list_function_url_configs={"FunctionUrlConfigs": urls},
        ),
        list_tags=lambda Resource: {"Tags": {"project": "musher"}},
        get_policy=no_policy,
    )
    at = looking(client)
    resources.functions(at)
    assert [(each.severity, each.where, each.what) for each in at.findings] == [
        ("critical", f"{ARN}:test", "https://test.lambda-url.on.aws/ answers anybody: its AuthType is NONE.")
    ]
    assert at.not_looked_at == []
