"""Data capture: which calls become lines of JSON in S3, what a line holds, and where it lies."""

from __future__ import annotations

import base64
import json
import re
from types import SimpleNamespace

import pytest

from local_aws.clock import Clock
from local_aws.endpoints.capture import Capture, summary
from tests.local_aws.daemon import wait_for
from tests.local_aws.serving import Serving

PICTURE = b"\xff\xd8\xff a picture"
GIVEN = {
    "InitialSamplingPercentage": 30,
    "DestinationS3Uri": "s3://bucket/some/where/",
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
}


@pytest.fixture
def stored():
    """What is written to S3, by bucket and key."""
    return {}


def capture(stored, drawn=lambda: 0.0, **changes):
    def write(bucket, key, body):
        stored[bucket, key] = body

    s3 = SimpleNamespace(write=write)
    s3.under = lambda acting: s3
    aws = SimpleNamespace(s3=s3, clock=Clock(60))
    return Capture(aws, "dogs", {"DataCaptureConfig": GIVEN | changes}, drawn)


def take(captured, variant="v0", kind="image/jpeg", **headers):
    given = {"content-type": kind, **headers}
    captured.take(variant, given, PICTURE, "application/json; weights=a", b'{"label": "Ash"}')


def lines(stored):
    return [json.loads(line) for body in stored.values() for line in body.decode().splitlines()]


def test_a_line_holds_both_sides_and_the_key_the_hour(stored):
    captured = capture(stored)
    take(captured, **{"x-amzn-sagemaker-inference-id": "mine-1", "x-amzn-sagemaker-custom-attributes": "a=b"})
    take(captured, variant="v1", kind="text/csv")
    captured.close()
    (bucket, key), _ = sorted(stored)
    assert bucket == "bucket"
    assert re.fullmatch(r"some/where/dogs/v0/\d{4}/\d\d/\d\d/\d\d/[\w-]+\.jsonl", key)
    first, second = (lines({"": stored[each]})[0] for each in sorted(stored))
    assert first["eventVersion"] == "0"
    assert first["captureData"]["endpointInput"] == {
        "observedContentType": "image/jpeg",
        "mode": "INPUT",
        "data": base64.b64encode(PICTURE).decode(),
        "encoding": "BASE64",
    }
    assert first["captureData"]["endpointOutput"] == {
        "observedContentType": "application/json; weights=a",
        "mode": "OUTPUT",
        "data": '{"label": "Ash"}',
        "encoding": "JSON",
    }
    assert (first["eventMetadata"]["inferenceId"], first["eventMetadata"]["customAttributes"]) == ("mine-1", ["a=b"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["eventMetadata"]["inferenceTime"])
    assert second["captureData"]["endpointInput"]["encoding"] == "CSV"
    assert set(second["eventMetadata"]) == {"eventId", "inferenceTime"}


def test_as_many_are_captured_as_the_percentage_says(stored):
    draws = iter([0.0, 0.29, 0.3, 0.9])
    captured = capture(stored, drawn=lambda: next(draws))
    for _ in range(4):
        take(captured)
    captured.close()
    assert len(lines(stored)) == 2
    nothing = capture(stored, InitialSamplingPercentage=0)
    take(nothing)
    nothing.close()
    assert len(lines(stored)) == 2


@pytest.mark.parametrize(
    ("mode", "sides"),
    [
        ("Input", {"endpointInput"}),
        ("Output", {"endpointOutput"}),
        ("InputAndOutput", {"endpointInput", "endpointOutput"}),
    ],
)
def test_one_side_or_both(stored, mode, sides):
    captured = capture(stored, CaptureOptions=[{"CaptureMode": mode}], CaptureContentTypeHeader=None)
    take(captured)
    captured.close()
    (line,) = lines(stored)
    assert set(line["captureData"]) == sides
    assert {each["encoding"] for each in line["captureData"].values()} == {"BASE64"}


def test_an_endpoint_says_whether_it_captures():
    assert summary({}, serving=True) is None
    for off, serving, status in ((False, True, "Started"), (False, False, "Stopped"), (True, True, "Stopped")):
        said = summary({"DataCaptureConfig": GIVEN | ({"EnableCapture": False} if off else {})}, serving=serving)
        assert (said["EnableCapture"], said["CaptureStatus"]) == (not off, status)


def test_an_endpoints_calls_are_in_the_bucket(local_aws, bucket, role_arn):
    serving = Serving(local_aws, bucket, role_arn)
    given = GIVEN | {"InitialSamplingPercentage": 100, "DestinationS3Uri": f"s3://{bucket}/captured"}
    variant = {"VariantName": "v0", "ModelName": serving.model(), "InstanceType": "ml.m5.large"}
    serving.sagemaker.create_endpoint_config(
        EndpointConfigName="captured",
        ProductionVariants=[variant | {"InitialInstanceCount": 1}],
        DataCaptureConfig=given,
    )
    name = serving.create("captured")
    described = serving.wait(name)
    assert described["EndpointStatus"] == "InService", described
    assert described["DataCaptureConfig"]["CaptureStatus"] == "Started"
    config = serving.sagemaker.describe_endpoint_config(EndpointConfigName="captured")
    assert config["DataCaptureConfig"] == given

    # WHEN three calls are answered and one is not
    for number in range(3):
        serving.call(name, {"x": number})
    with pytest.raises(serving.runtime.exceptions.ModelError):
        serving.call(name, {"fail": True})

    # THEN the three are there within an AWS minute
    s3 = local_aws.client("s3")

    def there():
        found = s3.list_objects_v2(Bucket=bucket, Prefix=f"captured/{name}/v0/").get("Contents", ())
        bodies = {each["Key"]: s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in found}
        return bodies if len(lines(bodies)) == 3 else None

    wait_for(there)
    calls = [line["captureData"] for line in lines(there())]
    assert sorted(json.loads(each["endpointInput"]["data"])["x"] for each in calls) == [0, 1, 2]
    assert sorted(json.loads(each["endpointOutput"]["data"])["echo"]["x"] for each in calls) == [0, 1, 2]
    serving.delete(name)
