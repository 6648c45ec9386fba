"""What a run started is stopped by the run's tags, whatever its name, in a local AWS of the test's own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from musher.names import Run
from musher.operators.training_jobs import StopJobsOperator

from tests.local_aws.daemon import make_role, wait_for
from tests.local_aws.test_tuning import Tuning, X

pytestmark = pytest.mark.timeout(240)

BUCKET = "musher-bucket"
RUN = Run("train_image_classifier", "manual__2026-11-20T20:39:00+00:00")
OTHER = Run("train_image_classifier", "manual__2026-11-21T20:39:00+00:00")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory, start_daemon):
    daemon = start_daemon(tmp_path_factory.mktemp("stop-jobs"))
    daemon.client("s3").create_bucket(Bucket=BUCKET)
    yield Tuning(daemon, BUCKET, make_role(daemon), wait_for)
    daemon.stop()


def tags(run, project="musher"):
    return [{"Key": key, "Value": value} for key, value in run.tags(project).items()]


def stop(jobs, env, monkeypatch):
    for name, value in {"ENDPOINT_URL": jobs.url, "ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    operator = StopJobsOperator(task_id="stop_jobs", aws_conn_id=None)
    operator.__dict__["environment"] = env
    return operator.execute({"dag_run": SimpleNamespace(dag_id=RUN.dag_id, run_id=RUN.run_id)})


def test_a_job_of_the_run_is_stopped_whatever_its_name_and_another_runs_is_not(jobs, env, monkeypatch):
    # GIVEN a job under a name that no step has, one of another run, and one of another project's run of the same name
    ours = jobs.start("stopped", changes={"Tags": tags(RUN)})
    others = [
        jobs.start("stopped", changes={"Tags": tags(OTHER)}),
        jobs.start("stopped", changes={"Tags": tags(RUN, "another-project")}),
    ]
    for name in (ours, *others):
        jobs.says(name, "waiting")

    assert stop(jobs, env, monkeypatch) == [ours]

    assert jobs.end(ours)["TrainingJobStatus"] == "Stopped"
    for name in others:
        assert jobs.sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "InProgress"
        jobs.sagemaker.stop_training_job(TrainingJobName=name)
    # What has ended is not stopped again.
    assert stop(jobs, env, monkeypatch) == []


def test_a_tuning_job_is_stopped_with_its_trials(jobs, env, monkeypatch):
    request = jobs.tuning_request("Random", X, mode="stopped", most=1, parallel=1)
    name = request["HyperParameterTuningJobName"]
    jobs.sagemaker.create_hyper_parameter_tuning_job(**request, Tags=tags(RUN))
    wait_for(lambda: jobs.sagemaker.list_training_jobs(NameContains=name)["TrainingJobSummaries"])

    assert stop(jobs, env, monkeypatch)[0] == name

    assert jobs.tuned(name)["HyperParameterTuningJobStatus"] == "Stopped"
    trials = jobs.sagemaker.list_training_jobs(NameContains=name)["TrainingJobSummaries"]
    assert {each["TrainingJobStatus"] for each in trials} <= {"Stopped", "Stopping"}
