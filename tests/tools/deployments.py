"""What the tests of deployments share: an environment in the local AWS, and a record of the calls that leave for it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse

from tests.local_aws.daemon import Daemon
from tools.deployment.account import READS, Account
from tools.deployment.environment import PACKAGE
from tools.deployment.settings import Settings, settings_of

ACCOUNT = "123456789012"


def settings(daemon: Daemon, project: str, **more: Any) -> Settings:
    """An environment in the account's default network."""
    ec2 = daemon.client("ec2")
    vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
    found = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    subnets = sorted(each["SubnetId"] for each in found if each["AvailabilityZone"][-1] in "ab")
    given = {
        "account": ACCOUNT,
        "region": "us-east-1",
        "project": project,
        "network": {"VpcId": vpc, "SubnetIds": subnets},
        "musher": {"SshCidr": "127.0.0.1/32"},
    }
    return settings_of("local", {**given, **more})


class Session:
    """An account as a deployment sees it, the lines that it said, and the calls that AWS got.

    `steps` has the keys of objects and the names of stacks, in the order in which they were written.
    """

    def __init__(self, daemon: Daemon, writes: Collection[str] | None = None) -> None:
        self.said: list[str] = []
        self.calls: list[tuple[str, str]] = []
        self.steps: list[str] = []
        keys = {"aws_access_key_id": "AKIATESTTESTTESTTEST", "aws_secret_access_key": "test"}
        self.account = Account("us-east-1", self.said.append, writes, endpoint_url=daemon.url, **keys)

    @property
    def writes(self) -> list[str]:
        """The calls that were sent and do not only read, as `s3 PutObject`."""
        return [f"{service} {name}" for service, name in self.calls if not name.startswith(READS)]


@contextlib.contextmanager
def session(daemon: Daemon, writes: Collection[str] | None = None) -> Iterator[Session]:
    """A session that records what is about to be sent, whichever client sends it: at botocore's last event before."""
    made = Session(daemon, writes)

    def record(event_name: str, **_: Any) -> None:
        _, service, operation = event_name.split(".")
        made.calls.append((service.replace("secrets-manager", "secretsmanager"), operation))

    def step(params: dict[str, Any], event_name: str, **_: Any) -> None:
        if event_name.split(".")[-1] in ("PutObject", "CreateStack", "UpdateStack"):
            made.steps.append(params.get("Key") or params["StackName"])

    boto3.setup_default_session()
    events = boto3.DEFAULT_SESSION.events
    events.register("before-send", record)
    events.register("provide-client-params", step)
    try:
        yield made
    finally:
        events.unregister("before-send", record)
        events.unregister("provide-client-params", step)
        boto3.DEFAULT_SESSION = None


class Mwaa:
    """What the local AWS lacks, put into a session's clients: the environment of a stack, as that stack asks for it.

    `statuses` are answered one after the other, and the last one for good. `puts` has how many objects had been
    uploaded each time that somebody asked; `more` are further fields of the environment, or other values.
    """

    def __init__(self, daemon: Daemon, here: Session, project: str, statuses: list[str], **more: Any) -> None:
        self.daemon, self.here, self.project, self.statuses, self.more = daemon, here, project, statuses, more
        self.puts: list[int] = []
        events = boto3.DEFAULT_SESSION.events
        events.register_first("before-call.mwaa.GetEnvironment", self._environment)
        events.register("after-call.cloudformation.ListStackResources", self._resources)

    def _environment(self, **_: Any) -> tuple[AWSResponse, dict[str, Any]]:
        self.puts.append(len([name for _, name in self.here.calls if name == "PutObject"]))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        stack = self.daemon.client("cloudformation").describe_stacks(StackName=f"{self.project}-mwaa")["Stacks"][0]
        given = {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}
        package = {field: given[parameter] for field, parameter in PACKAGE.items()}
        environment = {"Name": self.project, "Status": status, "WebserverUrl": "ui.example.org", **package}
        return AWSResponse("", 200, {}, None), {"Environment": {**environment, **self.more}}

    def _resources(self, parsed: dict[str, Any], **_: Any) -> None:
        listed = parsed["StackResourceSummaries"]
        if any(each["LogicalResourceId"] == "ExecutionPolicy" for each in listed):
            listed.append({"LogicalResourceId": "Environment", "PhysicalResourceId": self.project})
