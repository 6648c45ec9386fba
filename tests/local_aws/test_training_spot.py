"""Managed Spot training: interrupted, going on from the checkpoints, billed for less than it took."""

from __future__ import annotations

import datetime as dt
import math
import subprocess
import sys

import pytest

from local_aws.training import spot
from tests.local_aws.daemon import ROOT, make_role
from tests.local_aws.training_scripts import ENDED, Jobs

ONCE = [
    "Starting", "Downloading", "Training",
    "Interrupted", "Starting", "Downloading", "Training",
    "Uploading", "Completed",
]  # fmt: skip


class SpotJobs(Jobs):
    """Starts managed Spot jobs."""

    def start_spot(self, mode="spot", *, runtime=120, wait=240, checkpoints=True, **options):
        stopping = {"MaxRuntimeInSeconds": runtime, "MaxWaitTimeInSeconds": wait}
        changes = {"EnableManagedSpotTraining": True, "StoppingCondition": stopping}
        if checkpoints:
            changes["CheckpointConfig"] = self.checkpoints(mode)
        return self.start(mode, changes=changes, **options)

    def checkpoints(self, mode):
        self.folders = getattr(self, "folders", 0) + 1
        return {"S3Uri": f"s3://{self.bucket}/checkpoints/{mode}-{self.folders}/", "LocalPath": "/opt/ml/checkpoints"}

    def states(self, name):
        return [each["Status"] for each in self.describe(name)["SecondaryStatusTransitions"]]

    def reaches(self, name, state):
        self.wait_for(lambda: state in self.states(name), 60, f"{name} never was {state}")

    def lasted(self, described, status):
        """Seconds of each time that a job was in a state."""
        return [
            (each["EndTime"] - each["StartTime"]).total_seconds()
            for each in described["SecondaryStatusTransitions"]
            if each["Status"] == status
        ]


@pytest.fixture(scope="module")
def jobs(local_aws, bucket, role_arn, wait_for):
    return SpotJobs(local_aws, bucket, role_arn, wait_for)


@pytest.fixture(scope="module")
def slow(tmp_path_factory, start_daemon, wait_for):
    """Jobs of an AWS whose minute lasts ten seconds: there one can watch a job wait for capacity."""
    daemon = start_daemon(tmp_path_factory.mktemp("slow"), minute=10.0)
    daemon.client("s3").create_bucket(Bucket="spot")
    jobs = SpotJobs(daemon, "spot", make_role(daemon), wait_for)
    # The first job waits until PyTorch is imported, which is no time that a test counts.
    jobs.end(jobs.start())
    yield jobs
    daemon.stop()


@pytest.fixture(scope="module")
def interrupted(jobs):
    """A job that was interrupted once and completed; several tests look at it."""
    name = jobs.start_spot()
    jobs.says(name, "attempt=1")
    status, sentence = jobs.interrupt(name)
    assert status == 200
    assert sentence == (
        f"The training job {name} is interrupted: its instances get SIGTERM now and are gone in 2 s at the latest; "
        "Spot capacity is back 1 s after that."
    )
    described = jobs.end(name)
    assert described["TrainingJobStatus"] == "Completed", described
    return described


def test_an_interrupted_job_goes_on_and_completes(interrupted):
    # A script that ends well after SIGTERM has not completed its job.
    assert [each["Status"] for each in interrupted["SecondaryStatusTransitions"]] == ONCE
    assert all(each["EndTime"] >= each["StartTime"] for each in interrupted["SecondaryStatusTransitions"])
    assert interrupted["EnableManagedSpotTraining"] is True
    assert "FailureReason" not in interrupted


def test_what_the_script_saved_within_the_notice_is_there_after_the_restart(jobs, interrupted):
    name = interrupted["TrainingJobName"]
    assert jobs.lines(name).index("SIGTERM came") < jobs.lines(name).index("attempt=2")
    # The disk of the first instance went with it, but for the checkpoints.
    assert jobs.files(name, "model.tar.gz") == {"attempt-2.bin": b"weights"}


def test_each_start_has_a_log_of_its_own(jobs, interrupted):
    name = interrupted["TrainingJobName"]
    streams = jobs.logs.describe_log_streams(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=f"{name}/algo-1-"
    )["logStreams"]
    assert len(streams) == 2


def test_waiting_is_not_training_and_spot_seconds_are_cheaper(jobs, interrupted):
    seconds = (interrupted["TrainingEndTime"] - interrupted["TrainingStartTime"]).total_seconds()
    waited = sum(jobs.lasted(interrupted, "Interrupted")) + jobs.lasted(interrupted, "Starting")[1]
    assert waited >= 1
    assert interrupted["TrainingTimeInSeconds"] == math.ceil(seconds - waited)
    again = jobs.lasted(interrupted, "Downloading")[1]
    assert interrupted["BillableTimeInSeconds"] == math.ceil(spot.PRICE_SHARE * (seconds - waited - again))
    assert interrupted["BillableTimeInSeconds"] < interrupted["TrainingTimeInSeconds"]


def test_a_spot_job_that_nobody_interrupts_is_cheaper_too():
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    states = [("Starting", -5, 0), ("Downloading", 0, 2), ("Training", 2, 90), ("Uploading", 90, 100)]
    transitions = [
        {"Status": name, "StartTime": start + dt.timedelta(seconds=a), "EndTime": start + dt.timedelta(seconds=b)}
        for name, a, b in states
    ]
    end = start + dt.timedelta(seconds=100)

    assert spot.seconds(transitions, start, end, managed_spot=True) == (100, spot.PRICE_SHARE * 100)
    assert spot.seconds(transitions, start, end, managed_spot=False) == (100, 100)


def test_a_script_that_does_not_go_is_killed_when_the_notice_is_over(jobs):
    name = jobs.start_spot("stubborn")
    jobs.says(name, "attempt=1")
    assert jobs.interrupt(name)[0] == 200
    again = jobs.interrupt(name)
    described = jobs.end(name)
    assert again == (400, f"The training job {name} is being interrupted already.")
    assert described["TrainingJobStatus"] == "Completed", described
    assert jobs.states(name) == ONCE
    assert "attempt=2" in jobs.lines(name)


def test_every_host_is_told_and_starts_again(jobs):
    name = jobs.start_spot(instances=2)
    for host in ("algo-1", "algo-2"):
        jobs.wait_for(lambda host=host: "attempt=1" in jobs.lines(name, host))
    jobs.interrupt(name)
    described = jobs.end(name)
    assert described["TrainingJobStatus"] == "Completed", described
    for host in ("algo-1", "algo-2"):
        assert jobs.lines(name, host).count("SIGTERM came") == 1
        assert "attempt=2" in jobs.lines(name, host)


def test_without_checkpoints_a_job_starts_over(jobs):
    name = jobs.start_spot(checkpoints=False)
    jobs.says(name, "attempt=1")
    jobs.interrupt(name)
    jobs.wait_for(lambda: jobs.lines(name).count("attempt=1") == 2)
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    described = jobs.end(name)
    assert described["TrainingJobStatus"] == "Stopped"
    assert jobs.states(name) == [*ONCE[:-2], "Stopping", "Uploading", "Stopped"]


def test_the_time_limit_counts_what_ran_before_an_interruption(jobs):
    name = jobs.start_spot("hang", runtime=8)
    jobs.says(name, "hanging")
    jobs.interrupt(name)
    described = jobs.end(name)
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    first, second = jobs.lasted(described, "Training")
    assert first + second == pytest.approx(8, abs=2)


def test_a_job_that_takes_too_long_with_its_waiting_is_stopped(jobs):
    # GIVEN a job that may take as long as it may run
    name = jobs.start_spot("hang", runtime=7, wait=7)
    jobs.says(name, "hanging")
    # WHEN it loses a second of that to an interruption
    jobs.interrupt(name)
    described = jobs.end(name)
    # THEN it ends before it has run for so long
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    last = described["SecondaryStatusTransitions"][-1]
    assert last["StatusMessage"] == "Training job wait time exceeded MaxWaitTimeInSeconds provided"
    assert jobs.states(name) == [*ONCE[:-2], "Stopping", "Uploading", "MaxWaitTimeExceeded"]


def test_a_job_may_wait_in_vain(slow):
    name = slow.start_spot(runtime=8, wait=8)
    slow.says(name, "attempt=1")
    slow.interrupt(name)
    described = slow.end(name)
    assert described["TrainingJobStatus"] == "Stopped"
    assert slow.states(name) == [*ONCE[:4], "Stopping", "MaxWaitTimeExceeded"]
    assert slow.files(name, "model.tar.gz") == {}
    seconds = (described["TrainingEndTime"] - described["CreationTime"]).total_seconds()
    assert 8 <= seconds < 12
    assert described["TrainingTimeInSeconds"] < 8


def test_a_job_that_waits_for_capacity_can_be_stopped_and_not_interrupted(slow):
    name = slow.start_spot()
    slow.says(name, "attempt=1")
    slow.interrupt(name)
    slow.reaches(name, "Interrupted")
    status, sentence = slow.interrupt(name)
    assert status == 400
    assert sentence.startswith(f"The training job {name} is Interrupted: only one that is Downloading or Training has")
    slow.sagemaker.stop_training_job(TrainingJobName=name)
    assert slow.end(name)["TrainingJobStatus"] == "Stopped"
    assert slow.states(name) == [*ONCE[:4], "Stopping", "Stopped"]


def test_a_stop_within_the_notice_counts(slow):
    name = slow.start_spot("saves_for_long")
    slow.says(name, "attempt=1")
    slow.interrupt(name)
    slow.says(name, "SIGTERM came")
    slow.sagemaker.stop_training_job(TrainingJobName=name)
    described = slow.end(name)
    assert described["TrainingJobStatus"] == "Stopped"
    assert slow.states(name) == [*ONCE[:3], "Stopping", "Uploading", "Stopped"]
    assert slow.files(name, "model.tar.gz") == {"attempt-1.bin": b"weights"}


def test_what_cannot_be_interrupted_says_why(jobs, interrupted):
    name = interrupted["TrainingJobName"]
    status, sentence = jobs.interrupt(name)
    assert status == 400
    assert sentence.startswith(f"The training job {name} is Completed: only one")
    on_demand = jobs.start("hang")
    assert jobs.interrupt(on_demand) == (
        400, f"The training job {on_demand} runs on demand: only managed Spot training is interrupted.",
    )  # fmt: skip
    jobs.sagemaker.stop_training_job(TrainingJobName=on_demand)
    assert jobs.interrupt("never-made")[0] == 404


def test_the_command_interrupts_a_job(jobs, local_aws):
    name = jobs.start_spot()
    jobs.says(name, "attempt=1")
    command = [sys.executable, "-m", "local_aws", "interrupt", name, "--port", str(local_aws.port)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"The training job {name} is interrupted: ")
    assert jobs.end(name)["TrainingJobStatus"] == "Completed"


def test_a_tuning_jobs_trial_can_be_interrupted(jobs):
    # GIVEN a trial on Spot capacity
    definition = {
        **jobs.definition(),
        "StaticHyperParameters": jobs.script(mode="spot"),
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 120, "MaxWaitTimeInSeconds": 240},
        "CheckpointConfig": jobs.checkpoints("tuning"),
    }
    config = {
        "Strategy": "Grid",
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "attempt"},
        "ResourceLimits": {"MaxParallelTrainingJobs": 1},
        "ParameterRanges": {"CategoricalParameterRanges": [{"Name": "choice", "Values": ["good"]}]},
    }
    metrics = [{"Name": "attempt", "Regex": "attempt=([0-9]+)"}]
    definition["AlgorithmSpecification"] = {**definition["AlgorithmSpecification"], "MetricDefinitions": metrics}
    jobs.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="tune-spot", HyperParameterTuningJobConfig=config, TrainingJobDefinition=definition
    )

    def tuning():
        return jobs.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="tune-spot")

    def trials():
        return jobs.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
            HyperParameterTuningJobName="tune-spot"
        )["TrainingJobSummaries"]

    # WHEN it is interrupted
    name = jobs.wait_for(trials)[0]["TrainingJobName"]
    jobs.says(name, "attempt=1")
    assert jobs.interrupt(name)[0] == 200

    # THEN it goes on, and the tuning job is complete with what it found
    jobs.wait_for(lambda: tuning()["HyperParameterTuningJobStatus"] in ENDED)
    assert tuning()["HyperParameterTuningJobStatus"] == "Completed"
    assert jobs.states(name) == ONCE
    assert tuning()["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == 2
