"""Training jobs on one host: what a job gets, what it leaves, and every way to end."""

from __future__ import annotations

import datetime as dt
import os
import sys
import time

import psutil
import pytest
from botocore.exceptions import ClientError

from local_aws.training import container, files
from tests.local_aws.event_rules import Listening
from tests.local_aws.training_scripts import SCRIPT, Jobs, archive


@pytest.fixture(scope="module")
def jobs(local_aws, bucket, role_arn, wait_for):
    return Jobs(local_aws, bucket, role_arn, wait_for)


@pytest.fixture(scope="module")
def succeeded(jobs):
    """A job that succeeded; several tests look at it."""
    checkpoints = {"S3Uri": f"s3://{jobs.bucket}/checkpoints/one/", "LocalPath": "/opt/ml/checkpoints"}
    jobs.s3.put_object(Bucket=jobs.bucket, Key="checkpoints/one/earlier.txt", Body=b"from an earlier try")
    tags = [{"Key": "run", "Value": "7"}]
    name = jobs.start(changes={"CheckpointConfig": checkpoints, "Tags": tags})
    described = jobs.end(name)
    assert described["TrainingJobStatus"] == "Completed", described
    return described


def test_the_states_of_a_job_come_in_the_documented_order(succeeded):
    transitions = succeeded["SecondaryStatusTransitions"]
    assert [each["Status"] for each in transitions] == [
        "Starting", "Downloading", "Training", "Uploading", "Completed",
    ]  # fmt: skip
    assert all(each["StatusMessage"] and each["EndTime"] >= each["StartTime"] for each in transitions)
    assert succeeded["SecondaryStatus"] == "Completed"
    assert succeeded["CreationTime"] <= succeeded["TrainingStartTime"] <= succeeded["TrainingEndTime"]
    assert "FailureReason" not in succeeded


def test_a_job_is_billed_from_its_start_to_its_end(succeeded):
    seconds = (succeeded["TrainingEndTime"] - succeeded["TrainingStartTime"]).total_seconds()
    assert seconds <= succeeded["BillableTimeInSeconds"] <= seconds + 1
    assert succeeded["TrainingTimeInSeconds"] == succeeded["BillableTimeInSeconds"]
    assert succeeded["EnableManagedSpotTraining"] is False


def test_what_a_job_wrote_is_in_s3(jobs, succeeded):
    name = succeeded["TrainingJobName"]
    assert jobs.files(name, "model.tar.gz") == {"weights.bin": b"weights"}
    artifacts = succeeded["ModelArtifacts"]["S3ModelArtifacts"]
    assert artifacts == f"s3://{jobs.bucket}/jobs/{name}/output/model.tar.gz"
    (facts,) = jobs.facts(name)
    assert facts["seen"] == [f"bird/{number}.jpg" for number in range(4)]
    assert "--mode" in facts["argv"]
    assert facts["threads"] == "1"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="jobs are forked on Linux only")
def test_a_script_is_forked_where_that_is_the_same(jobs, succeeded):
    assert jobs.facts(succeeded["TrainingJobName"])[0]["forked"] == [True, False]
    # A module of the script's own in place of one that is imported already.
    code = archive(job=SCRIPT, six="mine = True")
    jobs.s3.put_object(Bucket=jobs.bucket, Key="code/own/sourcedir.tar.gz", Body=code)
    channels = [jobs.channel("train", "data/train/"), jobs.channel("code", "code/own/")]
    name = jobs.start(changes={"InputDataConfig": channels})
    assert jobs.end(name)["TrainingJobStatus"] == "Completed"
    assert jobs.facts(name)[0]["forked"] == [False, False]


def test_an_isolated_job_sees_no_credentials_and_another_does(jobs, succeeded):
    assert jobs.facts(succeeded["TrainingJobName"])[0]["secrets"] == []
    name = jobs.start(changes={"EnableNetworkIsolation": False})
    assert jobs.end(name)["TrainingJobStatus"] == "Completed"
    facts = jobs.facts(name)[0]
    assert facts["secrets"] == ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_ENDPOINT_URL"]
    assert facts["role"] == jobs.describe(name)["RoleArn"]


def test_checkpoints_are_restored_and_saved(jobs, succeeded):
    assert jobs.facts(succeeded["TrainingJobName"])[0]["restored"] == ["earlier.txt"]
    saved = jobs.s3.get_object(Bucket=jobs.bucket, Key="checkpoints/one/state.txt")["Body"].read()
    assert saved == b"epoch 2"


def test_metrics_are_read_from_both_streams_and_the_last_value_counts(succeeded):
    metrics = {each["MetricName"]: each["Value"] for each in succeeded["FinalMetricDataList"]}
    assert metrics == {"loss": 0.5, "accuracy": 0.75}


def test_the_log_is_in_cloudwatch(jobs, succeeded):
    lines = jobs.lines(succeeded["TrainingJobName"])
    assert lines.index("epoch=1 loss=1.0") < lines.index("epoch=2 loss=0.5")
    assert any("Reporting training SUCCESS" in line for line in lines)


def test_a_job_is_listed_and_keeps_its_tags(jobs, succeeded):
    name, arn = succeeded["TrainingJobName"], succeeded["TrainingJobArn"]
    assert jobs.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "run", "Value": "7"}]
    listed = jobs.sagemaker.list_training_jobs(NameContains=name, StatusEquals="Completed")["TrainingJobSummaries"]
    assert [each["TrainingJobArn"] for each in listed] == [arn]
    modified = succeeded["LastModifiedTime"]
    for later, found in ((0, [name]), (1, [])):  # botocore sends whole seconds
        after = {"LastModifiedTimeAfter": modified + dt.timedelta(seconds=later)}
        listed = jobs.sagemaker.list_training_jobs(NameContains=name, **after)["TrainingJobSummaries"]
        assert [each["TrainingJobName"] for each in listed] == found
    minute = dt.timedelta(minutes=1)
    for asked, found in (
        ({"CreationTimeAfter": modified + minute}, []),
        ({"CreationTimeBefore": modified + minute}, [name]),
        ({"StatusEquals": "Failed"}, []),
    ):
        listed = jobs.sagemaker.list_training_jobs(NameContains=name, **asked)["TrainingJobSummaries"]
        assert [each["TrainingJobName"] for each in listed] == found
    assert succeeded["OutputDataConfig"]["KmsKeyId"] == ""


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([("Tags.run", "Equals", "7")], True),
        ([("Tags.run", "Equals", "8")], False),
        ([("TrainingJobStatus", "In", "Failed,Completed"), ("HyperParameters.mode", "Equals", "succeed")], True),
        ([("Metrics.loss", "LessThan", "0.6"), ("Metrics.accuracy", "GreaterThanOrEqualTo", "0.75")], True),
        ([("Metrics.loss", "GreaterThan", "0.6")], False),
        ([("FailureReason", "NotExists", None), ("TrainingJobName", "Contains", "succe")], True),
        ([("CreationTime", "GreaterThan", "2020-01-01T00:00:00Z")], True),
        ([("CreationTime", "LessThan", "2020-01-01T00:00:00Z")], False),
    ],
)
def test_a_job_is_searched_for(jobs, succeeded, filters, found):
    def each(name, operator, value):
        return {"Name": name, "Operator": operator} | ({"Value": value} if value is not None else {})

    only = [{"Name": "TrainingJobName", "Operator": "Equals", "Value": succeeded["TrainingJobName"]}]
    channel = {"Name": "InputDataConfig.ChannelName", "Operator": "Equals", "Value": "train"}
    expression = {
        "Filters": only + [each(*one) for one in filters],
        "NestedFilters": [{"NestedPropertyName": "InputDataConfig", "Filters": [channel]}],
        "SubExpressions": [{"Operator": "Or", "Filters": [each("TrainingJobStatus", "Equals", "Failed"), *only]}],
    }
    results = jobs.sagemaker.search(Resource="TrainingJob", SearchExpression=expression)["Results"]
    assert [one["TrainingJob"]["TrainingJobArn"] for one in results] == [succeeded["TrainingJobArn"]] * found


def test_a_search_that_makes_no_sense_is_refused(jobs, succeeded):
    wrong = {"Filters": [{"Name": "Metrics.loss", "Operator": "LessThan", "Value": "much"}]}
    with pytest.raises(ClientError, match="'much' is no number"):
        jobs.sagemaker.search(Resource="TrainingJob", SearchExpression=wrong)


def test_an_ended_job_can_be_neither_stopped_nor_repeated(jobs, succeeded):
    name = succeeded["TrainingJobName"]
    with pytest.raises(ClientError, match="status Completed") as stopping:
        jobs.sagemaker.stop_training_job(TrainingJobName=name)
    assert stopping.value.response["Error"]["Code"] == "ValidationException"
    with pytest.raises(ClientError, match="already exists") as repeating:
        jobs.sagemaker.create_training_job(**jobs.request() | {"TrainingJobName": name})
    assert repeating.value.response["Error"]["Code"] == "ResourceInUse"


def test_nothing_is_left_of_a_job_that_has_ended(local_aws, succeeded):
    name = succeeded["TrainingJobName"]
    assert not (local_aws.state / "instances" / "training" / name).exists()
    assert not processes_of(name)


def test_a_script_that_raises_fails_the_job_with_its_message(jobs, local_aws, wait_for):
    # GIVEN rules for the states of jobs, and for those that fail of their script
    states = Listening(local_aws, wait_for, {"detail": {"TrainingJobName": [{"prefix": "fail-"}]}})
    reasons = Listening(local_aws, wait_for, {"detail": {"FailureReason": [{"prefix": "AlgorithmError: "}]}})
    described = jobs.end(jobs.start("fail", changes={"Tags": [{"Key": "run", "Value": "8"}]}))
    assert described["TrainingJobStatus"] == "Failed"
    assert described["SecondaryStatus"] == "Failed"
    assert described["FailureReason"].startswith("AlgorithmError: ")
    assert "ValueError: the pictures are of birds only" in described["FailureReason"]
    assert described["FailureReason"].endswith("exit code: 1")
    assert [each["Status"] for each in described["SecondaryStatusTransitions"]] == [
        "Starting", "Downloading", "Training", "Uploading", "Failed",
    ]  # fmt: skip
    # AND what it had written is kept
    assert jobs.facts(described["TrainingJobName"]) == [{"birds": 4}]
    assert jobs.files(described["TrainingJobName"], "model.tar.gz") == {"weights.bin": b"half trained"}
    # AND EventBridge was told of each state, and of the reason
    events = states.until(lambda heard: heard[-1]["detail"]["TrainingJobStatus"] == "Failed")
    assert [each["detail"]["SecondaryStatus"] for each in events] == [
        "Starting", "Downloading", "Training", "Uploading", "Failed",
    ]  # fmt: skip
    (event,) = reasons.until(bool)
    assert event["detail-type"] == "SageMaker Training Job State Change"
    assert event["resources"] == [described["TrainingJobArn"]]
    assert event["detail"]["FailureReason"] == described["FailureReason"]
    assert event["detail"]["TrainingEndTime"] == int(described["TrainingEndTime"].timestamp() * 1000)
    assert event["detail"]["Tags"] == {"run": "8"}
    states.close()
    reasons.close()


def test_a_line_that_is_written_in_pieces_stays_one(jobs):
    described = jobs.end(jobs.start("fail_in_pieces"))
    assert "ValueError: the pictures are of birds only" in described["FailureReason"]
    assert [(each["MetricName"], each["Value"]) for each in described["FinalMetricDataList"]] == [("loss", 0.25)]


def test_a_script_that_is_killed_fails_the_job(jobs):
    described = jobs.end(jobs.start("killed"))
    assert described["TrainingJobStatus"] == "Failed"
    assert "AlgorithmError" in described["FailureReason"]
    assert "ExitCode -9" in described["FailureReason"]


def test_a_script_that_hangs_is_stopped_at_its_time_limit(jobs):
    uncompressed = {"S3OutputPath": f"s3://{jobs.bucket}/jobs", "CompressionType": "NONE"}
    described = jobs.end(jobs.start("hang", runtime=3, changes={"OutputDataConfig": uncompressed}))
    assert described["TrainingJobStatus"] == "Stopped"
    assert described["SecondaryStatus"] == "MaxRuntimeExceeded"
    assert not processes_of(described["TrainingJobName"])
    # AND what it had written is kept, here as files
    prefix = f"jobs/{described['TrainingJobName']}/output/"
    keys = {each["Key"] for each in jobs.s3.list_objects_v2(Bucket=jobs.bucket, Prefix=prefix)["Contents"]}
    assert f"{prefix}model/weights.bin" in keys
    assert len(keys) == 2
    assert any(key.startswith(f"{prefix}output/facts-") for key in keys), keys
    assert described["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{jobs.bucket}/{prefix}model/"


def test_metrics_are_in_cloudwatch_by_job_and_what_a_host_uses_by_host(jobs, succeeded, local_aws, wait_for):
    cloudwatch = local_aws.client("cloudwatch")

    def statistic(metric, statistic, **dimensions):
        found = cloudwatch.get_metric_statistics(
            Namespace="/aws/sagemaker/TrainingJobs", MetricName=metric, Period=3600, Statistics=[statistic],
            Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
            StartTime=succeeded["CreationTime"], EndTime=time.time() + 60,
        )["Datapoints"]  # fmt: skip
        return found[0][statistic] if found else None

    # As SageMaker's SDK asks (TrainingJobAnalytics).
    assert statistic("loss", "Average", TrainingJobName=succeeded["TrainingJobName"]) == 0.75
    # GIVEN a job whose script computes
    name = jobs.start("busy", runtime=60)
    jobs.says(name, "busy")
    host = f"{name}/algo-1"
    wait_for(lambda: (statistic("CPUUtilization", "SampleCount", Host=host) or 0) >= 2)
    # THEN it uses a core, as far as the machine gives it one, and some of the memory and the disk
    assert 5 < statistic("CPUUtilization", "Maximum", Host=host) <= 100 * psutil.cpu_count()
    for metric in ("MemoryUtilization", "DiskUtilization"):
        assert 0 < statistic(metric, "Maximum", Host=host) < 100
    jobs.sagemaker.stop_training_job(TrainingJobName=name)


def test_a_stopped_script_is_told_and_what_it_saves_is_kept(jobs):
    # GIVEN a script that saves when SIGTERM comes
    checkpoints = {"S3Uri": f"s3://{jobs.bucket}/checkpoints/stopped/", "LocalPath": "/opt/ml/checkpoints/mine"}
    name = jobs.start("stopped", changes={"CheckpointConfig": checkpoints})
    jobs.says(name, "waiting")
    # WHEN the job is stopped
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    # THEN the script saw it, could finish, and its work is in S3
    described = jobs.end(name)
    assert described["TrainingJobStatus"] == "Stopped"
    assert "SIGTERM came" in jobs.lines(name)
    assert jobs.files(name, "model.tar.gz") == {"weights.bin": b"half trained"}
    saved = jobs.s3.get_object(Bucket=jobs.bucket, Key="checkpoints/stopped/state.txt")["Body"].read()
    assert saved == b"epoch 1"
    assert [each["Status"] for each in described["SecondaryStatusTransitions"]] == [
        "Starting", "Downloading", "Training", "Stopping", "Uploading", "Stopped",
    ]  # fmt: skip


# As SageMaker's SDK 3 starts a training (ModelTrainer): a channel brings a shell script.
LAUNCHER = """#!/bin/bash
set -e
echo "epoch=1 loss=0.5 $TRAINING_JOB_NAME"
python3 - <<'EOF'
import json, os, pathlib
values = json.loads(pathlib.Path("/opt/ml/input/config/hyperparameters.json").read_text())
facts = {"mode": values["mode"], "here": os.getcwd(), "pictures": len(os.listdir("/opt/ml/input/data/train/bird"))}
pathlib.Path("/opt/ml/output/data/facts.json").write_text(json.dumps(facts))
EOF
echo weights > /opt/ml/model/weights.bin
if [ -n "$BROKEN" ]; then echo "nothing works" > /opt/ml/output/failure; exit 3; fi
"""


@pytest.mark.slow
@pytest.mark.skipif(container.refusal({"ContainerEntrypoint": ["sh"]}) is not None, reason="no user namespaces here")
def test_an_entry_point_of_ones_own_finds_its_files_where_aws_has_them(jobs):
    jobs.s3.put_object(Bucket=jobs.bucket, Key="drivers/sm_train.sh", Body=LAUNCHER.encode())
    before, script = sorted(os.listdir("/opt")), "/opt/ml/input/data/sm_drivers/sm_train.sh"
    request = jobs.request("mine")
    request["AlgorithmSpecification"] |= {
        "ContainerEntrypoint": ["/bin/bash"],
        "ContainerArguments": ["-c", f"chmod +x {script} && {script}"],
    }
    request["InputDataConfig"] = [jobs.channel("train", "data/train/"), jobs.channel("sm_drivers", "drivers/")]
    broken = request | {"TrainingJobName": f"{request['TrainingJobName']}-broken", "Environment": {"BROKEN": "1"}}
    for each in (request, broken):
        jobs.sagemaker.create_training_job(**each)
    described = jobs.end(request["TrainingJobName"])
    assert described["TrainingJobStatus"] == "Completed", described
    assert jobs.facts(request["TrainingJobName"]) == [{"mode": "mine", "here": "/opt/ml/code", "pictures": 4}]
    assert jobs.files(request["TrainingJobName"], "model.tar.gz") == {"weights.bin": b"weights\n"}
    assert [each["Value"] for each in described["FinalMetricDataList"]] == [0.5]
    # AND its failure is its own, and this machine's /opt is as it was
    described = jobs.end(broken["TrainingJobName"])
    assert described["FailureReason"] == "AlgorithmError: nothing works, exit code: 3"
    assert sorted(os.listdir("/opt")) == before


def test_objects_that_are_gone_when_a_job_starts_fail_it(jobs):
    class Emptied:
        @staticmethod
        def list(bucket, prefix):
            return iter(())

    with pytest.raises(files.InputError, match=r"^ClientError: Data download failed:.*/gone/ matched no"):
        files.objects(Emptied(), jobs.channel("train", "gone/"))


def processes_of(name: str) -> list[str]:
    """The command lines of the processes that work in a job's folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if f"{os.sep}{name}{os.sep}" in process.cwd():
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found
