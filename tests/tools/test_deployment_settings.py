"""What an environment is told: what is taken, and one sentence for what is not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from tools.cloudformation import FOLDER, checked, load
from tools.deployment import settings as module
from tools.deployment.settings import SettingsError, load_settings, settings_of

GIVEN = {
    "account": "111122223333",
    "region": "eu-central-1",
    "network": {"VpcId": "vpc-0a1b", "SubnetIds": ["subnet-0a1b", "subnet-2c3d"]},
    "musher": {"SshCidr": "10.0.0.0/16"},
}
PACKAGE = {
    "PluginsPath": "mwaa/plugins/0a1b/plugins.zip", "PluginsVersion": "3", "RequirementsPath": "mwaa/r/r.txt",
    "RequirementsVersion": "4", "AirflowVersion": "3.3.1",
}  # fmt: skip


def template(name: str) -> dict[str, Any]:
    return load((FOLDER / f"{name}.yaml").read_text())


@pytest.mark.parametrize("path", sorted(module.ENVIRONMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_environment_of_the_project_is_valid(path):
    assert load_settings(path.stem) == load_settings(str(path))


def test_the_example_makes_a_network_and_lets_its_workers_in():
    settings = load_settings("example")
    assert settings.network.is_new
    assert settings.musher_parameters("vpc-1", ("subnet-1", "subnet-2")) == {
        "ProjectName": "musher", "VpcId": "vpc-1", "SubnetId": "subnet-1", "SshCidr": "10.0.0.0/16",
        "BudgetMail": "me@example.com", "NotificationsMail": "me@example.com", "MonthlyBudgetUsd": 600,
    }  # fmt: skip


def test_every_stack_gets_parameters_that_its_template_takes():
    settings = settings_of("here", {**GIVEN, "mwaa": {"EnvironmentClass": "mw1.medium"}})
    vpc, subnets = settings.network.vpc, settings.network.subnets
    musher = checked(settings.musher_parameters(vpc, subnets), template("musher"))
    assert (musher["VpcId"], musher["SubnetId"], musher["SshCidr"]) == ("vpc-0a1b", "subnet-0a1b", "10.0.0.0/16")
    mwaa = checked(settings.mwaa_parameters(vpc, subnets, PACKAGE), template("mwaa"))
    assert (mwaa["SubnetIds"], mwaa["EnvironmentClass"]) == ("subnet-0a1b,subnet-2c3d", "mw1.medium")


def test_names_are_those_of_the_templates():
    settings = settings_of("here", GIVEN)
    bucket = template("musher")["Resources"]["Bucket"]["Properties"]["BucketName"]["Fn::Sub"]
    assert settings.bucket == bucket.replace("${ProjectName}", "musher").replace("${AWS::AccountId}", "111122223333")


def test_training_instances_may_start_elsewhere():
    other = {"SshCidr": "10.0.0.0/16", "VpcId": "vpc-9f9f", "SubnetId": "subnet-9f9f"}
    musher = settings_of("here", {**GIVEN, "musher": other}).musher_parameters("vpc-0a1b", ("subnet-0a1b",))
    assert (musher["VpcId"], musher["SubnetId"]) == ("vpc-9f9f", "subnet-9f9f")


NETWORK = GIVEN["network"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"account": None}, "The field account is missing; infra/environments/example.yaml says what it is."),
        ({"account": 111122223333}, "The field account is 111122223333; it has to be the account's 12 digits"),
        ({"account": "1111"}, "The field account is '1111'; it has to be the account's 12 digits, in quotes."),
        ({"region": "Frankfurt"}, "The field region is 'Frankfurt'; it has to be a region's name, such as eu"),
        ({"region": "eu-nowhere-1"}, "'eu-nowhere-1', where no account with AWS's images is known; it has to be one"),
        ({"network": None}, "The field network is missing"),
        ({"network": "old"}, "The field network is 'old'; it has to be `new`, or {VpcId: ..., SubnetIds: [..., ...]}."),
        ({"network": {"VpcId": "vpc-0a1b"}}, "In network: SubnetIds is None; it has to be a list of two subnets' ids."),
        ({"network": {**NETWORK, "SubnetIds": ["subnet-1", "subnet-1"]}}, "it has to be a list of two subnets' ids."),
        ({"network": {**NETWORK, "VpcId": "subnet-1"}}, "In network: VpcId is 'subnet-1'; it has to be a VPC's id"),
        ({"network": {**NETWORK, "VpcCidr": "10.0.0.0/16"}}, "and VpcCidr, which is for a new one."),
        ({"network": {"VpcCidr": "10.0.0.0/8"}}, "In network: The parameter VpcCidr is '10.0.0.0/8', and it is accept"),
        ({"network": {"VpcSidr": "10.0.0.0/8"}}, "In network: The template has no parameter VpcSidr; the nearest is"),
        ({"musher": {}}, "In musher: The parameter SshCidr is missing: The addresses of Airflow's workers"),
        ({"musher": {"SshCidr": "0.0.0.0/0"}}, "In musher: The parameter SshCidr is '0.0.0.0/0', and it is"),
        ({"musher": "SshCidr"}, "The field musher is 'SshCidr'; it has to hold parameters of infra/musher.yaml."),
        ({"musher": {"ProjectName": "a"}}, "In musher: ProjectName is filled in by the deployment: it is the"),
        ({"mwaa": {"PluginsPath": "mwaa/x"}}, "In mwaa: PluginsPath is filled in by the deployment: it is"),
        ({"mwaa": {"EnvironmentClass": "small"}}, "In mwaa: The parameter EnvironmentClass is 'small', and"),
        ({"mwaa": {"EnvironmentClass": "mw1.micro"}}, "mw1.micro has one worker and one scheduler"),
        ({"mwaa": {"Schedulers": 1}}, "Schedulers is 1, which only mw1.micro may have"),
        ({"project": "A-long-name-of-a-project"}, "The parameter ProjectName is 'A-long-name-of-a-project'"),
        ({"projekt": "musher"}, "There is no field projekt; the nearest is project."),
        ({"wait_minutes": "90 min"}, "The field wait_minutes is '90 min'; it has to be a number of minutes"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(change: dict[str, Any], sentence: str):
    with pytest.raises(SettingsError) as refused:
        settings_of("here", {**copy.deepcopy(GIVEN), **change})
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read: No such file or directory; there"),
        ("account: [", "is no YAML: while parsing"),
        ("- account", "It has to have the fields account, region and network"),
        (yaml.safe_dump({**GIVEN, "region": 3}), "here.yaml: The field region is 3;"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, content, sentence):
    path = tmp_path / "here.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError) as refused:
        load_settings(str(path))
    assert sentence in str(refused.value)
    assert "here.yaml" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_without_an_environment_the_ones_that_there_are_are_named():
    with pytest.raises(
        SettingsError, match=r"^Say which environment: ENV=<name of a file .*; there (is|are) .*example"
    ):
        load_settings("")
