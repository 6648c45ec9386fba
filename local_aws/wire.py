"""From a request on the wire to a `Call`, and from an answer or an error back to the wire.

Routing, parsing and serialising are moto's (`moto.core.routing`, `.parse`, `.serialize`), driven by botocore's
service models, for every protocol that boto3 speaks to the services here.
"""

from __future__ import annotations

import functools
import uuid
from typing import Any

from moto.core.model import OperationModel, ServiceModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.serialize import SerializationContext, get_serializer_class
from moto.core.utils import get_service_model
from werkzeug.datastructures import CombinedMultiDict, MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from local_aws.errors import AwsError

# The signing name in a request's credential scope, where it is not botocore's name of the service.
SIGNING_NAMES = {"monitoring": "cloudwatch"}


@functools.cache
def service_model(service: str) -> ServiceModel:
    return get_service_model(service)


def credentials(authorization: str | None) -> tuple[str | None, str | None, str | None]:
    """(access key, service, region) of a SigV4 Authorization header; Nones where it says nothing.

    AWS: IAM user guide, "Elements of an AWS API request signature".
    """
    if not authorization or "Credential=" not in authorization:
        return None, None, None
    scope = authorization.split("Credential=", 1)[1].split(",", 1)[0].strip().split("/")
    if len(scope) < 5:
        return scope[0], None, None
    return scope[0], SIGNING_NAMES.get(scope[-2], scope[-2]), scope[-3]


def route(service: str, request: Request) -> tuple[OperationModel, dict[str, Any]] | None:
    """The operation that a request means and its path parameters; None when there is no such operation."""
    try:
        return get_service_router(service).match(request)
    except (HTTPException, NotImplementedError):
        return None


def parse(operation: OperationModel, request: Request, path_params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a call, as boto3's caller gave them. Raises AwsError("SerializationException")."""
    protocol = determine_request_protocol(operation.service_model, request.content_type)
    try:
        return PROTOCOL_PARSERS[protocol](operation).parse(
            {
                "method": request.method,
                "values": CombinedMultiDict([request.args, request.form or MultiDict()]),
                "headers": request.headers,
                "body": request.data,
                "url_path": request.path,
                "url_params": path_params,
            }
        )
    except AwsError:
        raise
    except Exception as error:
        raise AwsError("SerializationException", f"The request could not be read: {error}") from error


def serialise(operation: OperationModel, answer: Any, content_type: str | None) -> Response:
    """An answer (a dict) or an error (AwsError) in the service's wire form."""
    model = operation.service_model
    protocol = determine_request_protocol(model, content_type)
    request_id = str(uuid.uuid4())
    serialiser = get_serializer_class(model.service_name, protocol)(operation, context=SerializationContext(request_id))
    answered = serialiser.serialize(answer)
    body, status = answered["body"], answered["status_code"]
    if isinstance(answer, AwsError) and not _is_modelled(model, answer.code):
        status = answer.status
    response = Response(body, status=status)
    response.headers.update({name: str(value) for name, value in answered["headers"].items()})
    response.headers["x-amzn-RequestId"] = request_id
    return response


def serialise_error(service: str, error: AwsError, content_type: str | None) -> Response:
    """An error of a call whose operation is not known."""
    return serialise(OperationModel({}, service_model(service), "Unknown"), error, content_type)


@functools.cache
def _error_codes(model: ServiceModel) -> frozenset[str]:
    return frozenset(
        code
        for shape in model.error_shapes
        for code in (shape.name, shape.metadata.get("error", {}).get("code"))
        if code
    )


def _is_modelled(model: ServiceModel, code: str) -> bool:
    return code in _error_codes(model)
