"""`make deploy` against the local AWS, which has everything that it needs but Amazon MWAA."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from musher.config import Environment as Variable

from tests.tools.conftest import commit
from tests.tools.deployments import ACCOUNT, Mwaa, session, settings
from tools import infrastructure, package
from tools.cloudformation import InfrastructureError
from tools.deployment import __main__ as command
from tools.deployment import upload
from tools.deployment.deploy import Deployment
from tools.deployment.destroy import Removal
from tools.deployment.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
NO_MWAA = "This AWS has no Amazon MWAA: everything else is deployed, and there is no Airflow and no UI."

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed, and a package needs it")


def deploy(daemon: Any, asked: Any, root: Path) -> Any:
    """Deploy as far as the local AWS reaches; the session that did."""
    with session(daemon) as here:
        with pytest.raises(InfrastructureError) as ended:
            Deployment(here.account, asked, poll_seconds=0).run(root)
        assert str(ended.value).startswith(NO_MWAA)
    return here


def objects(daemon: Any, bucket: str) -> dict[str, bytes]:
    s3 = daemon.client("s3")
    listed = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {each["Key"]: s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in listed}


def test_everything_but_mwaa_is_deployed(account, sources, packed):
    asked = settings(account, "whole")
    here = deploy(account, asked, sources)
    # The stacks, and what of them this CloudFormation left out, in so many words.
    assert "The stack whole: deployed" in here.said
    assert [line.partition(":")[0] for line in here.said if "support" in line] == [
        "AWS's support of the image pytorch-inference"
    ]
    assert [line for line in here.said if line.startswith("Not made")] == [
        "Not made by this CloudFormation: Environment (AWS::MWAA::Environment)",
    ]
    roles = account.client("iam").list_attached_role_policies(RoleName="whole-airflow")["AttachedPolicies"]
    assert len([each for each in roles if each["PolicyName"].startswith("whole-mwaa-ExecutionPolicy-")]) == 1
    assert len([each for each in roles if each["PolicyName"].startswith("whole-airflow-")]) == 8
    assert len(roles) == 9
    # The Variable, as the DAGs read it.
    secret = account.client("secretsmanager").get_secret_value(SecretId="whole/variables/musher")["SecretString"]
    env = Variable.from_params({**json.loads(secret), "kind": "local"})
    assert (env.project, env.bucket) == ("whole", f"whole-{ACCOUNT}")
    # The package: the folder of the DAGs is the package's, to the byte.
    there = objects(account, asked.bucket)
    dags = {f"mwaa/{name}": content for name, content in packed.files.items() if name.startswith("dags/")}
    assert {key: content for key, content in there.items() if key.startswith("mwaa/dags/")} == dags
    (plugins,) = [key for key in there if key.endswith("plugins.zip")]
    assert there[plugins] == packed.files["plugins.zip"]
    assert json.loads(there["mwaa/manifest.json"])["commit"] == packed.manifest["commit"]
    parameters = account.client("cloudformation").describe_stacks(StackName="whole-mwaa")["Stacks"][0]["Parameters"]
    values = {each["ParameterKey"]: each["ParameterValue"] for each in parameters}
    assert values["PluginsPath"] == plugins
    version = account.client("s3").head_object(Bucket=asked.bucket, Key=plugins)["VersionId"]
    assert values["PluginsVersion"] == version
    assert values["AirflowVersion"] == packed.manifest["airflow"]


def test_with_an_environment_its_update_is_waited_for_and_its_address_printed(account, checkout):
    asked = settings(account, "served")
    with session(account) as here:
        mwaa = Mwaa(account, here, "served", ["AVAILABLE"])
        assert Deployment(here.account, asked, poll_seconds=0).run(checkout) == "https://ui.example.org"
        made = len([name for _, name in here.calls if name == "PutObject"])
        # Before the environment ran there were the ignore file, the plugins and the requirements.
        assert mwaa.puts == [3]
        assert made > 20
    # WHEN somebody else updates the environment while plugins and a DAG have changed
    for changed in ("plugins/musher/names.py", "dags/remove_deployment.py"):
        with (checkout / changed).open("a") as file:
            file.write("# another\n")
    commit(checkout)
    with session(account) as here:
        mwaa = Mwaa(account, here, "served", ["MAINTENANCE", "UPDATING", "AVAILABLE", "UPDATING", "AVAILABLE"])
        assert Deployment(here.account, asked, poll_seconds=0).run(checkout) == "https://ui.example.org"
        # THEN that is waited for, then its own update, and the DAG and the manifest come after it
        assert mwaa.statuses == ["AVAILABLE"]
        assert mwaa.puts == [1, 1, 1, 1, 1]
        assert here.writes == ["s3 PutObject", "cloudformation UpdateStack", "s3 PutObject", "s3 PutObject"]
    with session(account) as here:
        Mwaa(account, here, "served", ["AVAILABLE"])
        assert Deployment(here.account, asked, poll_seconds=0).run(checkout) == "https://ui.example.org"
        assert here.writes == []


def test_a_second_deployment_writes_nothing(account, sources):
    asked = settings(account, "twice")
    assert deploy(account, asked, sources).writes
    again = deploy(account, asked, sources)
    assert again.writes == []
    assert again.calls, "the record is empty: it would show no write either"
    assert "The stack twice-mwaa: nothing to change" in again.said


def test_dags_come_after_the_environment_and_after_what_they_read(account, sources):
    asked = settings(account, "ordered")
    with session(account) as here:
        mwaa = Mwaa(account, here, "ordered", ["AVAILABLE"])
        Deployment(here.account, asked, poll_seconds=0).run(sources)
    order = {name: at for at, name in enumerate(here.steps)}
    puts = [name for name in here.steps if name.startswith("mwaa/")]
    running = order[puts[max(mwaa.puts)]]  # the first object that was sent when the environment ran
    dags = [order[key] for key in order if key.startswith("mwaa/dags/") and key.endswith(".py") and key.count("/") == 2]
    assert dags, "there are no DAGs"
    assert order["mwaa/dags/.airflowignore"] < order["ordered-mwaa"] < running <= min(dags)
    assert order["mwaa/dags/ml_scripts/train.py"] < min(dags)
    assert max(order.values()) == order["mwaa/manifest.json"]


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        (
            {"PluginsS3ObjectVersion": "old", "LastUpdate": {"Error": {"ErrorCode": "E", "ErrorMessage": "no pip"}}},
            r"runs another package, with PluginsS3ObjectVersion 'old' where '[^']+' was asked for: no pip \(E\)",
        ),
        ({"Status": "UPDATE_FAILED"}, "The environment failed is UPDATE_FAILED; its DAGs are as they were"),
    ],
)
def test_an_environment_that_does_not_run_the_plugins_gets_no_dags(account, sources, environment, sentence):
    with session(account) as here:
        Mwaa(account, here, "failed", ["AVAILABLE"], **environment)
        with pytest.raises(InfrastructureError) as ended:
            Deployment(here.account, settings(account, "failed"), poll_seconds=0).run(sources)
    assert re.search(sentence, str(ended.value))
    assert not [step for step in here.steps if step.startswith("mwaa/dags/") and step.endswith(".py")]


def test_a_file_that_s3_keeps_is_named(packed):
    s3 = boto3.client(
        "s3", region_name="us-east-1", aws_access_key_id="AKIATESTTESTTESTTEST", aws_secret_access_key="x"
    )
    refused = {"Errors": [{"Key": "mwaa/dags/old.py", "Code": "AccessDenied", "Message": "Access Denied"}]}
    tags = {f"mwaa/{name}": hashlib.md5(content).hexdigest() for name, content in packed.files.items()}
    there = [{"Key": key, "ETag": f'"{tag}"'} for key, tag in {**tags, "mwaa/dags/old.py": "0"}.items()]
    with Stubber(s3) as stub:
        stub.add_response("list_objects_v2", {"Contents": [each for each in there if "/dags/" in each["Key"]]})
        stub.add_response("delete_objects", refused)
        with pytest.raises(InfrastructureError) as failed:
            upload.put_dags(s3, "musher-111122223333", packed)
        stub.assert_no_pending_responses()
    assert str(failed.value) == "mwaa/dags/old.py cannot be removed: Access Denied (AccessDenied)."


def test_a_deployment_that_was_broken_off_is_taken_up(account, sources, monkeypatch):
    asked = settings(account, "broken")
    with monkeypatch.context() as broken:
        broken.setattr(upload, "put_dags", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with session(account) as here, pytest.raises(KeyboardInterrupt):
            Deployment(here.account, asked, poll_seconds=0).run(sources)
    again = deploy(account, asked, sources)
    assert not [each for each in again.writes if each.startswith("cloudformation")]
    assert "s3 PutObject" in again.writes


def test_another_account_is_refused_before_anything_else(account, sources):
    asked = settings(account, "guarded", account="111122223333")
    for action in (Deployment, lambda *given: Removal(*given, confirmed=lambda bucket: True)):
        with session(account) as here, pytest.raises(InfrastructureError) as refused:
            action(here.account, asked).run()
        assert str(refused.value).startswith(
            "These credentials are of the account 123456789012, and the settings are for"
        )
        assert here.calls == [("sts", "GetCallerIdentity")]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda vpc, subnets: {"VpcId": "vpc-0a1b", "SubnetIds": subnets}, " is in vpc-"),
        (lambda vpc, subnets: {"VpcId": vpc, "SubnetIds": [subnets[0], "subnet-0a1b"]}, "The subnets cannot be looked"),
    ],
)  # fmt: skip
def test_subnets_that_mwaa_would_not_take_are_refused_before_anything_is_made(account, sources, change, sentence):
    right = settings(account, "subnets").network
    asked = settings(account, "subnets", network=change(right.vpc, list(right.subnets)))
    with session(account) as here, pytest.raises(InfrastructureError) as refused:
        Deployment(here.account, asked).run(sources)
    assert sentence in str(refused.value)
    assert here.writes == []


def test_two_subnets_of_one_zone_are_refused(account, sources):
    ec2 = account.client("ec2")
    right = settings(account, "zone").network
    (first,) = ec2.describe_subnets(SubnetIds=[right.subnets[0]])["Subnets"]
    there = ec2.describe_vpcs(VpcIds=[right.vpc])["Vpcs"][0]["CidrBlock"].split(".")
    block = f"{there[0]}.{there[1]}.250.0/24"
    twin = ec2.create_subnet(VpcId=right.vpc, CidrBlock=block, AvailabilityZone=first["AvailabilityZone"])
    name = twin["Subnet"]["SubnetId"]
    try:
        asked = settings(account, "zone", network={"VpcId": right.vpc, "SubnetIds": [right.subnets[0], name]})
        with session(account) as here, pytest.raises(InfrastructureError, match="two private subnets in two zones"):
            Deployment(here.account, asked).run(sources)
        assert here.writes == []
    finally:
        ec2.delete_subnet(SubnetId=name)


def run(daemon: Any, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {
        "AWS_ENDPOINT_URL": daemon.url, "AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true",
        "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"),
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "tools.deployment", *arguments], capture_output=True, text=True, cwd=ROOT,
        env={name: value for name, value in {**given, **environment}.items() if value}, stdin=subprocess.DEVNULL,
        timeout=240,
    )  # fmt: skip


@pytest.mark.parametrize("verb", ["deploy", "destroy"])
@pytest.mark.parametrize(
    ("name", "environment", "sentence"),
    [
        ("", {}, "Say which environment: ENV="),
        ("nowhere", {}, "The settings infra/environments/nowhere.yaml cannot be read"),
        ("example", {}, "These credentials are of the account 123456789012, and the settings are for 111122223333"),
        ("example", {"AWS_ACCESS_KEY_ID": ""}, "AWS cannot be asked whose credentials these are: "),
    ],
)
def test_a_wrong_command_ends_with_one_sentence(account, verb, name, environment, sentence):
    ended = run(account, verb, name, **environment)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"{verb}: {sentence}")
    assert len(ended.stderr.splitlines()) == 1


@pytest.fixture
def here(monkeypatch, account, sources):
    """The command line in this process, on the packed sources, with the local AWS as its AWS."""
    monkeypatch.setattr(package, "ROOT", sources)
    monkeypatch.setenv("AWS_ENDPOINT_URL", account.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTTESTTESTTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    yield
    boto3.DEFAULT_SESSION = None


def test_the_command_line(account, here, tmp_path, capsys):
    asked = settings(account, "typed").network
    file = tmp_path / "typed.yaml"
    file.write_text(json.dumps({
        "account": ACCOUNT, "region": "us-east-1", "project": "typed", "musher": {"SshCidr": "127.0.0.1/32"},
        "network": {"VpcId": asked.vpc, "SubnetIds": list(asked.subnets)},
    }))  # fmt: skip
    assert command.main(["deploy", str(file), "--dry-run", "1"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "deploy: A dry run: nothing was changed."
    assert command.main(["deploy", str(file), "--dry-run", "changeset"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "deploy: A dry run: nothing was changed, and no change set is left."
    assert command.main(["deploy", str(file)]) == 1
    ended = capsys.readouterr()
    assert ended.err.startswith(f"deploy: {NO_MWAA}")
    assert ended.out.splitlines()[0].startswith("deploy: typed: project typed in 123456789012, us-east-1, as arn:aws:")
    assert command.main(["destroy", str(file), "--dry-run", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "destroy: A dry run: nothing was changed."
    assert command.main(["destroy", str(file), "--confirm", f"typed-{ACCOUNT}"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "destroy: No stack of the project is left."


@pytest.mark.parametrize(
    ("verb", "how", "sentence"),
    [
        ("deploy", "yes", "DRY_RUN is 'yes'; it has to be 1 (look only), or changeset, or be left out."),
        (
            "destroy",
            "changeset",
            "CloudFormation has no change sets for what is deleted: DRY_RUN=1 says what goes.",
        ),
    ],
)
def test_a_dry_run_of_no_known_kind_is_refused_and_does_nothing(verb, how, sentence, capsys):
    assert command.main([verb, "example", "--dry-run", how]) == 1
    ended = capsys.readouterr()
    assert (ended.out, ended.err) == ("", f"{verb}: {sentence}\n")


@pytest.mark.parametrize("how", ["1", "changeset", ""])
@pytest.mark.parametrize("target", ["deploy", "destroy"])
def test_make_hands_its_variables_over(target, how):
    asked = ["make", "-n", target, "ENV=production", f"DRY_RUN={how}", "CONFIRM=musher-111122223333"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f'tools.deployment {target} "production" --dry-run "{how}"' in done.stdout
    assert ('--confirm "musher-111122223333"' in done.stdout) is (target == "destroy")


@pytest.mark.aws
@pytest.mark.skipif(
    os.environ.get("MUSHER_TEST_AWS") != "1" or not os.environ.get("MUSHER_TEST_ENV"),
    reason="makes and removes an environment in an account, about an hour and its costs: set MUSHER_TEST_AWS=1 and "
    "MUSHER_TEST_ENV=<a name in infra/environments/, of a project that is not there>",
)
@pytest.mark.timeout(3 * 3600)
def test_an_account_gets_an_environment_and_loses_it_again(capsys):
    name = os.environ["MUSHER_TEST_ENV"]
    asked = load_settings(name)
    client = lambda service: boto3.client(service, region_name=asked.region)  # noqa: E731
    with pytest.raises(InfrastructureError, match="There is no stack"):
        infrastructure.outputs(client, asked.project)
    try:
        assert command.main(["deploy", name]) == 0
        assert "Airflow's UI: https://" in capsys.readouterr().out
        assert command.main(["deploy", name, "--dry-run", "changeset"]) == 0
        assert "would be" not in capsys.readouterr().out.replace("0 files would be uploaded", "")
    finally:
        assert command.main(["destroy", name, "--confirm", asked.bucket]) == 0
    with pytest.raises(InfrastructureError, match="There is no stack"):
        infrastructure.outputs(client, asked.project)
