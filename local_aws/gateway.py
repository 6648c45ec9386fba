"""One WSGI application in front of everything: who is calling, which operation, which service answers.

The order for each request: a service's fast path; one of the local AWS's own operations; moto. Every call passes
`authorise` with its caller, action and parameters known, which is where IAM belongs.
"""

from __future__ import annotations

import io
import json
import logging
import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from moto.core.model import OperationModel
from moto.core.request import Request
from moto.moto_server import werkzeug_app

from local_aws import control, managed_policies, validation, wire
from local_aws.aws import OWN_ACCESS_KEY, LocalAws
from local_aws.errors import AwsError
from local_aws.s3.front import Front, is_for_s3
from local_aws.services.base import FORWARD, Call, FastPath, RawRequest, RawResponse
from local_aws.state.gate import Shut
from local_aws.support import supported_by_moto

log = logging.getLogger(__name__)

# Operations after which there is nothing to save.
READS = re.compile(r"(Describe|List|Get|Head|Search|Filter|BatchGet|Simulate|Validate|Lookup)[A-Z]")

# By which moto is told to forget all, and knows nothing of what the services here keep. Moto takes a path for its own
# that only begins with it.
MOTO_API = "/moto-api"
CLOSED = json.dumps({
    "__type": "AccessDeniedException",
    "message": "moto's own API is closed in the local AWS; for an empty AWS, start it with another folder by --state.",
}).encode()  # fmt: skip

STATUS = {
    200: "200 OK",
    201: "201 Created",
    202: "202 Accepted",
    204: "204 No Content",
    400: "400 Bad Request",
    403: "403 Forbidden",
    404: "404 Not Found",
}


class Gateway:
    """The WSGI application."""

    def __init__(self, aws: LocalAws) -> None:
        self.aws = aws
        # Else every answer would let every web page read it.
        werkzeug_app.DISABLE_GLOBAL_CORS = True
        managed_policies.teach_moto()
        self.moto = werkzeug_app.DomainDispatcherApplication(werkzeug_app.create_backend_app)
        self.own: dict[str, dict[str, Callable[[Call], dict[str, Any] | None]]] = {}
        self.fast: dict[str, list[FastPath]] = {}
        for service in aws.services:
            self.own.setdefault(service.name, {}).update(service.operations())
            for path in service.fast_paths():
                self.fast.setdefault(path.method, []).append(path)
        self.s3 = Front(aws.store, self.own["s3"], self.authorise, aws.region)

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.startswith(control.PREFIX):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            status, answer = control.answer(self.aws, environ["REQUEST_METHOD"], path, body)
            headers = [("Content-Type", "application/json")]
            return _answer(start_response, status, headers, json.dumps(answer).encode())
        if path.startswith(MOTO_API):
            return _answer(start_response, 403, [("Content-Type", "application/json")], CLOSED)
        for route in self.fast.get(environ["REQUEST_METHOD"], ()):
            match = route.pattern.fullmatch(path)
            if match:
                return self._fast(route, match.groups(), environ, start_response)
        return self._gated(environ, start_response)

    def authorise(self, call: Call | RawRequest, service: str, operation: str) -> None:
        """Raise AwsError("AccessDeniedException") for a call that IAM forbids. Everyone may do everything so far."""

    def _fast(self, route: FastPath, groups: tuple[str, ...], environ: dict[str, Any], start_response: Callable):
        headers = _headers(environ)
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else environ["wsgi.input"].read()
        access_key, _, _ = wire.credentials(environ.get("HTTP_AUTHORIZATION"))
        request = RawRequest(groups, environ.get("QUERY_STRING", ""), headers, body, access_key)
        try:
            self.authorise(request, route.service, route.operation)
            answer = route.handler(request)
        except AwsError as error:
            operation = wire.service_model(route.service).operation_model(route.operation)
            return wire.serialise(operation, error, headers.get("content-type"))(environ, start_response)
        except Exception as error:
            log.exception("%s failed", route.operation)
            answer = _internal(error)
        return _answer(start_response, answer.status, answer.headers, answer.body)

    def _gated(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        """Answer the call as a whole before or after a save."""
        access_key, service, region = wire.credentials(environ.get("HTTP_AUTHORIZATION"))
        if is_for_s3(service, environ):
            # An object is kept before its call is answered, whatever is saved meanwhile.
            answer = self.s3.answer(environ, start_response, access_key, region)
            if answer is not None:
                return answer
            service = "s3"
        if access_key == OWN_ACCESS_KEY or _only_reads(environ):
            # The daemon's own calls are part of a call that is inside, or read.
            return self._modelled(environ, start_response, access_key, service, region)
        try:
            with self.aws.saver.gate.call():
                return self._modelled(environ, start_response, access_key, service, region)
        except Shut:
            error = AwsError("ServiceUnavailable", "The local AWS is shutting down.", status=503)
            answer = wire.serialise_error(service or "s3", error, environ.get("CONTENT_TYPE"))
            return answer(environ, start_response)

    def _modelled(
        self,
        environ: dict[str, Any],
        start_response: Callable,
        access_key: str | None,
        service: str | None,
        region: str | None,
    ) -> Iterable[bytes]:
        if service == "sagemaker" and environ["PATH_INFO"].startswith("/endpoints/"):
            service = "sagemaker-runtime"
        # Moto reads the path before percent-decoding under gunicorn's name for it.
        environ.setdefault("RAW_URI", environ.get("REQUEST_URI", environ["PATH_INFO"]))
        if service == "s3":
            return self._buckets(environ, start_response)
        if service is None or not (service in self.own or supported_by_moto(service) is not None):
            return self._moto(environ, start_response, service, None)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
        request = Request(environ)
        found = wire.route(service, request)
        environ["wsgi.input"].seek(0)
        if found is None:
            return self._moto(environ, start_response, service, None)
        operation, path_params = found
        handler = self.own.get(service, {}).get(operation.name)
        if handler is None:
            return self._moto(environ, start_response, service, operation)
        response = self._call(handler, operation, request, path_params, access_key, region)
        if response is None:
            environ["wsgi.input"].seek(0)
            return self._moto(environ, start_response, service, operation)
        return response(environ, start_response)

    def _buckets(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        """Moto's answer about a bucket, given when it is kept."""
        told: list[Any] = []
        body = self._moto(environ, lambda *head: told.append(head), "s3", None)
        if not _only_reads(environ):
            self.aws.store.buckets.keep()
        start_response(*told[0])
        return body

    def _call(self, handler, operation: OperationModel, request: Request, path_params, access_key, region):
        """The answer of one of our own operations; None where moto keeps the resource."""
        service = operation.service_model.service_name
        try:
            params = wire.parse(operation, request, path_params)
            call = Call(
                service=service,
                operation=operation.name,
                params=params,
                account=self.aws.account,
                region=region or self.aws.region,
                access_key=access_key,
                headers={name.lower(): value for name, value in request.headers.items()},
            )
            validation.check(params, operation.input_shape, service)
            self.authorise(call, service, operation.name)
            answer: Any = handler(call) or {}
            if answer is FORWARD:
                return None
            if not READS.match(operation.name):
                self.aws.saver.changed()
        except AwsError as error:
            answer = error
        except OSError as error:
            log.exception("%s failed", operation.name)
            answer = AwsError("InternalFailure", f"{operation.name}: {error.strerror or error}", status=500)
        except Exception as error:
            log.exception("%s failed", operation.name)
            answer = AwsError("InternalFailure", f"{operation.name} failed inside the local AWS: {error}", status=500)
        return wire.serialise(operation, answer, request.content_type)

    def _moto(self, environ, start_response, service: str | None, operation: OperationModel | None) -> Iterable[bytes]:
        if operation is not None and service is not None:
            known = supported_by_moto(service)
            if known is not None and operation.name not in known:
                error = unsupported(service, operation.name)
                return wire.serialise(operation, error, environ.get("CONTENT_TYPE"))(environ, start_response)
        if not (_only_reads(environ) or (operation is not None and READS.match(operation.name))):
            self.aws.saver.changed()
        caught: list[Any] = []

        def catch(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            caught[:] = [status, headers]

        try:
            body = self.moto.get_application(environ)(environ, catch)
        except Exception as error:
            # Moto's own way to say that it does not know something, besides an HTML page.
            log.debug("moto: %s", error)
            caught[:] = ["500 Internal Server Error", [("Content-Type", "text/html")]]
            body = []
        status, headers = caught
        content_type = next((value for name, value in headers if name.lower() == "content-type"), "")
        # S3 answers a HEAD of a missing object with 404 and no body, whatever its type.
        not_known = ("500", "501") if service == "s3" else ("500", "501", "404")
        if status.startswith(not_known) and "html" in content_type:
            # Moto knows nothing of this: an HTML page would reach the user as a parser's traceback.
            name = operation.name if operation else f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
            error = unsupported(service or "this service", name)
            if service is not None:
                response = wire.serialise_error(service, error, environ.get("CONTENT_TYPE"))
                return response(environ, start_response)
            body = json.dumps({"__type": error.code, "message": error.message}).encode()
            headers = [("Content-Type", "application/json"), ("x-amzn-ErrorType", error.code)]
            return _answer(start_response, 400, headers, body)
        start_response(status, headers)
        return body


def unsupported(service: str, operation: str) -> AwsError:
    """The error for an operation that nobody here supports."""
    return AwsError(
        "UnsupportedOperation",
        f"The local AWS does not support {operation} of {service}; `python -m local_aws support` lists what it does.",
    )


def _headers(environ: dict[str, Any]) -> dict[str, str]:
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    if environ.get("CONTENT_TYPE"):
        headers["content-type"] = environ["CONTENT_TYPE"]
    return headers


def _only_reads(environ: dict[str, Any]) -> bool:
    """Whether a request's method says that it changes nothing; the Query protocol can have any action in a GET."""
    return environ["REQUEST_METHOD"] in {"GET", "HEAD"} and "Action=" not in environ.get("QUERY_STRING", "")


def _answer(start_response: Callable, status: int, headers: list[tuple[str, str]], body: bytes) -> list[bytes]:
    start_response(STATUS.get(status, f"{status} Status"), [*headers, ("Content-Length", str(len(body)))])
    return [body]


def _internal(error: Exception) -> RawResponse:
    body = json.dumps({"message": f"the local AWS failed: {error}"}).encode()
    headers = [
        ("Content-Type", "application/json"),
        ("x-amzn-ErrorType", "InternalFailure"),
        ("x-amzn-RequestId", str(uuid.uuid4())),
    ]
    return RawResponse(500, headers, body)
