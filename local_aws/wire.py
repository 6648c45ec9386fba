"""From an answer or an error back to the wire, in the protocol that the call came in.

Serialising is moto's (`moto.core.serialize`), driven by botocore's service models; CBOR is botocore's.
"""

from __future__ import annotations

import datetime as dt
import functools
import uuid
import warnings
from collections.abc import Mapping
from typing import Any

from botocore.model import DenormalizedStructureBuilder
from botocore.serialize import RpcV2CBORSerializer
from moto.core.model import OperationModel, ServiceModel
from moto.core.serialize import SerializationContext, get_serializer_class
from werkzeug.wrappers import Response

from local_aws.errors import AwsError
from local_aws.pipeline.directory import model as service_model
from local_aws.pipeline.identify import CBOR

# AWS's common errors are in no service's model.
warnings.filterwarnings("ignore", r".* does not match an error shape", module="moto.core.serialize")

ERROR_SHAPE = (
    DenormalizedStructureBuilder()
    .with_members({"__type": {"type": "string"}, "message": {"type": "string"}})
    .build_model()
)


def serialise(operation: OperationModel, answer: Any, protocol: str) -> Response:
    """An answer (a dict) or an error (AwsError) in the service's wire form."""
    model = operation.service_model
    if isinstance(answer, AwsError):
        answer = _as_in_queries(model, answer)
    request_id = getattr(answer, "request_id", None) or str(uuid.uuid4())
    if protocol == CBOR:
        return _cbor(operation, answer, request_id)
    serialiser = get_serializer_class(model.service_name, protocol)(operation, context=SerializationContext(request_id))
    answered = serialiser.serialize(answer)
    body, status = answered["body"], answered["status_code"]
    if isinstance(answer, AwsError) and not _is_modelled(model, answer.code):
        status = answer.status
    response = Response(body, status=status)
    response.headers.update({name: str(value) for name, value in answered["headers"].items()})
    response.headers["x-amzn-RequestId"] = request_id
    return response


def serialise_error(service: str, error: AwsError, protocol: str, operation: OperationModel | None = None) -> Response:
    """An error, of a call whose operation may not be known."""
    return serialise(operation or OperationModel({}, service_model(service), "Unknown"), error, protocol)


def _as_in_queries(model: ServiceModel, error: AwsError) -> AwsError:
    """The error under the code that clients of a service know that spoke in queries before it spoke otherwise.

    Source: Smithy 2.0, "awsQueryCompatible trait": what newer protocols say has to be what was said before.
    """
    spoken = model.metadata.get("protocols", [model.metadata.get("protocol")])
    if error.code != "ValidationException" or "query" not in spoken or _is_modelled(model, error.code):
        return error
    return AwsError("ValidationError", error.message, status=error.status)


def _cbor(operation: OperationModel, answer: Any, request_id: str) -> Response:
    """Smithy RPC v2 CBOR; source: Smithy 2.0, "Smithy RPC v2 CBOR protocol"."""
    writer, body = RpcV2CBORSerializer(), bytearray()
    status = 200
    if isinstance(answer, AwsError):
        shape: Any = next((each for each in operation.service_model.error_shapes if each.name == answer.code), None)
        error = shape.metadata.get("error", {}) if shape is not None else {}
        status = error.get("httpStatusCode", answer.status)
        writer._serialize_type_structure(body, {"__type": answer.code, "message": answer.message}, ERROR_SHAPE, None)
    else:
        shape = operation.output_shape
        writer._serialize_type_structure(body, _written(answer, shape) if shape else {}, shape or ERROR_SHAPE, None)
    response = Response(bytes(body), status=status, content_type="application/cbor")
    response.headers.update({"smithy-protocol": "rpc-v2-cbor", "x-amzn-RequestId": request_id})
    if isinstance(answer, AwsError) and operation.service_model.metadata.get("awsQueryCompatible") is not None:
        response.headers["x-amzn-query-error"] = f"{answer.code};{'Sender' if status < 500 else 'Receiver'}"
    return response


def _written(value: Any, shape: Any) -> Any:
    """What of an answer the model knows, in the types that botocore writes."""
    if value is None:
        return None
    if shape.type_name == "structure":
        return {
            name: _written(value[name], member)
            for name, member in shape.members.items()
            if isinstance(value, Mapping) and value.get(name) is not None
        }
    if shape.type_name == "list":
        return [_written(each, shape.member) for each in value]
    if shape.type_name == "map":
        return {key: _written(each, shape.value) for key, each in value.items()}
    if shape.type_name in {"integer", "long"}:
        return int(value)
    if shape.type_name in {"float", "double"}:
        return float(value)
    if shape.type_name == "timestamp" and isinstance(value, int | float):
        return dt.datetime.fromtimestamp(value, dt.UTC)
    return value


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
