"""What the run record has of a training job, how long a task waits for one, and why a job was stopped."""

import datetime as dt
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from musher import record
from musher.config import TrainingConfig
from musher.operators.evaluation import EvaluateInServiceOperator
from musher.operators.sagemaker_job import START_SECONDS
from musher.operators.training_jobs import TrainOperator, described
from musher.operators.tuning import TuneOperator

START = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
STATES = ("Starting", "Downloading", "Training")


def job(*, seconds=100, billable=100, spot=False, interruptions=0, **more):
    """DescribeTrainingJob's answer for a job of two instances."""
    states = (*STATES, *(("Interrupted", *STATES) * interruptions), "Uploading", "Completed")
    return {
        "TrainingJobName": "a-job",
        "TrainingJobStatus": "Completed",
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2},
        "TrainingStartTime": START,
        "TrainingEndTime": START + dt.timedelta(seconds=seconds + 60 * interruptions),
        "TrainingTimeInSeconds": seconds,
        "BillableTimeInSeconds": billable,
        "EnableManagedSpotTraining": spot,
        "SecondaryStatusTransitions": [{"Status": state} for state in states],
        "ModelArtifacts": {"S3ModelArtifacts": "s3://b/jobs/a-job/output/model.tar.gz"},
        **more,
    }


def test_a_job_on_demand_saves_nothing(fixed_prices):
    part = described(job())

    assert part.managed_spot is False
    assert (part.training_seconds, part.billable_seconds) == (100, 200)
    assert part.interruptions == 0
    assert part.spot_savings is None


def test_a_job_on_spot_says_what_it_saved_and_how_often_it_was_interrupted(fixed_prices):
    part = described(job(seconds=500, billable=100, spot=True, interruptions=2))

    assert part.managed_spot is True
    # Of all instances what is billed, of one what it took: as in AWS's formula and example.
    assert (part.training_seconds, part.billable_seconds) == (500, 200)
    assert part.wall_seconds == 620
    assert part.interruptions == 2
    assert part.spot_savings == 0.8
    assert part.cost_usd == pytest.approx(described(job(seconds=500, billable=500)).cost_usd / 5)


SPOT = TrainingConfig(managed_spot=True, max_runtime_seconds=600, max_wait_seconds=6000, max_jobs=4)


def test_a_task_waits_as_long_as_its_job_may_take():
    train = TrainOperator(task_id="train", inputs={}, tuning={}, several=False)
    tune = TuneOperator(task_id="tune", inputs={})
    evaluate = EvaluateInServiceOperator(task_id="evaluate", inputs={}, dataset={})

    assert train.longest_seconds(SPOT) == 6000 + START_SECONDS
    assert tune.longest_seconds(SPOT) == 2 * (6000 + START_SECONDS)
    # An evaluation runs on demand.
    assert evaluate.longest_seconds(SPOT) == 600 + START_SECONDS
    assert train.longest_seconds(TrainingConfig(max_wait_seconds=9000)) == 3600 + START_SECONDS


@pytest.mark.parametrize(
    ("secondary", "sentence"),
    [
        (
            "MaxWaitTimeExceeded",
            "with its waiting for Spot capacity it took longer than max_wait_seconds allows, which is 6000; "
            "allow more, or turn managed_spot off",
        ),
        ("MaxRuntimeExceeded", "it ran longer than max_runtime_seconds allows, which is 600"),
        ("Stopped", "Stopped"),
    ],
)
def test_a_job_that_was_stopped_at_a_limit_says_at_which(secondary, sentence):
    train = TrainOperator(task_id="train", inputs={}, tuning={}, several=False)
    found = job(TrainingJobStatus="Stopped", SecondaryStatus=secondary)
    train.hook = SimpleNamespace(describe=lambda kind, name: found)
    train.act = lambda *_: None  # it has a test of its own
    params = {"managed_spot": True, "max_runtime_seconds": 600, "max_wait_seconds": 6000}

    with pytest.raises(AirflowException) as failed:
        train.resume({"params": params}, {"name": "a-job", "status": "Stopped"})

    assert str(failed.value) == f"The training job a-job is Stopped: {sentence}"


@pytest.mark.parametrize(("paths", "several"), [("one", True), ("several", False)])
def test_a_path_that_is_not_asked_for_is_skipped_and_starts_nothing(paths, several):
    train = TrainOperator(task_id="train", inputs={}, tuning={}, several=several)
    with pytest.raises(AirflowSkipException, match=f"Not trained: paths is {paths}"):
        train.execute({"params": {"paths": paths}})


def test_trials_on_spot_are_recorded_with_what_is_billed(monkeypatch):
    # GIVEN a tuning job whose two trials ran on Spot capacity, one of them interrupted
    trials = [
        record.Trial(job=name, hyperparameters={}, objective=0.5, status="Completed", seconds=80.0)
        for name in ("one", "two")
    ]
    jobs = {"one": job(seconds=60, billable=20, spot=True, interruptions=1), "two": job(seconds=80, spot=True)}
    tune = TuneOperator(task_id="tune", inputs={})
    tune.job = "a-tuning-job"
    tune.hook = SimpleNamespace(trials=lambda name: trials, describe=lambda kind, name: jobs[name])
    monkeypatch.setattr(tune, "write_part", lambda *_: None)
    monkeypatch.setattr(tune, "diagnose", lambda *_: jobs)
    context = {"dag_run": SimpleNamespace(dag_id="d", run_id="r"), "dag": SimpleNamespace(dag_id="d"), "run_id": "r"}

    part = tune.finish(context, SPOT, {"BestTrainingJob": {"TrainingJobName": "two"}})

    first = part["trials"][0]
    assert (first["seconds"], first["training_seconds"], first["billable_seconds"]) == (80.0, 60, 20)
    assert (first["managed_spot"], first["interruptions"]) == (True, 1)
