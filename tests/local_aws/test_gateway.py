"""What every service gets from the gateway: routing, refusals in AWS's words, moto behind it."""

from __future__ import annotations

import http.client
import subprocess
import sys

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.local_aws.daemon import ROOT, refused_start


def code(call, **params):
    with pytest.raises(ClientError) as caught:
        call(**params)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def test_moto_answers_what_has_no_life_of_its_own(local_aws):
    s3 = local_aws.client("s3")
    s3.create_bucket(Bucket="gateway-moto")
    s3.put_object(Bucket="gateway-moto", Key="a folder/ü+%.txt", Body=b"x" * 3000)
    assert s3.get_object(Bucket="gateway-moto", Key="a folder/ü+%.txt")["Body"].read() == b"x" * 3000
    assert code(s3.head_object, Bucket="gateway-moto", Key="missing")[0] == "404"
    assert local_aws.client("sts").get_caller_identity()["Account"] == "123456789012"


def test_an_empty_object_is_stored(local_aws):
    s3 = local_aws.client("s3")
    s3.create_bucket(Bucket="empty-objects")
    s3.put_object(Bucket="empty-objects", Key="empty", Body=b"")
    assert s3.get_object(Bucket="empty-objects", Key="empty")["Body"].read() == b""


def test_a_large_object_arrives_in_parts(local_aws, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * 4 * 1024 * 12)
    s3 = local_aws.client("s3")
    s3.create_bucket(Bucket="gateway-large")
    s3.upload_file(str(path), "gateway-large", "large")
    s3.download_file("gateway-large", "large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("service", "operation", "params"),
    [
        ("sagemaker", "update_notebook_instance", {"NotebookInstanceName": "x"}),
        ("sagemaker", "create_processing_job", {
            "ProcessingJobName": "x", "RoleArn": "arn:aws:iam::123456789012:role/some-role",
            "ProcessingResources": {
                "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
            },
            "AppSpecification": {"ImageUri": "x"},
        }),
        ("braket", "search_jobs", {"filters": []}),
    ],
)  # fmt: skip
def test_what_nobody_supports_is_an_aws_error_that_names_the_operation(local_aws, service, operation, params):
    name, message = code(getattr(local_aws.client(service), operation), **params)
    assert name == "UnsupportedOperation", message


def test_a_request_that_breaks_a_rule_is_refused_as_aws_does(local_aws):
    cloudwatch = boto3.client(
        "cloudwatch",
        endpoint_url=local_aws.url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(parameter_validation=False, retries={"total_max_attempts": 1}),
    )
    name, message = code(cloudwatch.put_metric_data, Namespace="x" * 300, MetricData=[{"MetricName": "a", "Value": 1}])
    assert name in {"ValidationException", "ValidationError"}
    assert "length less than or equal to 255" in message


@pytest.mark.slow
def test_the_support_table_is_made_from_the_code():
    done = subprocess.run(
        [sys.executable, "-m", "local_aws", "support"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    rows = {line.split("|")[1].strip(): line for line in done.stdout.splitlines() if line.startswith("| ")}
    assert "PutMetricData" in rows["cloudwatch"]
    assert "CreateRole" in rows["iam"] or "operations" in rows["iam"]


def test_in_a_container_it_answers_by_the_name_that_it_was_given(new_local_aws):
    # GIVEN a local AWS that listens on every address, and says so
    daemon = new_local_aws(options=["--host", "0.0.0.0", "--allowed-host", "aws.internal"], anew=True)
    assert "WARNING local_aws.server: listening on 0.0.0.0" in daemon.log.read_text()
    s3 = daemon.client("s3")
    s3.create_bucket(Bucket="container")
    s3.put_object(Bucket="container", Key="key", Body=b"body")
    presigned = s3.generate_presigned_url("get_object", Params={"Bucket": "container", "Key": "key"})
    # WHEN another container asks for an object by the service's name, whose first part could be a bucket's
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)
    connection.request("GET", presigned.removeprefix(daemon.url), headers={"Host": f"aws.internal:{daemon.port}"})
    # THEN the object is in the answer
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"body")
    connection.close()


def test_a_port_in_use_and_a_folder_in_use_are_one_sentence(local_aws, tmp_path):
    def start(*arguments):
        return refused_start(tmp_path / "log", *arguments)

    status, said = start("--port", str(local_aws.port), "--state", str(tmp_path / "state"))
    assert status == 1
    assert f"port {local_aws.port}" in said
    assert "--port" in said
    assert "Traceback" not in said
    status, said = start("--port", "1", "--state", str(local_aws.state))
    assert status == 1
    assert "in use by another local AWS" in said
    assert "Traceback" not in said
    status, said = start("--minute", "2h")
    assert status == 2
    assert "2h" in said


def test_a_connection_stays_after_an_answer_without_a_body(local_aws):
    # GIVEN a bucket with an object, and one connection
    s3 = local_aws.client("s3")
    s3.create_bucket(Bucket="gateway-kept")
    s3.put_object(Bucket="gateway-kept", Key="a", Body=b"x" * 30)
    connection = http.client.HTTPConnection("127.0.0.1", local_aws.port, timeout=30)
    connection.connect()
    socket = connection.sock

    def status(method: str, key: str, **headers: str) -> int:
        path = f"/gateway-kept{key}"
        connection.request(method, path, headers=local_aws.signed("s3", method, path, headers=headers))
        answer = connection.getresponse()
        assert answer.read() == (b"x" * 30 if method == "GET" and answer.status == 200 else b"")
        return answer.status

    # WHEN it asks for what has a body, and for what has none THEN it is the same one all along
    etag = s3.head_object(Bucket="gateway-kept", Key="a")["ETag"]
    asked = [("HEAD", "/a"), ("HEAD", "/missing"), ("HEAD", ""), ("GET", "/a"), ("DELETE", "/missing"), ("GET", "/a")]
    assert [status(*each) for each in asked] == [200, 404, 200, 200, 204, 200]
    assert status("GET", "/a", **{"If-None-Match": etag}) == 304
    assert status("DELETE", "/a") == 204
    assert connection.sock is socket
    # AND one that asks to be closed is
    assert status("DELETE", "/a", Connection="close") == 204
    assert connection.sock is None
