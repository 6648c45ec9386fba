import base64
import json
import socket
import time

import pytest
from musher.load import signed
from musher.load.targets import EndpointTarget, LambdaTarget

IMAGE = bytes(range(256)) * 20


def test_an_invocation_arrives_as_boto3_would_send_it(serve):
    server = serve()

    outcome = LambdaTarget("classifier", "live", server.client)(IMAGE)

    assert outcome.status == "succeeded"
    assert outcome.initialization == "warm"
    assert outcome.environment == "environment-1"
    assert outcome.duration_ms >= 5
    assert server.counts["last_path"] == "/2015-03-31/functions/classifier/invocations?Qualifier=live"
    assert base64.b64decode(server.counts["image"]) == IMAGE


def test_an_endpoint_gets_the_bytes_themselves(serve):
    server = serve()

    outcome = EndpointTarget("dogs", server.client)(IMAGE)

    assert outcome.status == "succeeded"
    assert server.counts["last_path"] == "/endpoints/dogs/invocations"
    assert server.counts["image"].encode("latin-1") == IMAGE


def test_the_function_s_headers_say_which_model_answered(serve):
    target = LambdaTarget("classifier", "live", serve().client)
    headers = {"x-model-weights": "0123456789abcdef", "X-Model-Name": "p-endpoint-1a2b"}
    body = json.dumps({"statusCode": 200, "headers": headers, "body": '{"predictions": []}'}).encode()

    outcome = target.classify(200, {}, body)

    assert (outcome.weights, outcome.model_name) == ("0123456789abcdef", "p-endpoint-1a2b")
    assert outcome.answer is None  # a load test keeps none
    assert target(IMAGE).weights == target(IMAGE).model_name == ""  # a function that does not say it


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json; weights=0123456789abcdef; model=p-endpoint-1a2b", ("0123456789abcdef", "p-endpoint-1a2b")),
        ('application/json;weights="0123"', ("0123", "")),
        ("application/json; weights*=utf-8'en'a; model", ("", "")),
        ("application/json", ("", "")),
        ("", ("", "")),
    ],
)
def test_the_endpoint_s_content_type_says_which_model_answered(serve, content_type, expected):
    headers = {"content-type": content_type, "x-amzn-invoked-production-variant": "AllTraffic"}

    outcome = EndpointTarget("dogs", serve().client).classify(200, headers, b"{}")

    assert (outcome.weights, outcome.model_name) == expected
    assert outcome.variant == "AllTraffic"


@pytest.mark.parametrize(("body", "expected"), [('{"predictions": [1]}', {"predictions": [1]}), ("<html>", None)])
def test_answers_are_kept_where_they_are_asked_for(serve, body, expected):
    client = serve().client
    answer = json.dumps({"statusCode": 200, "headers": {}, "body": body}).encode()

    assert LambdaTarget("classifier", "live", client, keep_answer=True).classify(200, {}, answer).answer == expected
    assert EndpointTarget("dogs", client, keep_answer=True).classify(200, {}, body.encode()).answer == expected
    assert EndpointTarget("dogs", client).classify(200, {}, body.encode()).answer is None


def test_one_variant_of_an_endpoint_is_asked_for_by_its_name(serve):
    client = serve().client
    target, named = EndpointTarget("dogs", client), EndpointTarget("dogs", client, target_variant="Shadow")

    assert (target(IMAGE).status, named(IMAGE).status) == ("succeeded", "succeeded")

    assert b"x-amzn-sagemaker-target-variant: Shadow\r\n" in named._signed[IMAGE].wire
    assert b"target-variant" not in target._signed[IMAGE].wire


def test_one_connection_serves_a_thread_s_calls(serve):
    server = serve()
    target = LambdaTarget("classifier", "live", server.client)

    for _ in range(5):
        assert target(IMAGE).status == "succeeded"

    assert server.counts["connections"] == 1 + 1  # and the one that asks for the counts


def test_signatures_are_used_again_until_they_are_old(serve, monkeypatch):
    server = serve()
    target = LambdaTarget("classifier", "live", server.client)
    target(IMAGE)
    first = target._signed[IMAGE]
    target(IMAGE)
    assert target._signed[IMAGE] is first

    monkeypatch.setattr(signed, "SIGNATURE_SECONDS", 0)
    target(IMAGE)

    assert target._signed[IMAGE] is not first
    assert b"authorization: AWS4-HMAC-SHA256 " in target._signed[IMAGE].wire


def test_reserved_concurrency_used_up_is_a_throttle_with_lambda_s_reason(serve):
    target = LambdaTarget("classifier", "live", serve().client)
    body = b'{"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "message": "Rate Exceeded."}'

    outcome = target.classify(429, {"x-amzn-errortype": "TooManyRequestsException"}, body)

    assert (outcome.status, outcome.kind) == ("throttled", "ReservedFunctionConcurrentInvocationLimitExceeded")


def test_a_throttled_endpoint_behind_the_function_is_a_failure(serve):
    outcome = LambdaTarget("classifier", "live", serve("--mode", "busy").client)(IMAGE)

    assert (outcome.status, outcome.kind) == ("failed", "function answered 503")
    assert "the endpoint is throttled" in outcome.message
    assert outcome.duration_ms is not None


def test_an_error_in_the_function_is_a_failure_with_its_type(serve):
    outcome = LambdaTarget("classifier", "live", serve("--mode", "function_error").client)(IMAGE)

    assert (outcome.status, outcome.kind, outcome.message) == ("failed", "ValueError", "the handler fell over")


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        (400, {"x-amzn-errortype": "ThrottlingException:http://x"}, b"{}", ("throttled", "ThrottlingException")),
        (424, {"x-amzn-errortype": "ModelError"}, b'{"message": "no"}', ("failed", "ModelError")),
        (502, {}, b"<html>", ("failed", "HTTP 502")),
        (500, {}, b"[1, 2]", ("failed", "HTTP 500")),
    ],
)
def test_an_endpoint_s_refusals(serve, status, headers, body, expected):
    outcome = EndpointTarget("dogs", serve().client).classify(status, headers, body)

    assert (outcome.status, outcome.kind) == expected


def test_an_answer_without_a_status_code_is_no_success(serve):
    outcome = LambdaTarget("classifier", "live", serve().client).classify(200, {}, b'"just text"')

    assert outcome.status == "failed"


def test_nobody_listening_is_an_outcome_not_an_exception(serve):
    server = serve()
    target = LambdaTarget("classifier", "live", server.client)
    server.stop()

    outcome = target(IMAGE)

    assert (outcome.status, outcome.kind) == ("failed", "ConnectionRefusedError")
    assert outcome.unreachable


def test_a_connection_the_other_side_closed_is_opened_again(serve):
    server = serve()
    target = LambdaTarget("classifier", "live", server.client)
    target(IMAGE)
    target._thread.connection.shutdown(socket.SHUT_RDWR)

    assert target(IMAGE).status == "succeeded"


def test_a_silent_server_is_a_failure_after_the_time_limit(serve):
    target = LambdaTarget("classifier", "live", serve("--service-ms", 60_000).client, timeout_seconds=0.2)

    assert (target(IMAGE).status, target(IMAGE).kind) == ("failed", "TimeoutError")


def test_the_client_s_other_calls_still_go_out(serve):
    server = serve()
    target = LambdaTarget("classifier", "live", server.client)
    target(IMAGE)

    answer = target._client.invoke(FunctionName="other", Payload=b'{"image": ""}')

    assert answer["StatusCode"] == 200
    assert "other" in server.counts["last_path"]


def test_tls_session_tickets_do_not_cost_a_second_handshake(serve, certificate, monkeypatch):
    # GIVEN a connection opened ahead of time, on which the server's tickets have arrived
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    signed._tls.cache_clear()
    server = serve("--certificate", certificate)
    target = LambdaTarget("classifier", "live", server.client)
    send = target.prepare(IMAGE, 5)
    time.sleep(0.3)

    # WHEN the request is due
    outcomes = [send(), target(IMAGE)]
    signed._tls.cache_clear()

    # THEN it leaves on that connection
    assert [outcome.status for outcome in outcomes] == ["succeeded", "succeeded"], outcomes
    assert server.counts["connections"] == 1 + 1


def test_a_server_nobody_vouches_for_is_not_talked_to(serve, certificate, monkeypatch):
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    signed._tls.cache_clear()

    outcome = LambdaTarget("classifier", "live", serve("--certificate", certificate).client)(IMAGE)

    assert (outcome.status, outcome.kind) == ("failed", "SSLCertVerificationError")
