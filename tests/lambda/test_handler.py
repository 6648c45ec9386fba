"""The function's answers, with an endpoint that speaks sagemaker-runtime over HTTP."""

from __future__ import annotations

import base64
import functools
import json
import threading
import time
from types import SimpleNamespace

import handler
import pytest
from botocore.exceptions import ClientError

CONTEXT = SimpleNamespace(log_stream_name="stream", get_remaining_time_in_millis=lambda: 30_000)
INVOCATIONS = "/endpoints/pictures/invocations"


def call(event, context=CONTEXT):
    return handler.handler(event, context)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("form", ["image", "body", "base64 body", "url"])
def test_a_picture_is_answered_with_the_endpoints_words(endpoint, answer, jpeg, monkeypatch, form):
    monkeypatch.setenv("ALLOWED_PRIVATE_HOSTS", endpoint.host)
    endpoint.answers["/a.jpg"] = answer(jpeg())
    request = {"image": encoded(jpeg())}
    event = {
        "image": request,
        "url": {"url": f"http://{endpoint.host}/a.jpg"},
        "body": {"body": json.dumps(request)},
        "base64 body": {"body": encoded(json.dumps(request).encode()), "isBase64Encoded": True},
    }[form]
    result = call(event)
    assert (result["statusCode"], json.loads(result["body"])) == (200, {"predictions": []})
    _, headers, body = endpoint.requests[-1]
    assert (headers["Content-Type"], headers["Accept"], body) == ("image/jpeg", "application/json", jpeg())


def test_logits_on_request(endpoint, png):
    call({"image": encoded(png()), "format": "logits"})
    assert endpoint.requests[-1][1]["Accept"] == "application/json; format=logits"
    assert endpoint.requests[-1][1]["Content-Type"] == "image/png"


def test_the_headers_say_how_and_where_it_ran(endpoint, png, monkeypatch):
    monkeypatch.setattr(handler, "_calls", 0)
    found = [call({"image": encoded(png())})["headers"] for _ in range(2)]
    assert [each["x-initialization"] for each in found] == ["cold", "warm"]
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "provisioned-concurrency")
    assert call({})["headers"]["x-initialization"] == "provisioned"
    assert found[0]["x-environment"] == "stream"
    assert float(found[0]["x-started-at"]) > 0
    assert float(found[0]["x-duration-ms"]) >= 0


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json; weights=0123456789abcdef; model=p-endpoint-1a2b",
         {"x-model-weights": "0123456789abcdef", "x-model-name": "p-endpoint-1a2b"}),
        ('Application/JSON;Weights="0123";charset=utf-8', {"x-model-weights": "0123"}),
        ("application/json", {}),  # a model of somebody else's, or an older one
        (None, {}),
        ("", {}),
        ("application/json; weights=; model", {}),
        ("application/json; weights*=utf-8'en'a%20b", {}),
        (";;weights=0123;;=;model=a", {"x-model-weights": "0123", "x-model-name": "a"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("wanted", ["json", "logits"])
def test_the_headers_say_which_model_answered(endpoint, answer, png, content_type, expected, wanted):
    said = {} if content_type is None else {"Content_Type": content_type}
    endpoint.answers[INVOCATIONS] = answer(b"[]", **said)
    result = call({"image": encoded(png()), "format": wanted})
    assert result["statusCode"] == 200
    found = {name: value for name, value in result["headers"].items() if name.startswith("x-model-")}
    assert found == expected


@pytest.mark.parametrize(
    ("event", "status", "field"),
    [
        (None, 400, "event"),
        ({}, 400, "url"),
        ({"url": "http://a/", "image": "aa"}, 400, "both"),
        ({"url": 5}, 400, "url"),
        ({"image": ""}, 400, "image"),
        ({"image": "not base64!"}, 400, "image"),
        ({"image": encoded(b"%PDF-1.7" + bytes(50))}, 415, "image"),
        ({"image": "a" * 8_000_000}, 413, "image"),
        ({"image": "aaaa", "format": "xml"}, 400, "format"),
        ({"image": "aaaa", "format": ["logits"]}, 400, "format"),
        ({"body": "{"}, 400, "body"),
        ({"body": "[]"}, 400, "body"),
        ({"body": None}, 400, "body"),
        ({"body": "!", "isBase64Encoded": True}, 400, "body"),
        ({"url": "file:///proc/self/environ"}, 400, "url"),
    ],
)
def test_bad_input_is_one_sentence_that_names_the_field(endpoint, event, status, field):
    result = call(event)
    message = json.loads(result["body"])["error"]
    assert result["statusCode"] == status
    assert field in message
    assert message.endswith(".")
    assert endpoint.requests == []


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_pictures_of_insane_size_or_cut_off(endpoint, jpeg, png, kind):
    make = {"jpeg": jpeg, "png": png}[kind]
    assert call({"image": encoded(make(7, 100))})["statusCode"] == 400
    assert call({"image": encoded(make(60_000, 60_000))})["statusCode"] == 413
    whole = make()
    for length in range(8, len(whole) - 2):
        assert call({"image": encoded(whole[:length])})["statusCode"] == 400, length
    assert endpoint.requests == []


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("ModelError", 424, 502),
        ("ThrottlingException", 400, 503),
        ("ServiceUnavailable", 503, 503),
        ("ValidationError", 400, 502),
    ],
)
def test_an_endpoints_errors(endpoint, answer, png, code, status, expected):
    body = json.dumps({"message": "no"}).encode()
    endpoint.answers[INVOCATIONS] = answer(body, status, x_amzn_ErrorType=code)
    result = call({"image": encoded(png())})
    assert result["statusCode"] == expected
    assert ("Retry-After" in result["headers"]) == (expected == 503)
    assert len(endpoint.requests) == 1


def test_an_endpoint_that_is_not_there(endpoint, png, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    handler._client.cache_clear()
    assert call({"image": encoded(png())})["statusCode"] == 502


def raw(data: bytes):
    """An answer byte for byte, after which the connection is closed."""

    def send(handler):
        handler.wfile.write(data)
        handler.close_connection = True

    return send


@pytest.mark.parametrize(
    "fault",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\xff\xfe\xfd",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        b"HTTP/1.1 500 X\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 400 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 424 X\r\nx-amzn-ErrorType: ModelError\r\nContent-Length: 3\r\n\r\n[1]",
        b"HTTP/1.1 424 X\r\nx-amzn-ErrorType: ModelError\r\nContent-Length: 4\r\n\r\nnull",
    ],
)
def test_whatever_an_endpoint_answers_the_caller_gets_a_sentence(endpoint, png, fault):
    endpoint.answers[INVOCATIONS] = raw(fault)
    result = call({"image": encoded(png())})
    assert result["statusCode"] == 502
    assert "endpoint 'pictures'" in json.loads(result["body"])["error"]


def test_an_error_without_metadata_and_one_of_no_kind_are_answered(endpoint, png, monkeypatch):
    def fails(error):
        def invoke(**_):
            raise error

        return SimpleNamespace(invoke_endpoint=invoke)

    for error in (ClientError({}, "InvokeEndpoint"), RuntimeError("broken"), SystemError()):
        monkeypatch.setattr(handler, "_client", functools.cache(lambda error=error: fails(error)))
        assert call({"image": encoded(png())})["statusCode"] == 502


def test_a_fault_of_the_function_is_answered_too(endpoint, png, monkeypatch, capsys):
    monkeypatch.setattr(handler, "content_type", lambda *_: 1 / 0)
    result = call({"image": encoded(png())})
    assert (result["statusCode"], json.loads(result["body"])) == (
        500,
        {"error": "the function failed: ZeroDivisionError."},
    )
    assert "x-duration-ms" in result["headers"]
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["silent", "drips"])
def test_an_endpoint_that_takes_too_long_is_answered_for_before_the_functions_time_is_up(endpoint, png, what):
    left = threading.Event()

    def slow(handler):
        if what == "drips":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not left.wait(0.05):
            if what == "drips":
                handler.wfile.write(b" ")

    endpoint.answers[INVOCATIONS] = slow
    started = time.monotonic()
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 600)
    result = call({"image": encoded(png())}, context)
    left.set()
    assert result["statusCode"] == 504
    assert "'pictures' did not answer in time" in json.loads(result["body"])["error"]
    assert time.monotonic() - started < 20  # without a limit: 60 s of silence, 50 s of drops


def test_a_url_has_no_more_time_than_the_function_itself(endpoint, monkeypatch):
    monkeypatch.setenv("ALLOWED_PRIVATE_HOSTS", endpoint.host)
    left = threading.Event()
    endpoint.answers["/slow"] = lambda _: left.wait(60)
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 500)
    result = call({"url": f"http://{endpoint.host}/slow"}, context)
    left.set()
    assert (result["statusCode"], json.loads(result["body"])) == (
        408,
        {"error": "url did not answer in full within 0.45 seconds."},
    )


@pytest.mark.parametrize(("original", "expected"), [(400, 400), (413, 413), (415, 415), (429, 503), (500, 502)])
def test_a_picture_that_the_endpoint_refuses_is_the_pictures_fault(endpoint, answer, png, original, expected):
    said = {"OriginalStatusCode": original, "OriginalMessage": "the body cannot be decoded:\n no picture."}
    body = json.dumps({"message": "Received client error", **said}).encode()
    endpoint.answers[INVOCATIONS] = answer(body, 424, x_amzn_ErrorType="ModelError")
    result = call({"image": encoded(png())})
    assert result["statusCode"] == expected
    if expected == original:
        sentence = "the endpoint 'pictures' refused the picture: the body cannot be decoded: no picture."
        assert json.loads(result["body"]) == {"error": sentence}
