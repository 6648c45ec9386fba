"""`make doctor` against the local AWS: what is missing in one list, before anything is deployed and afterwards."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local_aws.control import tell
from tests.tools.deployments import session, settings
from tools import infrastructure
from tools.cloudformation import InfrastructureError
from tools.deployment.__main__ import main
from tools.deployment.deploy import variable_name, variable_text
from tools.deployment.doctor import examine


def examined(daemon: Any, asked: Any) -> tuple[list[str], list[str]]:
    """What it said, and the entries of the list of what is missing."""
    with session(daemon, ()) as here:
        try:
            examine(here.account, asked)
            missing = []
        except InfrastructureError as error:
            first, *missing = str(error).splitlines()
            assert first == "The account lacks what the DAGs need:"
    assert here.writes == []
    return here.said, missing


def test_of_an_empty_account_it_says_what_to_deploy_and_which_quotas_to_ask_for(account):
    tell(account.port, "quota", {"name": "ml.m5.large for endpoint usage", "value": 0})
    said, (stack, endpoints) = examined(account, settings(account, "ill"))
    tell(account.port, "quota", {"name": "ml.m5.large for endpoint usage", "value": 20})
    assert stack == ("1. There is no stack ill, with bucket, roles and network: `make deploy ENV=local` makes it.")
    assert endpoints.startswith("2. The quota 'ml.m5.large for endpoint usage' is 0, of which 0 are in use, and")
    assert "The quota 'ml.m5.xlarge for training job usage' is 20, of which 0 are in use, and 2 instances are" in str(
        said
    )
    assert not [each for each in said if each.startswith("Not known")]


def test_of_what_is_deployed_it_compares_the_variable_with_the_stack(account):
    asked = settings(account, "well")
    values = infrastructure.deploy(account.client, {"ProjectName": "well", "SshCidr": "127.0.0.1/32"})
    name, secrets = variable_name("well"), account.client("secretsmanager")
    assert examined(account, asked)[1] == [
        f"1. The secret {name} holds no Variable musher yet: `make deploy ENV=local` fills it."
    ]
    secrets.create_secret(Name=name, SecretString=variable_text(values))
    assert examined(account, asked)[1] == []

    secrets.put_secret_value(SecretId=name, SecretString=json.dumps({**values, "ec2_user": "root"}))
    assert examined(account, asked)[1] == [
        "1. Airflow Variable musher: ec2_user is 'root', and the stack has 'ubuntu': `make deploy ENV=local` brings "
        "both together."
    ]
    secrets.put_secret_value(SecretId=name, SecretString=json.dumps({**values, "regoin": "x"}))
    assert examined(account, asked)[1] == [
        "1. Airflow Variable musher: there is no field 'regoin'; did you mean region?"
    ]


def test_the_command_says_whose_settings_are_missing(capsys):
    assert main(["doctor", "nowhere"]) == 1
    assert capsys.readouterr().err.startswith("doctor: ")


@pytest.mark.parametrize("dry_run", ["1", "changeset"])
def test_it_has_no_dry_run_of_its_own(capsys, dry_run):
    assert main(["doctor", "example", "--dry-run", dry_run]) == 1
    assert capsys.readouterr().err == "doctor: make doctor only looks: leave DRY_RUN out.\n"
