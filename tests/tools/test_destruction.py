"""`make destroy` against the local AWS: what it asks before it removes anything, and that nothing is left."""

from __future__ import annotations

import io
import re
import shutil
from typing import Any

import pytest
from musher import names
from musher.costs import running
from musher.costs.running import Running

from tests.infra.conftest import left
from tests.local_aws.ec2_hosts import Hosts
from tests.tools.deployments import ACCOUNT, session, settings
from tools.cloudformation import InfrastructureError
from tools.deployment import destroy as destroy_module
from tools.deployment.deploy import Deployment
from tools.deployment.destroy import BY_HAND, Removal, ask

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed, and a package needs it")


def deployed(daemon: Any, project: str, sources: Any, **more: Any) -> Any:
    """An environment, deployed as far as the local AWS reaches."""
    asked = settings(daemon, project, **more)
    with session(daemon) as here, pytest.raises(InfrastructureError, match=r"^This AWS has no Amazon MWAA"):
        Deployment(here.account, asked, poll_seconds=0).run(sources)
    return asked


def destroy(daemon: Any, asked: Any, *, yes: bool = True) -> Any:
    with session(daemon) as here:
        Removal(here.account, asked, lambda bucket: yes, poll_seconds=0).run()
    return here


def secrets(daemon: Any, project: str) -> list[str]:
    listed = daemon.client("secretsmanager").list_secrets()["SecretList"]
    return [each["Name"] for each in listed if each["Name"].startswith(f"{project}/")]


def policies(daemon: Any, project: str) -> list[str]:
    listed = daemon.client("iam").list_policies(Scope="Local")["Policies"]
    return [each["PolicyName"] for each in listed if each["PolicyName"].startswith(f"{project}-")]


def test_nothing_of_the_project_is_left(account, sources):
    asked = deployed(account, "gone", sources)
    logs = account.client("logs")
    for group in ("airflow-gone-Task", "airflow-gone-too-Task"):  # the second is another project's
        logs.create_log_group(logGroupName=group)
    assert (len(secrets(account, "gone")), len(policies(account, "gone"))) == (
        1,
        9,
    )  # eight of Airflow's role, one of MWAA's
    here = destroy(account, asked)
    assert left(account, "gone") == ["airflow-gone-too-Task"]
    assert (secrets(account, "gone"), policies(account, "gone")) == ([], [])
    assert f"The stack gone: deleted, with all that was in gone-{ACCOUNT}" in here.said
    # AND once more there is nothing to do
    assert destroy(account, asked).writes == []
    logs.delete_log_group(logGroupName="airflow-gone-too-Task")


def test_without_a_confirmation_nothing_is_removed(account, sources):
    asked = deployed(account, "kept", sources)
    everything = left(account, "kept")
    with session(account) as here, pytest.raises(InfrastructureError) as refused:
        Removal(here.account, asked, lambda bucket: False).run()
    assert str(refused.value).startswith(f"Nothing was removed: the bucket kept-{ACCOUNT} has data sets")
    assert str(refused.value).endswith(f"say CONFIRM=kept-{ACCOUNT}.")
    assert here.writes == []
    assert left(account, "kept") == everything


def test_a_dry_run_removes_nothing_and_says_what_would_be(account, sources):
    asked = deployed(account, "looked", sources)
    logs = account.client("logs")
    logs.create_log_group(logGroupName="airflow-looked-Task")
    everything = left(account, "looked")
    with session(account, ()) as here:
        Removal(here.account, asked, lambda bucket: pytest.fail("nobody is asked")).preview()
    assert here.writes == []
    assert left(account, "looked") == everything
    # What it names is what is removed then, in that order.
    said = [line.partition(":")[0] for line in here.said[1:]]
    assert said == [
        "The stack looked-mwaa", "The stack looked", f"The bucket looked-{ACCOUNT}",
        "The secret looked/variables/musher", "The log group airflow-looked-Task",
    ]  # fmt: skip
    assert re.search(
        r"The stack looked: is CREATE_COMPLETE, would be deleted with its \d+ resources", "\n".join(here.said)
    )
    removed = destroy(account, asked)
    assert {line.partition(":")[0] for line in removed.said if line.endswith("deleted")} < set(said)
    with session(account, ()) as again:
        Removal(again.account, asked, lambda bucket: False).preview()
    assert again.said[1:] == []


def test_while_something_runs_nothing_is_removed(account, sources):
    asked = deployed(account, "busy", sources)
    hosts = Hosts(account)
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "project", "Value": "busy"}]}]
    try:
        instance = hosts.run(TagSpecifications=tags)
        hosts.wait(instance, "running", seconds=120)
        with session(account) as here, pytest.raises(InfrastructureError) as refused:
            Removal(here.account, asked, lambda bucket: True).run()
        lines = str(refused.value).splitlines()
        assert lines[0] == "Nothing was removed: this project still has"
        assert f"aws ec2 terminate-instances --instance-ids {instance}" in lines[1]
        assert lines[-1].startswith("Run the DAG remove_deployment")
        assert here.writes == []
    finally:
        hosts.ec2.terminate_instances(InstanceIds=hosts.launched)
        for each in hosts.launched:
            hosts.wait(each, "terminated", seconds=120)


def test_what_was_started_meanwhile_keeps_its_roles_and_its_bucket(account, sources, monkeypatch):
    asked = deployed(account, "meanwhile", sources)
    job = Running("training job", "meanwhile-train-one", "1 x ml.m5.xlarge")
    found = iter([[], [job]])
    monkeypatch.setattr(destroy_module, "running", lambda *_: next(found))
    with session(account) as here, pytest.raises(InfrastructureError) as refused:
        Removal(here.account, asked, lambda bucket: True, poll_seconds=0).run()
    assert str(refused.value).startswith("Only the environment was removed: this project still has\n  training job")
    assert "meanwhile-training" in left(account, "meanwhile")
    assert here.writes
    assert not [each for each in here.writes if each == "s3 DeleteObjects"]


def test_everything_that_costs_can_be_ended_by_hand():
    kinds = {running.ENDPOINT, running.FUNCTION, running.PROVISIONED, running.TRAINING_JOB, running.TUNING_JOB}
    assert BY_HAND.keys() == kinds | {running.INSTANCE, running.ALARMS}


def test_the_alarms_that_are_ended_by_hand_are_those_that_cost():
    command = BY_HAND[running.ALARMS].format(name="musher-image-classifier")
    for prefix in (names.serving_alarms, names.release_alarms, names.scaling_alarms):
        assert f"starts_with(AlarmName, '{prefix('musher-image-classifier')}')" in command


@pytest.mark.parametrize(
    ("given", "typed", "expected"),
    [
        ("musher-1", None, True),
        ("musher-2", "musher-1", False),  # a wrong CONFIRM is no slip of the keyboard: nobody is asked again
        ("", "musher-1\n", True),
        ("", " musher-1 ", True),
        ("", "yes", False),
        ("", "", False),
    ],
)
def test_only_the_name_of_the_bucket_confirms(given, typed, expected):
    assert ask("musher-1", given, lambda prompt: typed) is expected


def test_without_a_terminal_nobody_is_asked(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("musher-1\n"))
    assert ask("musher-1") is False


def test_a_network_goes_with_its_stack(account, sources):
    asked = deployed(account, "networked", sources, network="new")
    vpc = account.client("cloudformation").describe_stacks(StackName="networked-network")["Stacks"][0]["Outputs"][0]
    destroy(account, asked)
    assert vpc["OutputValue"] not in [each["VpcId"] for each in account.client("ec2").describe_vpcs()["Vpcs"]]
    assert [name for name in left(account, "networked") if name.startswith("networked")] == []
