"""`make deploy` with DRY_RUN: what it says is what a deployment then does, and nothing is left of it."""

from __future__ import annotations

import re
import shutil
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from tests.tools.conftest import commit
from tests.tools.deployments import ACCOUNT, Mwaa, session, settings
from tools.cloudformation import InfrastructureError, Stack, Waiting
from tools.deployment import change_set
from tools.deployment.deploy import Deployment
from tools.deployment.preview import Preview

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed, and a package needs it")


def look(daemon: Any, asked: Any, root: Any, *, change_sets: bool = False) -> Any:
    with session(daemon, change_set.WRITES if change_sets else ()) as here:
        Preview(here.account, asked, change_sets=change_sets).run(root)
    return here


def deploy(daemon: Any, asked: Any, root: Any) -> Any:
    with session(daemon) as here, pytest.raises(InfrastructureError, match=r"^This AWS has no Amazon MWAA"):
        Deployment(here.account, asked, poll_seconds=0).run(root)
    return here


def stacks(daemon: Any) -> dict[str, str]:
    described = daemon.client("cloudformation").describe_stacks()["Stacks"]
    return {each["StackName"]: each["StackStatus"] for each in described}


def line(here: Any, beginning: str) -> str:
    (found,) = [each for each in here.said if each.startswith(beginning)]
    return found


def test_of_an_empty_account_it_says_what_is_made_and_what_is_unknown(account, sources, packed):
    asked = settings(account, "dry", network="new")
    here = look(account, asked, sources)
    assert here.writes == []
    assert ("s3", "HeadObject") in here.calls
    assert "dry" not in " ".join(stacks(account))
    made = line(here, "The stack dry: would be created: ")
    assert "SshCidr '127.0.0.1/32'" in made
    assert "VpcId unknown until the network is made" in made
    assert "OldRunDays" not in made, "a parameter at its default"
    mwaa = line(here, "The stack dry-mwaa: would be created: ")
    assert "PluginsVersion unknown until it is uploaded" in mwaa
    assert "SubnetIds unknown until the network is made" in mwaa
    assert "vpc-0000" not in " ".join(here.said)
    assert line(here, "Plugins: would be uploaded, as mwaa/plugins/").endswith("/plugins.zip")
    assert line(here, "The environment dry:").endswith("is not there; the address of its UI is unknown")
    assert "unknown, it follows from what the stack dry gives then" in line(here, "The Variable musher")
    files = len([name for name in packed.files if name.startswith("dags/")]) - 1  # the ignore file goes before
    assert line(here, "DAGs").endswith(f": {files} files would be uploaded, 0 removed")
    assert here.said[-1].startswith("Unknown: which resources an update changes or replaces (DRY_RUN=changeset asks")


def test_of_what_is_deployed_it_says_that_there_is_nothing_to_change(account, sources):
    asked = settings(account, "same")
    deploy(account, asked, sources)
    here = look(account, asked, sources)
    assert here.writes == []
    assert [each for each in here.said if "nothing to change" in each] == [
        "The stack same: nothing to change",
        "The stack same-mwaa: nothing to change",
        "The Variable musher (same/variables/musher): nothing to change",
    ]
    assert "would be uploaded, as" not in " ".join(here.said)
    assert line(here, "DAGs").endswith(": 0 files would be uploaded, 0 removed")


def test_of_what_has_changed_it_says_what_a_deployment_then_changes(account, checkout):
    asked = settings(account, "changed")
    deploy(account, asked, checkout)
    (checkout / "dags" / "remove_deployment.py").unlink()
    with (checkout / "plugins/musher/names.py").open("a") as file:
        file.write("# another\n")
    commit(checkout)
    other = settings(account, "changed", musher={"SshCidr": "127.0.0.1/32", "SshPort": 2222})
    here = look(account, other, checkout)
    assert here.writes == []
    assert line(here, "The stack changed:") == "The stack changed: would be updated: SshPort is '22', to be '2222'"
    mwaa = line(here, "The stack changed-mwaa: would be updated: PluginsPath is 'mwaa/plugins/")
    assert re.search("PluginsVersion is '[^']+', to be unknown until it is uploaded$", mwaa)
    assert line(here, "DAGs").endswith(": 0 files would be uploaded, 1 removed")
    # AND the deployment does this
    wet = deploy(account, other, checkout)
    assert wet.writes == [
        "cloudformation UpdateStack",
        "s3 PutObject",  # the plugins
        "cloudformation UpdateStack",
        "secretsmanager PutSecretValue",
        "s3 DeleteObjects",
        "s3 PutObject",  # the manifest
    ]


def test_an_environment_that_is_there_is_looked_at(account, sources):
    asked = settings(account, "there")
    deploy(account, asked, sources)
    for status, end in (
        ("AVAILABLE", "is AVAILABLE; its UI is https://ui.example.org"),
        ("UPDATING", "is UPDATING; a deployment waits for the end of that"),
    ):
        with session(account, ()) as here:
            Mwaa(account, here, "there", [status])
            Preview(here.account, asked).run(sources)
        assert line(here, "The environment there:") == f"The environment there: {end}"


def test_what_a_deployment_would_refuse_is_refused(account, sources):
    right = settings(account, "refused").network
    asked = settings(account, "refused", network={"VpcId": "vpc-0a1b", "SubnetIds": list(right.subnets)})
    with pytest.raises(InfrastructureError, match="not in vpc-0a1b"):
        look(account, asked, sources)
    other = settings(account, "refused", account="111122223333")
    with pytest.raises(InfrastructureError, match=f"of the account {ACCOUNT}"):
        look(account, other, sources)


@pytest.mark.parametrize("writes", [(), change_set.WRITES])
def test_nothing_passes_that_it_is_not_made_for(account, writes):
    with session(account, writes) as here:
        for service, operation, given in (
            ("ec2", "terminate_instances", {"InstanceIds": ["i-0a1b2c3d"]}),
            ("cloudformation", "execute_change_set", {"ChangeSetName": "a", "StackName": "b"}),
            ("s3", "put_object", {"Bucket": "a", "Key": "b"}),
        ):
            with pytest.raises(InfrastructureError, match=rf"^A dry run would have sent {service} \w+: nothing was"):
                getattr(here.account.client(service), operation)(**given)
        here.account.client("ec2").describe_vpcs()
    assert here.calls == [("ec2", "DescribeVpcs")]


def test_change_sets_are_shown_and_removed(account, sources):
    asked = settings(account, "sets")
    before = stacks(account)
    # GIVEN an account without the project
    here = look(account, asked, sources, change_sets=True)
    # THEN CloudFormation was asked about both stacks, and nothing is left of it
    assert "  adds Bucket (AWS::S3::Bucket)" in here.said
    assert "  adds Environment (AWS::MWAA::Environment)" in here.said
    assert sorted(set(here.writes)) == [f"cloudformation {each}" for each in sorted(change_set.WRITES)]
    assert len(here.writes) == 6
    assert stacks(account) == before
    assert not [each for each in account.client("s3").list_buckets()["Buckets"] if "sets" in each["Name"]]
    # WHEN it is deployed and a parameter changes
    deploy(account, asked, sources)
    other = settings(account, "sets", musher={"SshCidr": "127.0.0.1/32", "SshPort": 2222})
    changed = look(account, other, sources, change_sets=True)
    # THEN the stack is asked about and stays as it was
    assert changed.writes == ["cloudformation CreateChangeSet", "cloudformation DeleteChangeSet"]
    at = changed.said.index("The stack sets: would be updated: SshPort is '22', to be '2222'")
    assert changed.said[at + 1].startswith("  changes ")
    cloudformation = account.client("cloudformation")
    assert stacks(account)["sets"] == "CREATE_COMPLETE"
    assert cloudformation.list_change_sets(StackName="sets")["Summaries"] == []
    assert look(account, asked, sources, change_sets=True).writes == []


def test_of_a_network_that_is_not_there_cloudformation_is_not_asked(account, sources):
    here = look(account, settings(account, "netless", network="new"), sources, change_sets=True)
    assert "  adds Vpc (AWS::EC2::VPC)" in here.said
    at = here.said.index(line(here, "The stack netless: would be created"))
    assert here.said[at + 1] == "  unknown: CloudFormation can be asked when the network is there"
    assert len(here.writes) == 3


KEYS = {"region_name": "us-east-1", "aws_access_key_id": "AKIATESTTESTTESTTEST", "aws_secret_access_key": "x"}
MADE = {"Id": "arn:aws:cloudformation:us-east-1:111122223333:changeSet/a/1", "StackId": "arn:stack"}
NAMES = {"ChangeSetName": MADE["Id"], "StackName": MADE["StackId"]}


def answered(*descriptions: dict[str, Any]) -> tuple[Stack, Stubber]:
    """A stack whose change set is described like this, one time after the other; and it has to be removed."""
    stub = Stubber(boto3.client("cloudformation", **KEYS))
    stub.add_response("create_change_set", MADE)
    for each in descriptions:
        stub.add_response("describe_change_set", each, NAMES)
    stub.add_response("delete_change_set", {}, NAMES)
    described = {"StackName": "musher", "CreationTime": 0, "StackStatus": "UPDATE_COMPLETE"}
    stub.add_response("describe_stacks", {"Stacks": [described]})
    stub.activate()
    return Stack(lambda service: stub.client, "musher", Waiting(poll_seconds=0)), stub


def change(action: str, name: str, kind: str, **more: str) -> dict[str, Any]:
    return {"ResourceChange": {"Action": action, "LogicalResourceId": name, "ResourceType": kind, **more}}


def test_what_a_change_replaces_is_said():
    """Answers as CloudFormation's API reference has them, DescribeChangeSet and ResourceChange."""
    found = [
        change("Modify", "Bucket", "AWS::S3::Bucket", Replacement="False"),
        change("Modify", "Group", "AWS::EC2::SecurityGroup", Replacement="True"),
        change("Modify", "Environment", "AWS::MWAA::Environment", Replacement="Conditional"),
        change("Remove", "Budget", "AWS::Budgets::Budget"),
    ]
    stack, stub = answered({"Status": "CREATE_IN_PROGRESS"}, *[{"Status": "CREATE_COMPLETE", "Changes": found}] * 2)
    assert change_set.changes(stack, "update", "body", {}, "musher") == [
        "changes Bucket (AWS::S3::Bucket)",
        "changes Group (AWS::EC2::SecurityGroup), by making another one in its place",
        "changes Environment (AWS::MWAA::Environment), perhaps by another one in its place",
        "removes Budget (AWS::Budgets::Budget)",
    ]
    stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    "reason",
    [
        "The submitted information didn't contain changes. Submit different information to create a change set.",
        "No updates are to be performed.",
    ],
)
def test_a_change_set_with_nothing_in_it_changes_nothing(reason):
    stack, stub = answered({"Status": "FAILED", "StatusReason": reason})
    assert change_set.changes(stack, "update", "body", {}, "musher") == []
    stub.assert_no_pending_responses()


def test_what_cloudformation_does_not_take_is_said_and_the_change_set_removed():
    stack, stub = answered({"Status": "FAILED", "StatusReason": "Parameter VpcId is not a VPC."})
    with pytest.raises(InfrastructureError) as failed:
        change_set.changes(stack, "update", "body", {}, "musher")
    assert str(failed.value) == "CloudFormation would not update the stack musher: Parameter VpcId is not a VPC."
    stub.assert_no_pending_responses()


def test_a_change_set_that_is_not_made_is_said():
    stub = Stubber(boto3.client("cloudformation", **KEYS))
    stub.add_client_error("create_change_set", "ValidationError", "Template format error")
    stack = Stack(lambda service: stub.client, "musher")
    with stub, pytest.raises(InfrastructureError) as failed:
        change_set.changes(stack, "create", "body", {}, "musher")
    assert str(failed.value) == (
        "CloudFormation would not create the stack musher: Template format error (ValidationError)"
    )
