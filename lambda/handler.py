"""The function in front of the endpoint: takes a picture or its URL, answers with what the endpoint sees in it.

Event: {"url": "https://..."} or {"image": "<base64>"}, each with an optional "format": "logits"; or an API Gateway
proxy event whose body is one of these. Environment: ENDPOINT_NAME. Needs nothing but what Lambda ships (boto3).
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import os
import time
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from fetch import LARGEST, fetch
from picture import content_type
from problem import Problem

FORMATS = {"json": "application/json", "logits": "application/json; format=logits"}
THROTTLED = frozenset(
    {"ThrottlingException", "ServiceUnavailable", "ServiceUnavailableException", "TooManyRequestsException"}
)
RETRY_AFTER_SECONDS = "1"

_calls = 0


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Answer one event: {"statusCode", "headers", "body"}. Never raises for what a caller sent."""
    global _calls
    started, clock = time.time(), time.monotonic()
    _calls += 1
    try:
        status, body, more = 200, _answer(event), {}
    except Problem as problem:
        status, body, more = problem.status, json.dumps({"error": problem.message}), problem.headers
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


def _answer(event: Any) -> str:
    wanted = _request(event)
    accept = FORMATS.get(wanted.get("format") or "json") if isinstance(wanted.get("format") or "json", str) else None
    if accept is None:
        raise Problem(400, "format must be json or logits.")
    if ("url" in wanted) == ("image" in wanted):
        raise Problem(400, "the request must have either url or image, and not both.")
    name = "url" if "url" in wanted else "image"
    if not isinstance(wanted[name], str) or not wanted[name]:
        raise Problem(400, f"{name} must be a text that is not empty.")
    data = fetch(wanted["url"]) if name == "url" else _decode(wanted["image"])
    return _invoke(data, content_type(data, name), accept)


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
    if len(text) > LARGEST * 4 // 3 + 4:
        raise Problem(413, f"image has more than {LARGEST} bytes.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Problem(400, "image is no valid base64.") from None


@functools.cache
def _client() -> Any:
    # No retries: whoever calls is told at once, with Retry-After, and load that is too high is not multiplied.
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=60)
    return boto3.client("sagemaker-runtime", config=config)


def _invoke(data: bytes, kind: str, accept: str) -> str:
    endpoint = os.environ.get("ENDPOINT_NAME")
    if not endpoint:
        raise Problem(500, "the function's environment names no endpoint: ENDPOINT_NAME is missing.")
    try:
        answer = _client().invoke_endpoint(EndpointName=endpoint, ContentType=kind, Accept=accept, Body=data)
        return answer["Body"].read().decode("utf-8")
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in THROTTLED or error.response["ResponseMetadata"].get("HTTPStatusCode") in {429, 503}:
            message = f"the endpoint {endpoint!r} has too much to do; try again."
            raise Problem(503, message, {"Retry-After": RETRY_AFTER_SECONDS}) from error
        print(f"endpoint {endpoint}: {error}")
        raise Problem(502, f"the endpoint {endpoint!r} answered with the error {code}.") from error
    except (BotoCoreError, UnicodeDecodeError) as error:
        print(f"endpoint {endpoint}: {error}")
        raise Problem(502, f"the endpoint {endpoint!r} could not be reached or did not answer.") from error


if os.environ.get("AWS_LAMBDA_RUNTIME_API"):
    # Making the client takes longer than a call: it belongs into the initialisation, which nobody waits for when it is
    # provisioned.
    _client()
