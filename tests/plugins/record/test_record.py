"""The run record: strict where written, forgiving where read; older versions are read and newer ones refused."""

import json
from pathlib import Path

import boto3
import pytest
from moto import mock_aws
from musher import record
from musher.report.files import write_report
from pydantic import ValidationError

RECORD = json.loads(Path(__file__).with_name("record.json").read_text())
RUN = "manual__1"
FUNCTION = record.Function(
    function="classifier", version="3", previous_version="2", alias="live", memory_mb=256, reserved=5, provisioned=2
)
JOB = {
    "job": "a-job",
    "instances": 1,
    "instance_type": "ml.m5.xlarge",
    "wall_seconds": 60.0,
    "billable_seconds": 60.0,
    "test_accuracy": 0.9,
    "test_loss": 0.3,
    "cost_usd": 0.01,
}


@pytest.fixture
def s3():
    with mock_aws():
        client = boto3.client(
            "s3", region_name="us-east-1", aws_access_key_id="AKIAEXAMPLE", aws_secret_access_key="secret"
        )
        client.create_bucket(Bucket="bucket")
        yield client


def put(s3, part, body):
    s3.put_object(
        Bucket="bucket", Key=f"runs/{RUN}/{part}.json", Body=body if isinstance(body, bytes) else json.dumps(body)
    )


def stored(s3, name):
    return json.load(s3.get_object(Bucket="bucket", Key=f"runs/{RUN}/{name}.json")["Body"])


def test_parts_are_written_one_by_one_and_joined(s3):
    # GIVEN a run of which two tasks wrote their part
    uri = record.write(s3, "bucket", RUN, FUNCTION)
    record.write(s3, "bucket", RUN, record.Verdict(passed=True, checks=[]))

    joined = record.read_run(s3, "bucket", RUN)

    assert uri == "s3://bucket/runs/manual__1/lambda.json"
    assert joined.function == FUNCTION
    assert joined.verdict.passed is True
    assert joined.tuning is None
    assert joined.unreadable == {}
    assert set(record.PARTS) < set(joined.to_json())


def test_what_is_written_says_its_version_and_keeps_its_keys(s3):
    record.write(s3, "bucket", RUN, FUNCTION)
    record.write(s3, "bucket", RUN, record.Training(jobs=[JOB], chosen="a-job"))

    assert stored(s3, "lambda") == {"record_version": 1, **RECORD["lambda"], "function": "classifier"}
    assert stored(s3, "training")["record_version"] == 2
    assert JOB.items() <= stored(s3, "training")["jobs"][0].items()


def test_the_report_lies_beside_the_parts(s3):
    joined = record.RunRecord(run=RUN, environment="local")

    uris = write_report(s3, "bucket", joined)

    assert uris["html"] == "s3://bucket/runs/manual__1/report.html"
    html = s3.get_object(Bucket="bucket", Key="runs/manual__1/report.html")
    assert html["ContentType"] == "text/html; charset=utf-8"
    assert stored(s3, "report") == joined.to_json()


def test_a_whole_record_is_the_same_after_it_was_written_and_read():
    read = record.RunRecord.from_json(RECORD)

    assert read.unreadable == {}
    assert record.RunRecord.from_json(json.loads(json.dumps(read.to_json()))) == read


def every_key(value, where=""):
    if isinstance(value, dict):
        for key, each in value.items():
            yield f"{where}.{key}"
            yield from every_key(each, f"{where}.{key}")
    for each in value if isinstance(value, list) else ():
        yield from every_key(each, where)


def test_report_json_has_every_key_that_a_record_without_versions_had():
    assert set(every_key(RECORD)) <= set(every_key(record.RunRecord.from_json(RECORD).to_json()))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: record.Function(**{**dict(FUNCTION), "resreved": 5}),
        lambda: FUNCTION.replace(resreved=5),
        lambda: record.Training(jobz=[]),
        lambda: record.Training(jobs=[{**JOB, "wall_secs": 1}]),
        lambda: record.Ec2Training(),
        lambda: record.RunRecord(run="r", lamda=FUNCTION),
    ],
)
def test_a_key_that_nobody_reads_is_refused_where_it_is_written(wrong):
    with pytest.raises(ValidationError, match=r"not permitted|Field required"):
        wrong()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_json_has_no_words_for_is_refused(s3, number):
    with pytest.raises(ValidationError, match="wall_seconds"):
        record.TrainingJob(**{**JOB, "wall_seconds": number})
    check = record.Check(name="latency", passed=False, measured=number)
    with pytest.raises(ValueError, match="JSON"):
        record.write(s3, "bucket", RUN, record.Verdict(passed=False, checks=[check]))


def test_a_part_written_before_there_were_versions_is_read(s3):
    put(s3, "lambda", RECORD["lambda"])
    put(s3, "training", [JOB])
    put(s3, "ec2_instances", RECORD["ec2_training"]["instances"])

    assert record.read(s3, "bucket", RUN, record.Function).reserved == 5
    assert record.read(s3, "bucket", RUN, record.Training).jobs[0].job == "a-job"
    assert record.read(s3, "bucket", RUN, record.Ec2Instances).instances[0].ended_by == "interruption"


def test_a_part_of_a_newer_version_is_refused_by_name(s3):
    put(s3, "training", {"record_version": 3, "jobs": []})

    with pytest.raises(record.RecordError) as refused:
        record.read(s3, "bucket", RUN, record.Training)

    assert str(refused.value) == (
        "runs/manual__1/training.json has version 3; this Musher reads up to 2: "
        "read it with the Musher that wrote it, or a newer one."
    )


def test_what_an_older_or_edited_part_has_beyond_its_fields_is_left_out(s3):
    put(s3, "lambda", {**RECORD["lambda"], "note": "by hand"})
    put(s3, "training", {"jobs": [{**JOB, "gpus": 0}], "chosen": "a-job"})

    run = record.read_run(s3, "bucket", RUN)

    assert run.unreadable == {}
    assert run.function.reserved == 5
    assert run.training.jobs == [record.TrainingJob(**JOB)]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"jobs": [', "it is no JSON (Expecting value: line 1 column 11 (char 10))."),
        (b"\xff", "it is no JSON"),
        ({}, "jobs is missing."),
        ("a text", "jobs is 'a text'; it has to be a valid list."),
        ({"jobs": [{**JOB, "instances": "two"}]}, "jobs[0].instances is 'two'; it has to be a valid integer"),
        ({"jobs": [], "record_version": "new"}, "record_version is 'new'; it has to be a whole number from 1."),
    ],
)
def test_a_damaged_part_is_one_sentence_and_leaves_the_others(s3, body, sentence):
    put(s3, "training", body)
    record.write(s3, "bucket", RUN, FUNCTION)

    run = record.read_run(s3, "bucket", RUN)

    assert run.function == FUNCTION
    assert run.training is None
    assert set(run.unreadable) == {"training"}
    assert run.unreadable["training"].startswith(f"runs/manual__1/training.json is damaged: {sentence}")
    assert "\n" not in run.unreadable["training"]
    with pytest.raises(record.RecordError, match=r"training\.json is damaged"):
        record.read(s3, "bucket", RUN, record.Training)


def test_a_bucket_that_is_not_there_is_no_missing_part(s3):
    with pytest.raises(s3.exceptions.NoSuchBucket):
        record.read_run(s3, "elsewhere", RUN)


def test_runs_that_wrote_a_part_are_found(s3):
    for run in ("a", "b"):
        record.write(s3, "bucket", run, FUNCTION)

    assert sorted(record.runs_with(s3, "bucket", record.Function)) == ["a", "b"]
    assert record.runs_with(s3, "bucket", record.Training) == []


def test_speed_up_and_efficiency_follow_from_the_jobs():
    jobs = [{**JOB, "instances": 4, "wall_seconds": 20.0}, JOB]

    training = record.Training.from_json(jobs)

    assert training.speed_up == 3.0
    assert training.scaling_efficiency == 0.75
    assert training.jobs == [record.TrainingJob(**job) for job in jobs]


def test_what_the_part_says_itself_is_kept():
    training = record.Training.from_json({"jobs": [], "speed_up": 1.5})

    assert training == record.Training(jobs=[], speed_up=1.5, scaling_efficiency=None)


def test_one_job_alone_has_no_speed_up():
    assert record.Training.from_json([JOB]).speed_up is None
