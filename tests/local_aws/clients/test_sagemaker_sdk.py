"""SageMaker's Python SDK 2, for a user who has AmazonSageMakerFullAccess. `make test-clients` makes its environment."""

import json
import os
import subprocess

import pytest

from tests.local_aws.daemon import ROOT
from tests.local_aws.iam_callers import document

PYTHON = ROOT / ".venv-sagemaker-2/bin/python"
SCRIPT = ROOT / "tests/local_aws/clients/sagemaker_2.py"
FULL_ACCESS = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"
BUCKET = "sagemaker-sdk"  # the policy allows those with SageMaker in their names; the SDK makes it
SETTINGS = "{SchemaVersion: '1.0', SageMaker: {PythonSDK: {Modules: {TelemetryOptOut: true}}}}"

pytestmark = [
    pytest.mark.skipif(not PYTHON.exists(), reason="`make test-clients` makes .venv-sagemaker-2"),
    pytest.mark.skipif(not os.environ.get("MUSHER_ALL_COMMANDS"), reason="`make test` has no time for it"),
    pytest.mark.timeout(300),
]


@pytest.fixture
def user(local_aws):
    """The access key of a user, and the role that it hands to SageMaker; both have SageMaker's policy alone."""
    iam = local_aws.client("iam")
    iam.create_user(UserName="sdk")
    iam.attach_user_policy(UserName="sdk", PolicyArn=FULL_ACCESS)
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "sagemaker.amazonaws.com"}}
    name = "AmazonSageMaker-ExecutionRole"  # the policy allows to pass roles that are called so
    role = iam.create_role(RoleName=name, Path="/service-role/", AssumeRolePolicyDocument=document(trust))["Role"]
    iam.attach_role_policy(RoleName=name, PolicyArn=FULL_ACCESS)
    return iam.create_access_key(UserName="sdk")["AccessKey"], role["Arn"]


def test_it_trains_deploys_asks_and_deletes(local_aws, user, tmp_path):
    key, role = user
    (tmp_path / "settings.yaml").write_text(SETTINGS)
    environment = {"PATH": os.environ["PATH"]} | {
        "HOME": str(tmp_path), "AWS_ENDPOINT_URL": local_aws.url, "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true", "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(tmp_path / "settings.yaml"), "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
    }  # fmt: skip
    done = subprocess.run(
        [PYTHON, SCRIPT, role, tmp_path, BUCKET],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "status": "Completed",
        "metrics": {"loss": 0.25},
        "predicted": {"asked": {"a": 1}, "model": {"epochs": 3, "files": ["train.py"]}},
    }
    assert local_aws.client("sagemaker").list_endpoints(NameContains="pytorch")["Endpoints"] == []
