"""The template of the environment on Amazon MWAA: AWS's own checks, least privilege, and what it shares with the rest.

MWAA itself is not in the local AWS: what no test here shows is an environment that runs.
"""

from __future__ import annotations

import copy
import json

import pytest

from tests.infra import policy_rules
from tools import infrastructure, package

PATH = infrastructure.TEMPLATE.with_name("mwaa.yaml")
TEMPLATE = infrastructure.load(PATH.read_text())
MAIN = infrastructure.load(infrastructure.TEMPLATE.read_text())
ENVIRONMENT = TEMPLATE["Resources"]["Environment"]["Properties"]


def test_every_rule_is_kept():
    assert policy_rules.broken(TEMPLATE) == []
    assert len(list(policy_rules.statements(TEMPLATE))) == 10


@pytest.mark.parametrize(
    ("sid", "change", "sentence"),
    [
        ("CheckBucket", {"Action": "s3:GetBucket*"}, "has the action s3:GetBucket*"),
        ("ReadVariable", {"Resource": "*"}, "is open (*) without a reason"),
        ("Queue", {"Resource": {"Fn::Sub": "${ProjectName}-queue"}}, "has a reason for being open, and is not"),
    ],
)
def test_a_broken_rule_is_found_in_a_managed_policy(sid, change, sentence):
    template = copy.deepcopy(TEMPLATE)
    statements = template["Resources"]["ExecutionPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    next(each for each in statements if each["Sid"] == sid).update(change)
    assert any(sentence in each for each in policy_rules.broken(template))


def test_the_policy_fits():
    """IAM quotas: a managed policy has at most 6,144 characters; an ARN in full is shorter than its template here."""
    document = TEMPLATE["Resources"]["ExecutionPolicy"]["Properties"]["PolicyDocument"]
    assert len(json.dumps(document, separators=(",", ":"))) < 6_144


def test_role_and_bucket_are_those_of_the_main_stack():
    role = MAIN["Resources"]["AirflowRole"]["Properties"]["RoleName"]["Fn::Sub"]
    bucket = MAIN["Resources"]["Bucket"]["Properties"]["BucketName"]["Fn::Sub"]
    assert TEMPLATE["Resources"]["ExecutionPolicy"]["Properties"]["Roles"] == [{"Fn::Sub": role}]
    assert ENVIRONMENT["ExecutionRoleArn"]["Fn::Sub"].endswith(f":role/{role}")
    assert ENVIRONMENT["SourceBucketArn"]["Fn::Sub"].endswith(f":::{bucket}")
    rule = MAIN["Parameters"]["ProjectName"]
    ours = TEMPLATE["Parameters"]["ProjectName"]
    assert {name: rule[name] for name in ("MaxLength", "AllowedPattern")} == {
        name: ours[name] for name in ("MaxLength", "AllowedPattern")
    }


def test_no_role_of_the_project_may_write_the_package():
    """Whoever writes plugins.zip decides what the Airflow role does."""
    writing = {"s3:PutObject", "s3:DeleteObject"}
    for each in policy_rules.statements(MAIN):
        if writing & set(each.actions):
            for arn in policy_rules.arns(each.text["Resource"]):
                assert "/mwaa/" not in arn, each.name
                assert not arn.endswith("Bucket.Arn}/*"), each.name


def test_the_airflow_is_the_one_that_the_package_is_for():
    direct = [each for _, each in package.parsed((package.ROOT / "requirements/airflow.in").read_bytes(), "airflow.in")]
    assert TEMPLATE["Parameters"]["AirflowVersion"]["Default"] == package.version_of("apache-airflow", direct)


def test_airflow_finds_its_variable_where_the_secret_is():
    from airflow.providers.amazon.aws.secrets.secrets_manager import SecretsManagerBackend

    options = ENVIRONMENT["AirflowConfigurationOptions"]
    assert options["secrets.backend"] == f"{SecretsManagerBackend.__module__}.{SecretsManagerBackend.__name__}"
    kwargs = json.loads(options["secrets.backend_kwargs"]["Fn::Sub"])
    name = TEMPLATE["Resources"]["Variable"]["Properties"]["Name"]["Fn::Sub"]
    assert SecretsManagerBackend.build_path(kwargs["variables_prefix"], "musher") == name
    assert kwargs["connections_prefix"] is None
