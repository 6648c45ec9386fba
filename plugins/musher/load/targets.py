"""What the load is sent to: a Lambda function or a SageMaker endpoint."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Mapping
from email.message import Message
from functools import lru_cache
from typing import Any

from musher.load.outcome import Outcome
from musher.load.signed import ClientFactory, SignedTarget


class LambdaTarget(SignedTarget):
    """Invokes a function synchronously with one image per call: `{"image": <base64>}`, plus `event` where given.

    Throttled is a 429 with Lambda's reason. A call the function answered with a status of 400 or more, an unhandled
    error in it, or no answer at all has failed: also the 503 by which it passes on a throttled endpoint.
    """

    service = "lambda"
    operation = "Invoke"

    def __init__(
        self,
        function: str,
        qualifier: str,
        client_factory: ClientFactory,
        *,
        event: Mapping[str, Any] | None = None,
        timeout_seconds: float = 60.0,
        keep_answer: bool = False,
    ) -> None:
        super().__init__(client_factory, timeout_seconds=timeout_seconds, keep_answer=keep_answer)
        self.function = function
        self.qualifier = qualifier
        self.event = dict(event or {})

    def call(self, client: Any, payload: bytes) -> None:
        event = {**self.event, "image": base64.b64encode(payload).decode()}
        client.invoke(
            FunctionName=self.function,
            Qualifier=self.qualifier,
            InvocationType="RequestResponse",
            Payload=json.dumps(event).encode(),
        )

    def classify(self, status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
        if status != 200 or "x-amz-function-error" in headers:
            return _refusal(status, headers, body)
        answer = _as_dict(body)
        said = {str(name).lower(): str(value) for name, value in (answer.get("headers") or {}).items()}
        execution = {
            "initialization": said.get("x-initialization", ""),
            "environment": said.get("x-environment", ""),
            "started_at": _number(said.get("x-started-at")),
            "duration_ms": _number(said.get("x-duration-ms")),
            "weights": said.get("x-model-weights", ""),
            "model_name": said.get("x-model-name", ""),
        }
        code = answer.get("statusCode")
        if isinstance(code, int) and 200 <= code < 400:
            return Outcome("succeeded", answer=self._kept(answer.get("body")), **execution)
        kind = f"function answered {code}" if code is not None else "function answered without a statusCode"
        return Outcome("failed", kind, _short(answer.get("body", body)), **execution)


class EndpointTarget(SignedTarget):
    """Invokes a SageMaker endpoint with the payload as the body.

    `target_variant` names the one variant that is to answer; without it the endpoint chooses by the variants' weights.
    """

    service = "sagemaker-runtime"
    operation = "InvokeEndpoint"

    def __init__(
        self,
        endpoint: str,
        client_factory: ClientFactory,
        *,
        content_type: str = "application/x-image",
        accept: str = "application/json",
        target_variant: str = "",
        timeout_seconds: float = 60.0,
        keep_answer: bool = False,
    ) -> None:
        super().__init__(client_factory, timeout_seconds=timeout_seconds, keep_answer=keep_answer)
        self.endpoint = endpoint
        self.content_type = content_type
        self.accept = accept
        self.target_variant = target_variant

    def call(self, client: Any, payload: bytes) -> None:
        variant = {"TargetVariant": self.target_variant} if self.target_variant else {}
        client.invoke_endpoint(
            EndpointName=self.endpoint, ContentType=self.content_type, Accept=self.accept, Body=payload, **variant
        )

    def classify(self, status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
        if status != 200:
            return _refusal(status, headers, body)
        weights, model_name = _model_of(headers.get("content-type", ""))
        return Outcome(
            "succeeded",
            weights=weights,
            model_name=model_name,
            variant=headers.get("x-amzn-invoked-production-variant", ""),
            answer=self._kept(body),
        )


@lru_cache(maxsize=64)
def _model_of(content_type: str) -> tuple[str, str]:
    """The digest of the weights and the model's name that an endpoint's content type tells; "" for what it does not."""
    answer = Message()
    answer["Content-Type"] = content_type
    weights, name = (answer.get_param(told) for told in ("weights", "model"))
    return weights if isinstance(weights, str) else "", name if isinstance(name, str) else ""


def _refusal(status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
    """An answer that is an AWS error or an error of the function, by the service's JSON wire form."""
    answer = _as_dict(body)
    message = _short(answer.get("message") or answer.get("Message") or answer.get("errorMessage") or body)
    kind = headers.get("x-amzn-errortype", "").split(":")[0] or str(answer.get("errorType") or f"HTTP {status}")
    if status == 429 or "Throttl" in kind or "TooManyRequests" in kind:
        return Outcome("throttled", str(answer.get("Reason") or kind), message)
    return Outcome("failed", kind, message)


def _as_dict(body: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        answer = json.loads(body)
        if isinstance(answer, dict):
            return answer
    return {}


def _number(text: str | None) -> float | None:
    with contextlib.suppress(TypeError, ValueError):
        return float(text)  # type: ignore[arg-type]
    return None


def _short(value: Any) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= 300 else text[:299] + "…"
