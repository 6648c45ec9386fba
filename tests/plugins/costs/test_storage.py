"""What lies in the bucket, and how it gets on the report."""

from __future__ import annotations

from types import SimpleNamespace

from musher import record
from musher.costs import storage
from musher.names import Run
from musher.operators.report import WriteReportOperator
from musher.record import ProjectedCosts, Projection, RunRecord, Training


def projection(usd):
    return Projection(projected_usd=usd, worst_case_usd=9.0, basis="a guess", facts={"dataset_name": "dogs"})


def report(s3, env, run, **given):
    operator = WriteReportOperator(task_id="report", **given)
    operator.__dict__["environment"] = env
    operator.client = lambda service, **config: s3
    operator.execute({"dag_run": SimpleNamespace(dag_id=run.dag_id, run_id=run.run_id)})


def test_the_bytes_a_run_leaves(s3, env):
    for key, size in (
        ("dataset/dogs/train/a/1.jpg", 100),
        ("dataset/dogs/test/a/1.jpg", 20),
        ("dataset/dogs-and-cats/1.jpg", 7),
        ("jobs/one/output/model.tar.gz", 1000),
        ("jobs/one/output/output.tar.gz", 30),
        ("jobs/other/output/model.tar.gz", 5000),
    ):
        s3.put_object(Bucket=env.bucket, Key=key, Body=b"x" * size)
    uri = f"s3://{env.bucket}/jobs/one/output"
    job = {"job": "one", "instances": 1, "instance_type": "ml.m5.xlarge", "wall_seconds": 1, "billable_seconds": 1}
    job |= {"test_accuracy": None, "test_loss": None, "cost_usd": 0}
    job |= {"model_data": f"{uri}/model.tar.gz", "output_data": f"{uri}/output.tar.gz"}
    run = RunRecord(run="r")

    assert storage.of_run(s3, env.bucket, run) == {}
    run = run.replace(training=Training(jobs=[job]))
    assert storage.of_run(s3, env.bucket, run) == {"models": 1030}
    run = run.replace(projected_costs=ProjectedCosts(training=projection(1.0)))
    assert storage.of_run(s3, env.bucket, run) == {"dataset": 120, "models": 1030}
    assert storage.size(s3, env.bucket) == 6157


def test_the_report_has_the_projection_of_training_and_deployment_and_the_storage(s3, env):
    s3.put_object(Bucket=env.bucket, Key="dataset/dogs/train/a/1.jpg", Body=b"x" * 2**20)
    record.write(s3, env.bucket, "trained", ProjectedCosts(training=projection(1.0)))
    deployed = Run("deploy", "r")
    record.write(s3, env.bucket, deployed.key, ProjectedCosts(deployment=projection(2.0)))

    report(s3, env, deployed, run_key="trained")

    written = record.read_run(s3, env.bucket, "trained")
    assert [each.projected_usd for each in written.costs.projected] == [1.0, 2.0]
    assert written.projected_costs.deployment == projection(2.0)
    # A MiB at 0.023 USD per GiB and month.
    assert abs(written.costs.storage["dataset"].usd_per_month - 0.023 / 1024) < 1e-12
    page = s3.get_object(Bucket=env.bucket, Key="runs/trained/report.html")["Body"].read().decode()
    assert "$2.00" in page


def test_a_damaged_part_is_a_sentence_on_the_report_of_what_is_left(s3, env):
    run = Run("train", "r")
    record.write(s3, env.bucket, run.key, ProjectedCosts(training=projection(1.0)))
    s3.put_object(Bucket=env.bucket, Key=f"runs/{run.key}/tuning.json", Body=b'{"job": ')
    s3.put_object(Bucket=env.bucket, Key=f"runs/{run.key}/training.json", Body=b'{"record_version": 99, "jobs": []}')

    report(s3, env, run)

    written = record.read_at(s3, f"s3://{env.bucket}/runs/{run.key}/costs.json", record.Costs)
    assert [each.projected_usd for each in written.projected] == [1.0]
    page = s3.get_object(Bucket=env.bucket, Key=f"runs/{run.key}/report.html")["Body"].read().decode()
    assert f"runs/{run.key}/tuning.json is damaged: it is no JSON" in page
    assert f"runs/{run.key}/training.json has version 99; this Musher reads up to 2" in page
    assert "$1.00" in page


def test_projections_that_cannot_be_read_are_not_written_over(s3, env):
    deployed = Run("deploy", "r")
    newer = b'{"record_version": 99}'
    s3.put_object(Bucket=env.bucket, Key="runs/trained/projected_costs.json", Body=newer)
    record.write(s3, env.bucket, deployed.key, ProjectedCosts(deployment=projection(2.0)))

    report(s3, env, deployed, run_key="trained")

    kept = s3.get_object(Bucket=env.bucket, Key="runs/trained/projected_costs.json")["Body"].read()
    assert kept == newer
