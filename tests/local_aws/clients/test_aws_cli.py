"""The AWS CLI: what its commands print is as AWS has it. `make test-clients` runs all of them."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import zipfile
from pathlib import Path

import pytest

from tests.local_aws.clients.transcript import Shell, commands
from tests.local_aws.daemon import make_role
from tests.local_aws.serving import IMAGE, archive
from tests.local_aws.training_scripts import Jobs

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv-aws-cli/bin/python"
FOLDER = Path(__file__).with_name("aws_cli")
TRANSCRIPTS = sorted(FOLDER.glob("*.txt"))
BUCKET = "cli-files"
FUNCTION = """
def handler(event, context):
    if event.get("raise"):
        raise ValueError("no such dog")
    return {"hello": event.get("name"), "version": context.function_version}
"""
STACK = {
    "Description": "A kennel.",
    "Parameters": {"Name": {"Type": "String", "Default": "kennel"}},
    "Resources": {"Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": {"Ref": "Name"}}}},
    "Outputs": {"Bucket": {"Value": {"Ref": "Bucket"}}},
}

# In `make test`, which has no time for all of them.
SAMPLE = {"s3"}
ALL = bool(os.environ.get("MUSHER_ALL_COMMANDS"))

pytestmark = [pytest.mark.skipif(not PYTHON.exists(), reason="`make test` and `make test-clients` make .venv-aws-cli")]


@pytest.fixture(scope="module")
def shell(local_aws, tmp_path_factory, wait_for):
    """Where the transcripts run: the files that they name, and the CLI's configuration."""
    folder = tmp_path_factory.mktemp("shell")
    role = make_role(local_aws, "cli")
    local_aws.client("s3").create_bucket(Bucket=BUCKET)
    local_aws.client("s3").put_object(Bucket=BUCKET, Key="model.tar.gz", Body=archive())
    _write_files(folder, Jobs(local_aws, BUCKET, role, wait_for))
    environment = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ} | {
        "HOME": str(folder), "AWS_ENDPOINT_URL": local_aws.url, "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_OUTPUT": "text",
        "AWS_MAX_ATTEMPTS": "1", "AWS_PAGER": "", "LANG": "C.UTF-8",
    }  # fmt: skip
    shell = Shell(PYTHON, folder, environment)
    now = dt.datetime.now(dt.UTC)
    shell.kept |= {
        "role": role, "image": IMAGE, "hour_ago": f"{now - dt.timedelta(hours=1):%FT%TZ}",
        "soon": f"{now + dt.timedelta(hours=1):%FT%TZ}", "now_ms": str(int(now.timestamp() * 1000)),
    }  # fmt: skip
    yield shell
    shell.close()


def _write_files(folder: Path, jobs: Jobs) -> None:
    (folder / "folder/deep").mkdir(parents=True)
    for name, text in (
        ("greeting.txt", "Hello, kennel!\n"),
        ("folder/a.txt", "an a\n"),
        ("folder/deep/b.txt", "a b\n"),
    ):
        (folder / name).write_text(text)
    (folder / "large.bin").write_bytes(os.urandom(2**20) * 20)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        zipped.writestr("app.py", FUNCTION)
    (folder / "function.zip").write_bytes(buffer.getvalue())
    (folder / "stack.json").write_text(json.dumps(STACK))
    job = jobs.request("succeed")
    (folder / "training-job.json").write_text(json.dumps(job))
    ranges = {"ContinuousParameterRanges": [{"Name": "rate", "MinValue": "0.1", "MaxValue": "0.9"}]}
    tuning = {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random", "ParameterRanges": ranges,
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "score"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
        },
        "TrainingJobDefinition": jobs.definition() | {"StaticHyperParameters": jobs.script(mode="trial")},
    }  # fmt: skip
    (folder / "tuning-job.json").write_text(json.dumps(tuning))


@pytest.mark.parametrize("name", [path.stem for path in TRANSCRIPTS if ALL or path.stem in SAMPLE])
def test_commands_print_what_they_do_on_aws(shell, name):
    found = list(commands((FOLDER / f"{name}.txt").read_text()))
    failures = [failure for each in found if (failure := shell.failure(each))]
    assert not failures, f"\n{len(failures)} of {len(found)} commands failed\n" + "\n".join(failures)


@pytest.mark.parametrize(
    "command",
    [
        "aws s3 ls s3://cli-nowhere\n! NoSuchBucket: The bucket is full",
        "aws s3 ls s3://cli-nowhere\n! NoSuchKey",
        "aws s3 ls s3://cli-nowhere",
        "aws sts get-caller-identity --query Account\n123",
        "aws sts get-caller-identity --query Account\n! AccessDenied",
        "cat greeting.txt\nHello, cat!",
    ],
)
def test_a_command_that_prints_something_else_fails(shell, command):
    (found,) = commands(f"$ {command}")
    assert "line 1: " in shell.failure(found)
