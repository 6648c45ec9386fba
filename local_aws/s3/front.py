"""Where a request to S3 comes in: to one of our operations on objects, or to moto, which keeps the buckets.

Objects go neither through moto's routing nor through the gate of the saves: each call is one transaction of the index.
"""

from __future__ import annotations

import datetime as dt
import logging
import sqlite3
import time
import uuid
from collections.abc import Callable, Container, Iterable
from typing import Any, NamedTuple

import moto.settings

from local_aws.errors import AwsError
from local_aws.s3 import content, errors, wire
from local_aws.s3.store import Store
from local_aws.services.base import Call

log = logging.getLogger(__name__)

SMALL = 1 << 18
"""A body up to here is read at once; a longer one is sent from its file."""
REASONS = {
    200: "OK", 204: "No Content", 206: "Partial Content", 304: "Not Modified", 400: "Bad Request", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 409: "Conflict", 411: "Length Required", 412: "Precondition Failed",
    416: "Requested Range Not Satisfiable", 500: "Internal Server Error", 501: "Not Implemented",
    503: "Service Unavailable",
}  # fmt: skip
# What of an unsigned request may be answered: what a bucket's policy or an object's ACL has opened.
PUBLIC_READS = {"GetObject", "HeadObject"}
# Operations on objects and buckets that neither we nor moto answer as AWS would.
REFUSED = {
    "PostObject": "uploads by a browser's form (POST)",
    "PutObjectRetention": "Object Lock", "PutObjectLegalHold": "Object Lock", "GetObjectRetention": "Object Lock",
    "GetObjectLegalHold": "Object Lock", "PutObjectLockConfiguration": "Object Lock",
    "RestoreObject": "archived objects", "SelectObjectContent": "S3 Select",
    "PutBucketLogging": "access logs: nothing delivers them",
}  # fmt: skip

Handlers = Container[str]


class Request(NamedTuple):
    """A request on an object or a bucket, before its body is read."""

    name: str
    """The operation."""
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]


def parse(request: Request, body: Any) -> dict[str, Any]:
    """The parameters of a request. Raises AwsError."""
    return wire.parse(request.name, request.bucket, request.key, request.query, request.headers, body)


class Front:
    """Answers S3's operations on objects.

    Parameters
    ----------
    handlers
        The names of our operations.
    iam_decides
        Whether what is signed has been decided on, buckets' policies included.
    """

    def __init__(self, store: Store, handlers: Handlers, *, iam_decides: bool = False) -> None:
        self.store, self.handlers, self.iam_decides = store, handlers, iam_decides

    def identify(self, environ: dict[str, Any]) -> Request | None:
        """What a request to S3 asks for; None when it is moto's to answer. Raises AwsError."""
        method, resource = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        names_in_host = not moto.settings.S3_IGNORE_SUBDOMAIN_BUCKETNAME
        bucket, key = wire.place(environ.get("HTTP_HOST", ""), resource, names_in_host=names_in_host)
        query = wire.query_of(environ.get("QUERY_STRING", ""))
        headers = headers_of(environ)
        name = wire.identify(method, key, query, headers) if bucket else None
        if name is None or name not in self.handlers:
            self._refuse(name, method, bucket, key, headers)
            return None
        return Request(name, bucket, key, query, headers)

    def answer(
        self, environ: dict[str, Any], start_response: Callable, call: Call, request: Request, handler: Callable
    ) -> tuple[int, Iterable[bytes]]:
        """The status and the body of the answer to a call of one of our operations. Raises AwsError."""
        name = request.name
        try:
            self._check(call, signed=check_signed(request.query, request.headers))
            answer = handler(call) or {}
        except AwsError:
            raise
        except (OSError, sqlite3.Error) as error:
            log.exception("%s failed", name)
            why = getattr(error, "strerror", None) or error
            message = f"{name}: the object could not be kept or read: {why}"
            raise AwsError("InternalError", message, status=500) from error
        except Exception as error:
            log.exception("%s failed", name)
            message = f"{name} failed inside the local AWS: {error}"
            raise AwsError("InternalError", message, status=500) from error
        status = answer.pop("Status", 204 if environ["REQUEST_METHOD"] == "DELETE" else 200)
        extra = answer.pop("Headers", ())
        answered, body = wire.serialise(name, answer)
        return status, _send(environ, start_response, status, [*answered, *extra], body, new_request_id())

    def _refuse(self, name: str | None, method: str, bucket: str, key: str, headers: dict[str, str]) -> None:
        """Raise AwsError for what moto would answer, and not as AWS does."""
        if method == "POST" and headers.get("content-type", "").startswith("multipart/form-data"):
            name = "PostObject"
        if name in REFUSED:
            raise errors.not_implemented(f"{REFUSED[name]} ({name} of s3)")
        if name == "CreateBucket":
            errors.check_bucket_name(bucket)
            if headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true":
                raise errors.not_implemented("Object Lock")
        if key and method != "OPTIONS":
            raise errors.not_implemented(f"{name or f'{method} of an object with this query'} of s3")

    def _check(self, call: Call, *, signed: bool) -> None:
        """Raises AwsError for what a bucket's policy does not allow, for a key that is none, and for what is refused of
        every operation."""
        bucket, key = call.params["Bucket"], call.params.get("Key")
        if key is not None:
            errors.check_key(key)
        content.refuse(call.params)
        payer = call.params.get("RequestPayer")
        if payer not in (None, "requester"):
            raise errors.invalid_argument("x-amz-request-payer", payer, "Invalid request payer")
        owner = call.params.get("ExpectedBucketOwner")
        if owner is not None and owner != call.account:
            raise AwsError("AccessDenied", "Access Denied", status=403)
        known = self.store.buckets.get(bucket)
        if signed and self.iam_decides:
            return
        permitted = self.store.buckets.policy_says(known, call.operation, key)
        if permitted is False:
            raise AwsError("AccessDenied", "Access Denied", status=403)
        if signed or permitted:
            return
        if call.operation in PUBLIC_READS and key is not None:
            found = self.store.index.find(bucket, key, call.params.get("VersionId"))
            if found is not None and found.about.get("ACL", "").startswith("public-read"):
                return
        raise AwsError("AccessDenied", "Access Denied", status=403)


def new_request_id() -> str:
    return uuid.uuid4().hex[:16].upper()


def headers_of(environ: dict[str, Any]) -> dict[str, str]:
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.replace("_", "-").lower()] = environ[name]
    return headers


def check_signed(query: dict[str, str], headers: dict[str, str]) -> bool:
    """Whether somebody has signed a request, in a header or in its address. Raises AwsError for one that is too late.

    AWS: S3 user guide, "Download and upload objects with presigned URLs".
    """
    if "authorization" in headers:
        return True
    try:
        if "X-Amz-Credential" in query:
            begun = dt.datetime.strptime(query.get("X-Amz-Date", ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
            end = begun.timestamp() + int(query.get("X-Amz-Expires", ""))
        elif "AWSAccessKeyId" in query and "Signature" in query:
            end = float(query.get("Expires", ""))
        else:
            return False
    except ValueError:
        message = "Query-string authentication needs X-Amz-Date and X-Amz-Expires (version 4), or Expires (version 2)"
        raise AwsError("AuthorizationQueryParametersError", message) from None
    if time.time() > end:
        raise AwsError("AccessDenied", "Request has expired", status=403)
    return True


def is_for_s3(service: str | None, environ: dict[str, Any]) -> bool:
    """Whether a request is one to S3: it says so, it is presigned, or it is unsigned as one for a public object is."""
    if service is not None:
        return service == "s3"
    if "HTTP_AUTHORIZATION" in environ or "HTTP_X_AMZ_TARGET" in environ:
        return False
    query = environ.get("QUERY_STRING", "")
    return "Action=" not in query and environ["REQUEST_METHOD"] in {"GET", "HEAD", "PUT", "DELETE"}


def refusal(start_response: Callable, error: AwsError, environ: dict[str, Any]) -> list[bytes]:
    """An error in S3's form."""
    method, resource = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    request_id = getattr(error, "request_id", None) or new_request_id()
    body = b"" if method == "HEAD" or error.status == 304 else wire.serialise_error(error, resource, request_id)
    headers = [("x-amz-request-id", request_id), ("Content-Length", str(len(body)))]
    headers += getattr(error, "headers", [])
    if body:
        headers.append(("Content-Type", "application/xml"))
    start_response(f"{error.status} {REASONS.get(error.status, 'Status')}", headers)
    return [body] if body else []


def _send(
    environ: dict[str, Any], start_response: Callable, status: int, headers: list[tuple[str, str]], body: Any,
    request_id: str,
) -> Iterable[bytes]:  # fmt: skip
    headers.append(("x-amz-request-id", request_id))
    line = f"{status} {REASONS[status]}"
    if isinstance(body, bytes):
        if not any(name == "Content-Length" for name, _ in headers) and status not in {204, 304}:
            headers.append(("Content-Length", str(len(body))))
        start_response(line, headers)
        return [body] if body else []
    length = int(next(value for name, value in headers if name == "Content-Length"))
    start_response(line, headers)
    if length <= SMALL:
        with body:
            return [body.read(length)]
    return environ["wsgi.file_wrapper"](body)
