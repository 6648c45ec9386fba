import json

import boto3
import pytest
from moto import mock_aws
from musher.report import record


@pytest.fixture
def s3():
    with mock_aws():
        client = boto3.client(
            "s3", region_name="us-east-1", aws_access_key_id="AKIAEXAMPLE", aws_secret_access_key="secret"
        )
        client.create_bucket(Bucket="bucket")
        yield client


def test_parts_are_written_one_by_one_and_joined(s3):
    # GIVEN a run of which two tasks wrote their part
    uri = record.write_part(s3, "bucket", "manual__1", "lambda", {"reserved": 5})
    record.write_part(s3, "bucket", "manual__1", "verdict", {"passed": True, "checks": []})

    joined = record.join(record.read_parts(s3, "bucket", "manual__1"), run="manual__1", environment="aws")

    assert uri == "s3://bucket/runs/manual__1/lambda.json"
    assert joined["lambda"] == {"reserved": 5}
    assert joined["verdict"]["passed"] is True
    assert joined["tuning"] is None
    assert set(record.PARTS) < set(joined)


def test_the_report_lies_beside_the_parts(s3):
    joined = record.join({}, run="manual__1", environment="local")

    uris = record.write_report(s3, "bucket", joined)

    assert uris["html"] == "s3://bucket/runs/manual__1/report.html"
    html = s3.get_object(Bucket="bucket", Key="runs/manual__1/report.html")
    assert html["ContentType"] == "text/html; charset=utf-8"
    stored = json.load(s3.get_object(Bucket="bucket", Key="runs/manual__1/report.json")["Body"])
    assert stored == joined


def test_a_part_nobody_reads_is_refused(s3):
    with pytest.raises(ValueError, match=r"part is 'lamda'; a run record has the parts dataset, .*lambda"):
        record.write_part(s3, "bucket", "manual__1", "lamda", {})


def test_a_bucket_that_is_not_there_is_no_missing_part(s3):
    with pytest.raises(s3.exceptions.NoSuchBucket):
        record.read_parts(s3, "elsewhere", "manual__1")


def test_speed_up_and_efficiency_follow_from_the_jobs():
    jobs = [{"instances": 4, "wall_seconds": 20.0}, {"instances": 1, "wall_seconds": 60.0}]

    joined = record.join({"training": jobs}, run="r", environment="aws")

    assert joined["training"]["speed_up"] == 3.0
    assert joined["training"]["scaling_efficiency"] == 0.75
    assert joined["training"]["jobs"] == jobs


def test_what_the_part_says_itself_is_kept():
    joined = record.join({"training": {"jobs": [], "speed_up": 1.5}}, run="r", environment="aws")

    assert joined["training"] == {"jobs": [], "speed_up": 1.5, "scaling_efficiency": None}


def test_one_job_alone_has_no_speed_up():
    joined = record.join({"training": [{"instances": 1, "wall_seconds": 60.0}]}, run="r", environment="aws")

    assert joined["training"]["speed_up"] is None
