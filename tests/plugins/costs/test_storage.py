"""What lies in the bucket, and how it gets on the report."""

from __future__ import annotations

from types import SimpleNamespace

from musher.costs import storage
from musher.names import Run
from musher.operators.report import WriteReportOperator
from musher.report import record


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
    job = {"model_data": f"{uri}/model.tar.gz", "output_data": f"{uri}/output.tar.gz"}
    projected = {"training": {"facts": {"dataset_name": "dogs"}}}

    assert storage.of_run(s3, env.bucket, {}) == {}
    assert storage.of_run(s3, env.bucket, {"training": {"jobs": [job]}}) == {"models": 1030}
    parts = {"training": {"jobs": [job]}, "projected_costs": projected}
    assert storage.of_run(s3, env.bucket, parts) == {"dataset": 120, "models": 1030}
    assert storage.size(s3, env.bucket) == 6157


def test_the_report_has_the_projection_of_training_and_deployment_and_the_storage(s3, env):
    s3.put_object(Bucket=env.bucket, Key="dataset/dogs/train/a/1.jpg", Body=b"x" * 2**20)
    training = {"projected_usd": 1.0, "facts": {"dataset_name": "dogs"}}
    record.write_part(s3, env.bucket, "trained", "projected_costs", {"training": training})
    deployed = Run("deploy", "r")
    record.write_part(s3, env.bucket, deployed.key, "projected_costs", {"deployment": {"projected_usd": 2.0}})
    operator = WriteReportOperator(task_id="report", run_key="trained")
    operator.__dict__["environment"] = env
    operator.client = lambda service, **config: s3

    operator.execute({"dag_run": SimpleNamespace(dag_id=deployed.dag_id, run_id=deployed.run_id)})

    parts = record.read_parts(s3, env.bucket, "trained")
    assert [each["projected_usd"] for each in parts["costs"]["projected"]] == [1.0, 2.0]
    assert parts["projected_costs"]["deployment"] == {"projected_usd": 2.0}
    # A MiB at 0.023 USD per GiB and month.
    assert abs(parts["costs"]["storage"]["dataset"]["usd_per_month"] - 0.023 / 1024) < 1e-12
    page = s3.get_object(Bucket=env.bucket, Key="runs/trained/report.html")["Body"].read().decode()
    assert "$2.00" in page
