"""A photo, asked about as a caller would: through the function and its alias. Nothing of it is kept."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from musher import names
from musher.page.aws import Aws

# Lambda's own limit of a request, with room for what is around the photo. Source: Lambda developer guide, "Quotas".
MOST_BYTES = 6 * 1024 * 1024
# A function may take its time; a second try would be a second call.
PATIENCE = {"connect_timeout": 3, "read_timeout": 60, "retries": {"total_max_attempts": 1}}
A_MINUTE = 20
AT_ONCE = 3
_BUSY = {"TooManyRequestsException", "ServiceException", "EC2ThrottledException"}


class Refused(Exception):
    """Why a photo is not asked about: `status` and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Turns:
    """How often a person may ask: so many times a minute, and so many people at a time.

    Parameters: `clock` seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: dict[str, deque[float]] = {}
        self._now = 0

    def take(self, user: str) -> None:
        """Take a turn. Raises Refused."""
        with self._lock:
            now = self._clock()
            for name in [name for name, times in self._asked.items() if not times or times[-1] <= now - 60]:
                del self._asked[name]
            times = self._asked.setdefault(user, deque(maxlen=A_MINUTE))
            if len(times) == A_MINUTE and times[0] > now - 60:
                raise Refused(429, f"{A_MINUTE} photos a minute are enough: try again in {60 - now + times[0]:.0f} s.")
            if self._now == AT_ONCE:
                raise Refused(429, "Others are trying photos at this moment: try again.")
            times.append(now)
            self._now += 1

    def give_back(self) -> None:
        with self._lock:
            self._now -= 1


def event(body: bytes) -> dict[str, str]:
    """The function's event, from a request's body. Raises Refused."""
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if not isinstance(told, dict) or not (told.keys() & {"image", "url"}):
        raise Refused(400, "The request has to be a JSON object with image (base64) or url.")
    return {name: told[name] for name in ("image", "url") if name in told}


def ask(aws: Aws, asked: Mapping[str, str]) -> dict[str, Any]:
    """What the function answers: `status` its own, `answer` its body, `milliseconds` the whole call, `function_ms` what
    the function took of them, `initialization` how its environment was started, `weights` and `model` that answered.

    Raises Refused where it did not answer.
    """
    function = names.Stack(aws.environment.project).function
    client, began = aws.client("lambda", **PATIENCE), time.monotonic()
    try:
        answer = client.invoke(FunctionName=function, Qualifier=names.ALIAS, Payload=json.dumps(asked).encode())
    except client.exceptions.ResourceNotFoundException:
        raise Refused(404, "Nothing is deployed: there is no function to ask.") from None
    except ClientError as error:
        if error.response["Error"]["Code"] in _BUSY:
            raise Refused(503, "The function has too much to do: try again.") from None
        raise Refused(502, f"AWS refused the call: {error.response['Error'].get('Message') or error}") from None
    except BotoCoreError as error:
        raise Refused(504, f"AWS does not answer: {error}") from None
    milliseconds = (time.monotonic() - began) * 1000
    try:
        told = json.loads(answer["Payload"].read())
        headers, body = told["headers"], json.loads(told["body"])
    except (ValueError, KeyError, TypeError):
        why = answer.get("FunctionError") or "its answer is none of ours"
        raise Refused(502, f"The function {function} failed ({why}); its log group says more.") from None
    return {
        "status": told["statusCode"],
        "answer": body,
        "milliseconds": round(milliseconds, 1),
        "function_ms": float(headers["x-duration-ms"]) if "x-duration-ms" in headers else None,
        "initialization": headers.get("x-initialization"),
        "weights": headers.get("x-model-weights"),
        "model": headers.get("x-model-name"),
    }
