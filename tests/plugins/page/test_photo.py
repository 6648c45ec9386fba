"""Who may ask about photos how often, and what comes back of what a function answers."""

from __future__ import annotations

import io
import json
import types

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from musher.page import photo


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_person_asks_twenty_times_a_minute_and_others_are_not_held_up():
    clock = Clock()
    turns = photo.Turns(clock)
    for _ in range(photo.A_MINUTE):
        turns.take("a")
        turns.give_back()
    clock.now = 20.0
    with pytest.raises(photo.Refused, match=r"20 photos a minute are enough: try again in 40 s\."):
        turns.take("a")
    turns.take("b")
    turns.give_back()
    clock.now = 60.5
    turns.take("a")


def test_only_a_few_ask_at_the_same_time():
    turns = photo.Turns(Clock())
    for number in range(photo.AT_ONCE):
        turns.take(f"person {number}")
    with pytest.raises(photo.Refused, match="Others are trying photos"):
        turns.take("one more")
    turns.give_back()
    turns.take("one more")


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b"{}", b'{"format": "logits"}'])
def test_what_is_no_request_is_refused_in_a_sentence(body):
    with pytest.raises(photo.Refused, match="has to be a JSON object with image"):
        photo.event(body)


def test_only_the_photo_reaches_the_function():
    assert photo.event(b'{"url": "https://a", "format": "logits", "body": "x"}') == {"url": "https://a"}


class Missing(ClientError):
    pass


def ask(gives):
    def invoke(**asked):
        assert (asked["FunctionName"], asked["Qualifier"]) == ("p-classifier", "live")
        if isinstance(gives, Exception):
            raise gives
        return {"Payload": io.BytesIO(gives)}

    client = types.SimpleNamespace(invoke=invoke, exceptions=types.SimpleNamespace(ResourceNotFoundException=Missing))
    environment = types.SimpleNamespace(project="p")
    return photo.ask(types.SimpleNamespace(environment=environment, client=lambda *_, **__: client), {"url": "x"})


def test_an_answer_says_who_gave_it_and_how_long_it_took():
    headers = {"x-duration-ms": "12.5", "x-initialization": "warm", "x-model-weights": "abc", "x-model-name": "m"}
    told = ask(json.dumps({"statusCode": 200, "headers": headers, "body": '{"predictions": []}'}).encode())
    assert told.pop("milliseconds") >= 0
    assert told == {
        "status": 200, "answer": {"predictions": []}, "function_ms": 12.5, "initialization": "warm", "weights": "abc",
        "model": "m",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("gives", "status", "sentence"),
    [
        (Missing({"Error": {"Code": "ResourceNotFoundException"}}, "Invoke"), 404, "Nothing is deployed"),
        (ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke"), 503, "has too much to do"),
        (ClientError({"Error": {"Code": "X", "Message": "too big"}}, "Invoke"), 502, "AWS refused the call: too big"),
        (ReadTimeoutError(endpoint_url="https://lambda"), 504, "AWS does not answer"),
        (b'{"errorMessage": "Task timed out"}', 502, "The function p-classifier failed"),
        (b"null", 502, "The function p-classifier failed"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_a_sentence(gives, status, sentence):
    with pytest.raises(photo.Refused) as refused:
        ask(gives)
    assert refused.value.status == status
    assert sentence in str(refused.value)
