"""The real training script on Spot capacity that is taken back while it computes features: the work is not lost."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
import urllib.request

import pytest
from musher import request_parameters
from musher.config import Environment, TrainingConfig
from musher.names import Run
from musher.operators.training_jobs import described

from tests.local_aws.daemon import ROOT, make_role, wait_for
from tools.sample_dataset import draw

CONFIG = TrainingConfig(managed_spot=True, augment_views=14, epochs=2)
RUN = Run("train_image_classifier", "manual__2026-11-20T20:39:00+00:00")
BUCKET = "musher-bucket"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory, start_daemon):
    daemon = start_daemon(tmp_path_factory.mktemp("local_aws"))
    yield daemon
    daemon.stop()


@pytest.fixture(scope="module")
def environment(daemon, tmp_path_factory) -> Environment:
    """A bucket with pictures and the scripts; the backbone starts from random weights."""
    s3 = daemon.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    folder = tmp_path_factory.mktemp("pictures")
    draw(folder, breeds=3, train=8, valid=3, test=3)
    for path in folder.rglob("*.jpg"):
        s3.upload_file(str(path), BUCKET, f"dataset/images/{path.relative_to(folder).as_posix()}")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in (ROOT / "ml_scripts").rglob("*.py"):
            body = path.read_bytes() if path.name != "kept_features.py" else at_leisure(path.read_text()).encode()
            entry = tarfile.TarInfo(path.relative_to(ROOT / "ml_scripts").as_posix())
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    s3.put_object(Bucket=BUCKET, Key="code/scripts/sourcedir.tar.gz", Body=gzip.compress(buffer.getvalue()))
    s3.put_object(Bucket=BUCKET, Key="pretrained/none/nothing.txt", Body=b"random weights")
    role = make_role(daemon)
    return Environment(
        bucket=BUCKET,
        region="us-east-1",
        training_role_arn=role,
        endpoint_role_arn=role,
        lambda_role_arn=role,
    )


def at_leisure(script):
    """The script with more files of features, and a pause after each: a job that can be interrupted before it has
    computed all, on any machine, without minutes of computing."""
    for before, after in (
        ("LONGEST_SECONDS = 5.0", "LONGEST_SECONDS = 0.25"),
        (
            "            os.replace(partial, path)\n",
            "            os.replace(partial, path)\n            time.sleep(0.5)\n",
        ),
    ):
        assert script.count(before) == 1
        script = script.replace(before, after)
    return script


def lines(daemon, job):
    """What each start of a job's first host said."""
    logs, group = daemon.client("logs"), "/aws/sagemaker/TrainingJobs"
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{job}/algo-1-")["logStreams"]
    names = sorted(stream["logStreamName"] for stream in streams)
    return [
        "\n".join(
            event["message"]
            for event in logs.get_log_events(logGroupName=group, logStreamName=name, startFromHead=True)["events"]
        )
        for name in names
    ]


def test_an_interruption_in_the_middle_of_the_features_costs_seconds_only(daemon, environment):
    # GIVEN a job each of whose instances has put some features on S3
    sagemaker, s3 = daemon.client("sagemaker"), daemon.client("s3")
    name = "musher-train-many-0a1b2c3d"
    inputs = request_parameters.Inputs(
        dataset=environment.uri("dataset", "images", ""),
        code=environment.uri("code", "scripts", ""),
        pretrained=environment.uri("pretrained", "none", ""),
    )
    values = request_parameters.hyperparameters(CONFIG, {"lr": "0.01", "batch-size": "64"}, pretrained=False)
    request = request_parameters.training(CONFIG, environment, values, instances=2, name=name, run=RUN, inputs=inputs)
    sagemaker.create_training_job(**request)

    def kept():
        found = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"checkpoints/{name}/").get("Contents", [])
        ranks = {re.search(r"/features-train-(\d)-\d+\.safetensors$", item["Key"]) for item in found}
        return {match[1] for match in ranks if match} == {"0", "1"}

    wait_for(kept, 90)

    # WHEN its instances are taken back
    body = json.dumps({"name": name}).encode()
    with urllib.request.urlopen(f"{daemon.url}/_local_aws/interrupt", data=body, timeout=10) as answer:
        assert answer.status == 200

    # THEN it completes on others
    def ended():
        found = sagemaker.describe_training_job(TrainingJobName=name)
        return found if found["TrainingJobStatus"] != "InProgress" else None

    found = wait_for(ended, 150)
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    part = described(found)
    assert (part.managed_spot, part.interruptions) == (True, 1)
    assert 0 < part.spot_savings < 1

    # AND the second start takes what the first one computed
    first, second = lines(daemon, name)
    assert re.search(r"stopped: SIGTERM came while features were computed; \d+ views of this process are kept", first)
    views = 24 * 15 + 9 + 9
    taken = int(re.search(rf"features: (\d+) of {views} views taken from the checkpoint", second)[1])
    made = int(re.search(r"features: (\d+) views in ", second)[1])
    assert taken > 0
    assert taken + made == views
    assert "epoch=2 " in second
