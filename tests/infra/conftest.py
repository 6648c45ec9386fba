"""A local AWS, and stacks in it that are deleted after the test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.local_aws.daemon import Daemon
from tools import infrastructure


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory, start_daemon: Callable[..., Daemon]) -> Iterator[Daemon]:
    """One local AWS for all tests here; each of them has a project of its own in it."""
    daemon = start_daemon(tmp_path_factory.mktemp("infra"))
    yield daemon
    daemon.stop()


@pytest.fixture
def deploy(aws: Daemon) -> Iterator[Callable[..., dict[str, Any]]]:
    """`deploy("project", SshPort=2222)`: the Variable's values."""
    made = set()

    def deploy(project: str, **parameters: object) -> dict[str, Any]:
        made.add(project)
        return infrastructure.deploy(aws.client, {"ProjectName": project, "SshCidr": "127.0.0.1/32", **parameters})

    yield deploy
    for project in made:
        with contextlib.suppress(infrastructure.InfrastructureError):
            infrastructure.delete(aws.client, project, empty_bucket=True)


def left(aws: Any, project: str) -> list[str]:
    """Everything in the account that carries a project's name."""
    found = [each["Name"] for each in aws.client("s3").list_buckets()["Buckets"]]
    iam = aws.client("iam")
    found += [each["RoleName"] for each in iam.list_roles()["Roles"]]
    found += [each["PolicyName"] for each in iam.list_policies(Scope="Local")["Policies"]]
    found += [each["InstanceProfileName"] for each in iam.list_instance_profiles()["InstanceProfiles"]]
    found += [each["GroupName"] for each in aws.client("ec2").describe_security_groups()["SecurityGroups"]]
    found += [each["logGroupName"] for each in aws.client("logs").describe_log_groups()["logGroups"]]
    found += [each["Name"] for each in aws.client("events").list_rules()["Rules"]]
    found += [each["TopicArn"] for each in aws.client("sns").list_topics()["Topics"]]
    return [each for each in found if project in each]
