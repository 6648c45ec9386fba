"""InvokeEndpoint: which instance answers, what AWS says when none can, and what is measured."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from local_aws.endpoints.client import Broken, Unreachable
from local_aws.errors import AwsError
from local_aws.services.base import RawRequest, RawResponse

if TYPE_CHECKING:
    from local_aws.aws import LocalAws
    from local_aws.endpoints.fleet import Fleet, Variant
    from local_aws.endpoints.instance import EndpointInstance

# SageMaker developer guide, "Real-time inference": 6 MB a call.
LARGEST_BODY = 6_291_456
NAMESPACE = "AWS/SageMaker"
TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for "
    "each container in Amazon CloudWatch, resolve the issue, and try again."
)


class NoInstance(Exception):
    """No instance of the chosen variant is in service."""


def invoke(aws: LocalAws, endpoint: str, fleet: Fleet, request: RawRequest, began: float) -> RawResponse:
    """Answer one InvokeEndpoint. Raises AwsError in the words of SageMaker's runtime, NoInstance.

    A request that could not be handed over (no connection to the instance) goes to another instance; one that was
    under way when its instance ended is lost, as on AWS, since it may have had its effect.
    """
    if len(request.body) > LARGEST_BODY:
        raise AwsError("413", f"HTTP content length exceeded {LARGEST_BODY} bytes.", status=413)
    variant = _variant(endpoint, fleet, request.headers.get("x-amzn-sagemaker-target-variant"))
    while True:
        taken = variant.take()
        if taken is None:
            raise NoInstance
        instance, count = taken
        started = time.perf_counter()
        try:
            status, content_type, body, attributes = instance.invoke(_headers(request), request.body)
        except Unreachable:
            variant.remove(instance)
            continue
        except (Broken, TimeoutError) as error:
            message = TIMED_OUT if isinstance(error, TimeoutError) else f"The container ended during the call: {error}"
            status, content_type, body, attributes = 0, "", message.encode(), ""
        finally:
            variant.release(instance)
        ended = time.perf_counter()
        _measure(aws, endpoint, fleet, variant, count, status, ended - started, (ended - began) - (ended - started))
        if 200 <= status < 300:
            if fleet.capture:
                fleet.capture.take(variant.name, request.headers, request.body, content_type, body)
            return RawResponse(status, _answer_headers(content_type, variant, attributes), body)
        raise _model_error(aws, endpoint, instance, status, body)


def _variant(endpoint: str, fleet: Fleet, wanted: str | None) -> Variant:
    if wanted is None:
        return fleet.choose()
    found = fleet.variant(wanted)
    if found is None:
        raise AwsError("ValidationError", f"Variant {wanted} not found for endpoint {endpoint}.")
    return found


def _headers(request: RawRequest) -> dict[str, str]:
    headers = {"Content-Type": request.headers.get("content-type") or "application/octet-stream"}
    for name in ("accept", "x-amzn-sagemaker-custom-attributes", "x-amzn-sagemaker-inference-id"):
        if name in request.headers:
            headers[name] = request.headers[name]
    return headers


def _answer_headers(content_type: str, variant: Variant, attributes: str) -> list[tuple[str, str]]:
    headers = [("Content-Type", content_type), ("x-Amzn-Invoked-Production-Variant", variant.name)]
    if attributes:
        headers.append(("X-Amzn-SageMaker-Custom-Attributes", attributes))
    return headers


def _measure(
    aws: LocalAws, endpoint: str, fleet: Fleet, variant: Variant, count: int, status: int, model: float, overhead: float
) -> None:
    put, now = aws.metrics.put, time.time()
    for dimensions in dimension_sets(endpoint, fleet, variant):
        put(NAMESPACE, "Invocations", dimensions, 1, "None", now)
        put(NAMESPACE, "InvocationsPerInstance", dimensions, 1 / count, "None", now)
        put(NAMESPACE, "Invocation4XXErrors", dimensions, float(400 <= status < 500), "None", now)
        put(NAMESPACE, "Invocation5XXErrors", dimensions, float(status >= 500 or status == 0), "None", now)
        put(NAMESPACE, "ModelLatency", dimensions, round(1e6 * model), "Microseconds", now)
        put(NAMESPACE, "OverheadLatency", dimensions, round(1e6 * overhead), "Microseconds", now)


def dimension_sets(endpoint: str, fleet: Fleet, variant: Variant) -> list[dict[str, str]]:
    """Under which dimensions a metric of a variant is published.

    AWS: SageMaker developer guide, "Auto-rollback configuration and monitoring": once an update has sent the first
    calls to its new fleet, with EndpointConfigName as well, so that an alarm can be on one of two fleets alone.
    """
    both = {"EndpointName": endpoint, "VariantName": variant.name}
    return [both, both | {"EndpointConfigName": fleet.name}] if fleet.measured_by_config else [both]


def _model_error(aws: LocalAws, endpoint: str, instance: EndpointInstance, status: int, body: bytes) -> AwsError:
    original = body.decode("utf-8", "replace")
    side = "client" if 400 <= status < 500 else "server"
    group = f"/aws/sagemaker/Endpoints/{endpoint}"
    console = f"https://{aws.region}.console.aws.amazon.com/cloudwatch/home?region={aws.region}"
    return AwsError(
        "ModelError",
        f'Received {side} error ({status}) from primary with message "{original[:2048]}". '
        f"See {console}#logEventViewer:group={group} in account {aws.account} for more information.",
        OriginalStatusCode=status or 500,
        OriginalMessage=original[:2048],
        LogStreamArn=f"arn:aws:logs:{aws.region}:{aws.account}:log-group:{group}:log-stream:{instance.stream}",
    )
