"""The function's answers, with an endpoint that speaks sagemaker-runtime over HTTP."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace

import handler
import pytest

CONTEXT = SimpleNamespace(log_stream_name="stream")


def call(event):
    return handler.handler(event, CONTEXT)


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
    ("event", "status", "field"),
    [
        (None, 400, "event"),
        ({}, 400, "url"),
        ({"url": "http://a/", "image": "aa"}, 400, "both"),
        ({"url": 5}, 400, "url"),
        ({"image": ""}, 400, "image"),
        ({"image": "not base64!"}, 400, "image"),
        ({"image": encoded(b"GIF89a" + bytes(50))}, 415, "image"),
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
    endpoint.answers["/endpoints/pictures/invocations"] = answer(body, status, x_amzn_ErrorType=code)
    result = call({"image": encoded(png())})
    assert result["statusCode"] == expected
    assert ("Retry-After" in result["headers"]) == (expected == 503)
    assert len(endpoint.requests) == 1


def test_an_endpoint_that_is_not_there(endpoint, png, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    handler._client.cache_clear()
    assert call({"image": encoded(png())})["statusCode"] == 502
