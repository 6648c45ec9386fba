"""The function in front of the endpoint: takes a picture or its URL, answers with what the endpoint sees in it.

Event: {"url": "https://..."} or {"image": "<base64>"}, each with an optional "format": "logits"; or an API Gateway
proxy event whose body is one of these. Environment: ENDPOINT_NAME. Needs nothing but what Lambda ships (boto3).

Answer: {"statusCode", "headers", "body"}, the body always JSON: the endpoint's words, or {"error": "<a sentence>"}.
Where the endpoint's content type says which model answered, the headers x-model-weights and x-model-name do so too.
4xx is the caller's or the picture's fault (400, 408, 413, 415, or what the endpoint said of the picture); 503 with
Retry-After means too much to do, 502 an endpoint that failed, 504 one that did not answer before the function's own
time was up, 500 a fault of the function.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import os
import time
import traceback
from email.message import Message
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from fetch import fetch
from in_time import in_time
from picture import MOST_BYTES, content_type
from problem import Problem

FORMATS = {"json": "application/json", "logits": "application/json; format=logits"}
THROTTLED = frozenset(
    {"ThrottlingException", "ServiceUnavailable", "ServiceUnavailableException", "TooManyRequestsException"}
)
RETRY_AFTER_SECONDS = "1"
# What is kept of a call's time for the answer: Lambda ends a call at its time-out, and its caller learns nothing then.
MARGIN_SECONDS, MARGIN_SHARE = 1.0, 0.1
MOST_OF_A_REASON = 300
# The parameters of the endpoint's content type that are passed on, and as what.
MODEL_HEADERS = {"weights": "x-model-weights", "model": "x-model-name"}

_calls = 0


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Answer one event: {"statusCode", "headers", "body"}. Never raises."""
    global _calls
    started, clock = time.time(), time.monotonic()
    _calls += 1
    try:
        status = 200
        body, more = _answer(event, clock + _seconds(context))
    except Problem as problem:
        status, body, more = problem.status, json.dumps({"error": problem.message}), problem.headers
    except Exception as error:
        traceback.print_exc()
        status, body, more = 500, json.dumps({"error": f"the function failed: {type(error).__name__}."}), {}
    headers = {
        "Content-Type": "application/json",
        "x-initialization": _initialization(),
        "x-environment": getattr(context, "log_stream_name", ""),
        "x-started-at": f"{started:.6f}",
        "x-duration-ms": f"{(time.monotonic() - clock) * 1000:.3f}",
        **more,
    }
    return {"statusCode": status, "headers": headers, "body": body}


def _initialization() -> str:
    """How this environment was started for this call: cold (the caller waited for it), provisioned, or warm."""
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "provisioned-concurrency":
        return "provisioned"
    return "cold" if _calls == 1 else "warm"


def _seconds(context: Any) -> float:
    """How long this call may work before it has to answer; without end where nothing says how long it may take."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    if remaining is None:
        return float("inf")
    seconds = remaining() / 1000
    return seconds - min(MARGIN_SECONDS, MARGIN_SHARE * seconds)


def _answer(event: Any, ends: float) -> tuple[str, dict[str, str]]:
    wanted = _request(event)
    accept = FORMATS.get(wanted.get("format") or "json") if isinstance(wanted.get("format") or "json", str) else None
    if accept is None:
        raise Problem(400, "format must be json or logits.")
    if ("url" in wanted) == ("image" in wanted):
        raise Problem(400, "the request must have either url or image, and not both.")
    name = "url" if "url" in wanted else "image"
    if not isinstance(wanted[name], str) or not wanted[name]:
        raise Problem(400, f"{name} must be a text that is not empty.")
    data = fetch(wanted["url"], ends - time.monotonic()) if name == "url" else _decode(wanted["image"])
    return _invoke(data, content_type(data, name), accept, ends)


def _request(event: Any) -> dict[str, Any]:
    """The request in an event: itself, or the body of an API Gateway proxy event."""
    if not isinstance(event, dict):
        raise Problem(400, "the event must be an object with url or image.")
    if "body" not in event or "url" in event or "image" in event:
        return event
    body = event["body"] or ""
    try:
        if event.get("isBase64Encoded"):
            body = base64.b64decode(body, validate=True)
        wanted = json.loads(body)
    except (ValueError, TypeError, RecursionError):
        raise Problem(400, "body is no JSON: it must be an object with url or image.") from None
    if not isinstance(wanted, dict):
        raise Problem(400, "body must be a JSON object with url or image.")
    return wanted


def _decode(text: str) -> bytes:
    if len(text) > MOST_BYTES * 4 // 3 + 4:
        raise Problem(413, f"image has more than {MOST_BYTES} bytes.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Problem(400, "image is no valid base64.") from None


@functools.cache
def _client() -> Any:
    # No retries: whoever calls is told at once, with Retry-After, and load that is too high is not multiplied.
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=60)
    return boto3.client("sagemaker-runtime", config=config)


def _invoke(data: bytes, kind: str, accept: str, ends: float) -> tuple[str, dict[str, str]]:
    """The endpoint's words, and the headers that say which model they are from."""
    endpoint = os.environ.get("ENDPOINT_NAME")
    if not endpoint:
        raise Problem(500, "the function's environment names no endpoint: ENDPOINT_NAME is missing.")
    client = _client()

    def ask() -> tuple[str, dict[str, str]]:
        answer = client.invoke_endpoint(EndpointName=endpoint, ContentType=kind, Accept=accept, Body=data)
        text = answer["Body"].read().decode("utf-8")
        json.loads(text)  # the caller is promised JSON
        return text, _of_which_model(answer.get("ContentType"))

    try:
        return in_time(ask, ends - time.monotonic())
    except TimeoutError as error:
        print(f"endpoint {endpoint}: no answer in time")
        raise Problem(504, f"the endpoint {endpoint!r} did not answer in time.") from error
    except ClientError as error:
        print(f"endpoint {endpoint}: {error}")
        raise _refusal(endpoint, error.response) from error
    except Exception as error:  # botocore's own, and what slips through it: a connection that breaks within an answer
        print(f"endpoint {endpoint}: {type(error).__name__}: {error}")
        raise Problem(502, f"the endpoint {endpoint!r} could not be reached or did not answer.") from error


def _of_which_model(content_type: Any) -> dict[str, str]:
    """The headers on the model that answered; those the endpoint does not tell are left out."""
    answer = Message()
    answer["Content-Type"] = str(content_type or "")
    told = {name: answer.get_param(name) for name in MODEL_HEADERS}
    return {MODEL_HEADERS[name]: value for name, value in told.items() if value and isinstance(value, str)}


def _refusal(endpoint: str, answer: dict[str, Any]) -> Problem:
    """What the caller is told when the endpoint answered with an error.

    A ModelError has the status of the container in OriginalStatusCode (SageMaker API reference, InvokeEndpoint): where
    that says that the request was at fault, the picture was.
    """
    code = str(answer.get("Error", {}).get("Code") or "without a name")
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    original = answer.get("OriginalStatusCode")
    if code in THROTTLED or status in {429, 503} or original in {429, 503}:
        message = f"the endpoint {endpoint!r} has too much to do; try again."
        return Problem(503, message, {"Retry-After": RETRY_AFTER_SECONDS})
    if code == "ModelError" and isinstance(original, int) and 400 <= original < 500:
        reason = " ".join(str(answer.get("OriginalMessage") or "no reason was given").split())[:MOST_OF_A_REASON]
        return Problem(original, f"the endpoint {endpoint!r} refused the picture: {reason.rstrip('.')}.")
    return Problem(502, f"the endpoint {endpoint!r} answered with the error {code}.")


if os.environ.get("AWS_LAMBDA_RUNTIME_API"):
    # Making the client takes longer than a call: it belongs into the initialisation, which nobody waits for when it is
    # provisioned.
    _client()
