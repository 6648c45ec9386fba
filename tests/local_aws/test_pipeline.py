"""The one way of every call: who is meant, how a body is read, what the models refuse, what was passed."""

from __future__ import annotations

import gzip
import http.client
import json
import time

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.parsers import RpcV2CBORParser, create_parser
from botocore.serialize import create_serializer

from local_aws.errors import AwsError
from local_aws.pipeline import checks, directory, identify
from local_aws.pipeline.reading import json_object, reader

SCOPE = "AWS4-HMAC-SHA256 Credential=AKIATEST/20260101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"


def ask(daemon, method: str, path: str, body: bytes = b"", *, signed_as: str | None = None, **headers: str):
    """(status, headers, body) of a request that no SDK would send; an underscore in a header's name is a hyphen."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if signed_as:
        given = daemon.signed(signed_as, method, path, body, given)
    connection.request(method, path, body, given)
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return found


def unchecked(daemon, service: str):
    """A client that lets everything through to the service."""
    return boto3.client(
        service, endpoint_url=daemon.url, region_name="us-east-1", aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(parameter_validation=False, retries={"total_max_attempts": 1}),
    )  # fmt: skip


def code_of(call, **params) -> str:
    with pytest.raises(ClientError) as caught:
        call(**params)
    return caught.value.response["Error"]["Code"]


# --- identify


def test_the_services_known_by_heart_are_those_of_botocore():
    named = directory.directory().by_signing_name
    assert {name: set(services) for name, services in directory.COMMON.items()} == {
        name: set(named[name]) for name in directory.COMMON
    }
    assert all(services[0] == named[name][0] for name, services in directory.COMMON.items())


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (None, (None, None, None)),
        ("Bearer x", (None, None, None)),
        ("AWS AKIA:signature", ("AKIA", "s3", None)),
        (SCOPE.format("lambda"), ("AKIATEST", "lambda", "us-east-1")),
        ("AWS4-HMAC-SHA256 Credential=a/b/20260101/eu-west-1/S3/aws4_request", ("a/b", "s3", "eu-west-1")),
        ("AWS4-HMAC-SHA256 Credential=AKIA", ("AKIA", None, None)),
    ],
)
def test_who_has_signed(authorization, expected):
    assert identify.credentials(authorization) == expected


def test_a_call_that_cannot_be_told_is_refused_in_the_form_of_the_service_that_it_names(local_aws):
    json_type = {"Content_Type": "application/x-amz-json-1.1"}
    status, _, body = ask(
        local_aws, "POST", "/", b"{}", signed_as="sagemaker", X_Amz_Target="SageMaker.MakeCoffee", **json_type
    )
    assert (status, json.loads(body)["__type"]) == (400, "UnknownOperationException")
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    status, _, body = ask(local_aws, "POST", "/", b"Action=MakeCoffee&Version=2010-05-08", signed_as="iam", **form)
    assert status == 400
    assert b"<Code>InvalidAction</Code>" in body
    status, headers, _ = ask(local_aws, "GET", "/2015-03-31/coffee", signed_as="lambda")
    assert (status, headers["x-amzn-errortype"]) == (404, "UnknownOperationException")
    status, _, body = ask(local_aws, "PATCH", "/bucket/key", signed_as="s3")
    assert status == 501
    assert b"<Code>NotImplemented</Code>" in body
    status, _, body = ask(local_aws, "PATCH", "/bucket", signed_as="s3")
    assert status == 405
    assert b"<Code>MethodNotAllowed</Code>" in body
    status, headers, _ = ask(local_aws, "GET", "/", signed_as="coffee")
    assert (status, headers["x-amzn-errortype"]) == (403, "InvalidSignatureException")


def test_no_call_is_answered_as_another_service(local_aws):
    # GIVEN what moto would take for S3's, since nothing is signed
    status, _, body = ask(
        local_aws, "POST", "/", b"{}", X_Amz_Target="SageMaker.ListModels", Content_Type="application/x-amz-json-1.1"
    )
    assert (status, json.loads(body)["__type"]) == (403, "MissingAuthenticationTokenException")
    status, _, body = ask(
        local_aws, "POST", "/", b"Action=GetCallerIdentity&Version=2011-06-15",
        Content_Type="application/x-www-form-urlencoded",
    )  # fmt: skip
    assert status == 403
    assert b"<Code>MissingAuthenticationToken</Code>" in body
    # AND an object whose name is like a path of Lambda's
    local_aws.client("s3").create_bucket(Bucket="2015-03-31")
    status, _, body = ask(local_aws, "POST", "/2015-03-31/functions/x/invocations", b"{}", signed_as="s3")
    assert b"of s3" in body
    assert ask(local_aws, "PUT", "/2015-03-31/functions/x/invocations", b"{}", signed_as="s3")[0] == 200


# --- decode and parse


def test_a_gzipped_body_is_read(local_aws):
    cloudwatch = boto3.client(
        "cloudwatch", endpoint_url=local_aws.url, region_name="us-east-1", aws_access_key_id="test",
        aws_secret_access_key="test", config=Config(request_min_compression_size_bytes=1),
    )  # fmt: skip
    data = [{"MetricName": f"metric-{number}", "Value": number} for number in range(100)]
    cloudwatch.put_metric_data(Namespace="pipeline/gzip", MetricData=data)
    assert len(cloudwatch.list_metrics(Namespace="pipeline/gzip")["Metrics"]) == 100


def test_a_body_that_is_not_what_its_type_says_is_a_serialization_exception(local_aws):
    target = {"X_Amz_Target": "SageMaker.ListModels", "Content_Type": "application/x-amz-json-1.1"}
    bodies = [b"{", b"[]", b'"x"', b'{"MaxResults": "5"}', b'{"NameContains": 5}', b'{"CreationTimeAfter": "never"}']
    for body in [*bodies, b'{"x": ' * 100_000]:
        status, _, answer = ask(local_aws, "POST", "/", body, signed_as="sagemaker", **target)
        assert (status, json.loads(answer)["__type"]) == (400, "SerializationException"), body[:50]
    status, headers, _ = ask(local_aws, "POST", "/2015-03-31/functions", b"{", signed_as="lambda")
    assert (status, headers["x-amzn-errortype"]) == (400, "SerializationException")
    for body in (b"no gzip", gzip.compress(b"{}")[:-6]):
        status, _, answer = ask(
            local_aws, "POST", "/", body, signed_as="sagemaker", Content_Encoding="gzip", **target
        )  # fmt: skip
        assert (status, json.loads(answer)["__type"]) == (400, "SerializationException")
    assert ask(local_aws, "POST", "/b?delete", b"<Delete>", signed_as="s3")[0] == 400


def in_cbor(daemon, operation: str, **params):
    """A call in Smithy's RPC v2 CBOR, as botocore would write it: its status and its answer."""
    model = directory.operation("cloudwatch", operation)
    request = create_serializer("smithy-rpc-v2-cbor").serialize_to_request(params, model)
    headers = {"smithy_protocol": "rpc-v2-cbor", "Content_Type": "application/cbor", "Accept": "application/cbor"}
    body = request["body"] if isinstance(request["body"], bytes) else bytes(request["body"])
    status, answered, content = ask(
        daemon, "POST", request["url_path"], body, signed_as="monitoring", **headers
    )  # fmt: skip
    assert answered["smithy-protocol"] == "rpc-v2-cbor"
    response = {"status_code": status, "headers": answered, "body": content}
    return status, create_parser("smithy-rpc-v2-cbor").parse(response, model.output_shape)


def test_cbor_is_spoken_for_our_own_operations_and_for_moto(local_aws):
    now = time.time()
    datum = {"MetricName": "m", "Value": 1.5, "Timestamp": now, "Dimensions": [{"Name": "a", "Value": "ü"}]}
    assert in_cbor(local_aws, "PutMetricData", Namespace="pipeline/cbor", MetricData=[datum])[0] == 200
    status, found = in_cbor(local_aws, "GetMetricStatistics", Namespace="pipeline/cbor", MetricName="m", Period=60,
                            StartTime=now - 600, EndTime=now + 60, Statistics=["Sum"],
                            Dimensions=datum["Dimensions"])  # fmt: skip
    assert (status, [each["Sum"] for each in found["Datapoints"]]) == (200, [1.5])
    assert in_cbor(local_aws, "PutDashboard", DashboardName="cbor", DashboardBody='{"widgets": []}')[0] == 200
    status, found = in_cbor(local_aws, "ListDashboards")
    assert "cbor" in [each["DashboardName"] for each in found["DashboardEntries"]]
    status, found = in_cbor(local_aws, "DeleteAlarms", AlarmNames=["no such alarm"])
    assert (status, found["Error"]["Code"]) == (404, "ResourceNotFound")
    status, found = in_cbor(local_aws, "PutMetricData", Namespace="x" * 300, MetricData=[datum])
    assert (status, found["Error"]["Code"]) == (400, "ValidationError")
    headers = {"smithy_protocol": "rpc-v2-cbor", "Content_Type": "application/cbor"}
    path = "/service/GraniteServiceVersion20100801/operation/PutMetricData"
    status, _, content = ask(local_aws, "POST", path, b"\xff", signed_as="monitoring", **headers)
    decoder = RpcV2CBORParser()
    error = decoder.parse_data_item(decoder.get_peekable_stream_from_bytes(content))
    assert (status, error["__type"]) == (400, "SerializationException")


def test_what_a_shape_reads():
    read = reader(directory.operation("cloudwatch", "PutMetricData").input_shape)
    found = read({"Namespace": "a", "Unknown": 1, "MetricData": [{"MetricName": "m", "Timestamp": 0, "Value": 1}]}, "")
    assert set(found) == {"Namespace", "MetricData"}
    assert found["MetricData"][0]["Timestamp"].isoformat() == "1970-01-01T00:00:00+00:00"
    assert json_object(b"") == {}
    for wrong in ({"Namespace": 1}, {"MetricData": {}}, {"MetricData": [[]]}, {"MetricData": [{"Value": True}]}):
        with pytest.raises(AwsError, match="cannot be converted"):
            read(wrong, "")


def test_regions_are_kept_apart(local_aws):
    # GIVEN an alarm and a model in the daemon's region
    here, there = (
        {name: boto3.client(name, endpoint_url=local_aws.url, region_name=region, aws_access_key_id="test",
                            aws_secret_access_key="test", config=Config(retries={"total_max_attempts": 1}))
         for name in ("cloudwatch", "lambda", "sagemaker-runtime", "logs")}
        for region in ("us-east-1", "eu-central-1")
    )  # fmt: skip
    here["logs"].create_log_group(logGroupName="kept-apart")
    # WHEN another region is asked THEN it says that nothing of ours lives there, and moto's are apart
    for call, params in (
        (there["cloudwatch"].describe_alarms, {}),
        (there["lambda"].list_functions, {}),
        (there["sagemaker-runtime"].invoke_endpoint, {"EndpointName": "x", "Body": b""}),
    ):
        with pytest.raises(ClientError, match="in us-east-1 alone, not in eu-central-1") as caught:
            call(**params)
        assert caught.value.response["Error"]["Code"] == "UnsupportedOperation"
    assert here["logs"].describe_log_groups(logGroupNamePrefix="kept-apart")["logGroups"]
    assert there["logs"].describe_log_groups(logGroupNamePrefix="kept-apart")["logGroups"] == []


# --- validate


def test_what_moto_answers_is_validated_too(local_aws):
    assert code_of(unchecked(local_aws, "iam").create_role, RoleName="a role", AssumeRolePolicyDocument="{}") == (
        "ValidationError"
    )
    assert code_of(unchecked(local_aws, "logs").create_log_group, logGroupName="what?") == "InvalidParameterException"
    assert code_of(unchecked(local_aws, "sagemaker").create_model, ModelName="m_0") == "ValidationException"
    assert code_of(unchecked(local_aws, "events").put_rule) == "ValidationException"
    ec2 = unchecked(local_aws, "ec2")
    assert code_of(ec2.delete_security_group, GroupId="sg-1", DryRun=False) != "MissingParameter"
    assert code_of(ec2.create_key_pair) == "MissingParameter"
    s3 = unchecked(local_aws, "s3")
    s3.create_bucket(Bucket="pipeline-validated")
    put = {"Bucket": "pipeline-validated", "Key": "a", "Body": b""}
    assert code_of(s3.put_object, StorageClass="COLD", **put) == "InvalidStorageClass"
    assert code_of(s3.put_object, ServerSideEncryption="rot13", **put) == "InvalidArgument"


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("[a-z]+", "abc", "abc1"),
        (r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$", "schön: 1", "no!"),
        (r"\p{ASCII}*", "plain", "schön"),
        (r"\d+", "12", "١٢"),
    ],
)
def test_a_pattern_of_java_for_python(pattern, matching, other):
    compiled = checks.compiled(pattern)
    assert compiled.fullmatch(matching)
    assert not compiled.fullmatch(other)


@pytest.mark.parametrize("pattern", [r"[a-z&&[^b]]+", r"\P{C}+", "(?<name>a)", r"[\p{C}]", "[[a]b]"])
def test_a_pattern_that_python_cannot_read_refuses_nothing(pattern):
    assert checks.compiled(pattern) is None


def test_every_problem_is_named():
    check = checks.check(directory.operation("sagemaker", "CreateEndpoint"), "sagemaker")
    with pytest.raises(AwsError) as caught:
        check({"EndpointName": "a_b", "Tags": [{"Key": "k" * 200, "Value": ""}]})
    assert caught.value.code == "ValidationException"
    assert caught.value.message.startswith("3 validation errors detected: Value 'null' at 'endpointConfigName'")
    assert "'tags.1.member.key'" in caught.value.message
    assert "Member must satisfy regular expression pattern" in caught.value.message
