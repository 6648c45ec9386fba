"""Who calls, and what: the caller's access key, the service, its region, the protocol and the operation.

A call is never taken for another service's. What cannot be told is refused in the form of the service that it names:
by the scope of its signature, by X-Amz-Target or the path of Smithy's RPC v2, by the Query protocol's `Version`. A
request that names none is S3's, which alone is asked by unsigned paths.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

from moto.core.request import Request
from moto.core.routing import get_router_class
from werkzeug.exceptions import HTTPException

from local_aws.errors import AwsError
from local_aws.pipeline import decode
from local_aws.pipeline.directory import directory, model, protocols, services_signed_as
from local_aws.pipeline.exchange import Exchange

CBOR = "smithy-rpc-v2-cbor"
CBOR_PATH = re.compile(r"/service/([^/]+)/operation/([^/]+)")
FORM = "application/x-www-form-urlencoded"
# s3control's paths begin with its version, which could be a bucket's name in S3's.
S3_CONTROL = "/v20180820/"


def credentials(authorization: str | None) -> tuple[str | None, str | None, str | None]:
    """(access key, signing name, region) of a SigV4 Authorization header; Nones where it says nothing.

    AWS: IAM user guide, "Elements of an AWS API request signature".
    """
    if not authorization:
        return None, None, None
    start = authorization.find("Credential=")
    if start < 0:
        # Signature version 2 of S3: "AWS KEY:SIGNATURE".
        key = authorization.removeprefix("AWS ").partition(":")[0] if authorization.startswith("AWS ") else None
        return key, "s3" if key else None, None
    end = authorization.find(",", start)
    return _scope(authorization[start + 11 : end if end >= 0 else None].strip())


@functools.lru_cache(maxsize=4096)
def _scope(credential: str) -> tuple[str | None, str | None, str | None]:
    parts = credential.split("/")
    if len(parts) < 5:
        return parts[0], None, None
    return "/".join(parts[:-4]), parts[-2].lower(), parts[-3]


def caller(exchange: Exchange) -> str | None:
    """Fill in the access key and the region; the name of the service that the signature is for, None without one."""
    environ = exchange.environ
    key, name, region = credentials(environ.get("HTTP_AUTHORIZATION"))
    if key is None and "X-Amz-Credential=" in environ.get("QUERY_STRING", ""):
        presigned = dict(parse_qsl(environ["QUERY_STRING"]))
        key, name, region = _scope(presigned["X-Amz-Credential"])
    elif key is None and "AWSAccessKeyId=" in environ.get("QUERY_STRING", ""):
        key, name = dict(parse_qsl(environ["QUERY_STRING"])).get("AWSAccessKeyId"), "s3"
    exchange.access_key = key
    if region:
        exchange.region = region
    return name


def identify(exchange: Exchange, signed_as: str | None) -> None:
    """Fill in service, protocol, operation and what the path names. Raises AwsError for what cannot be told."""
    environ = exchange.environ
    target, form = environ.get("HTTP_X_AMZ_TARGET"), None
    rpc = CBOR_PATH.fullmatch(environ["PATH_INFO"]) if environ.get("HTTP_SMITHY_PROTOCOL") else None
    services = services_signed_as(signed_as) if signed_as else ()
    if signed_as and not services:
        raise AwsError(
            "InvalidSignatureException", f"Credential should be scoped to a service of AWS, not to '{signed_as}'.",
            status=403,
        )  # fmt: skip
    if services[:1] != ("s3",) and environ.get("CONTENT_TYPE", "").startswith(FORM):
        form = decode.form(exchange)
    elif "Action=" in environ.get("QUERY_STRING", "") and services[:1] != ("s3",):
        form = dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))
    if not services:
        services = _named(target, rpc, form)
    # The form of a refusal is the first one's, if no other is found.
    exchange.service, exchange.protocol = services[0], protocols(services[0])[0]
    for service, protocol in _candidates(services, target, rpc, form, environ["PATH_INFO"]):
        exchange.protocol = protocol if service == exchange.service else exchange.protocol
        found = _operation(exchange, service, protocol, target, rpc, form)
        if found is not None:
            exchange.service, exchange.protocol, (exchange.operation, exchange.groups) = service, protocol, found
            return
    raise unknown(exchange, target, rpc, form)


def _named(target: str | None, rpc: re.Match[str] | None, form: dict[str, str] | None) -> tuple[str, ...]:
    """The services that an unsigned request can mean."""
    prefix = rpc[1] if rpc else target.rpartition(".")[0] if target else None
    if prefix:
        services = directory().by_target.get(prefix, ())
        if not services:
            raise AwsError("UnknownOperationException", f"No service of AWS has operations of {prefix}.", status=404)
        return services
    if form and "Action" in form:
        services = directory().by_version.get(form.get("Version", ""), ())
        found = tuple(each for each in services if form["Action"] in model(each).operation_names)
        if not (found or services):
            raise AwsError(
                "InvalidAction",
                f"The action {form['Action']} is not valid for any service of AWS with the version "
                f"{form.get('Version') or 'that the request leaves out'}.",
            )
        return found or services
    return services_signed_as("s3")


def _candidates(
    services: tuple[str, ...], target: str | None, rpc: re.Match[str] | None, form: dict[str, str] | None, path: str
) -> Iterator[tuple[str, str]]:
    """Each service with the protocol that the request can have spoken with it."""
    for service in reversed(services) if path.startswith(S3_CONTROL) and "s3control" in services else services:
        spoken = protocols(service)
        if rpc is not None:
            if CBOR in spoken:
                yield service, CBOR
        elif target is not None and model(service).metadata.get("targetPrefix"):
            if "json" in spoken or CBOR in spoken:
                yield service, "json"
        elif form is not None and ("query" in spoken or "ec2" in spoken):
            yield service, "ec2" if "ec2" in spoken else "query"
        else:
            yield from ((service, each) for each in spoken if each.startswith("rest-"))


def _operation(
    exchange: Exchange, service: str, protocol: str, target: str | None, rpc: re.Match[str] | None,
    form: dict[str, str] | None,
) -> tuple[str, dict[str, Any]] | None:  # fmt: skip
    """An operation's name and what the path names; None when the service has no such operation."""
    if rpc is not None:
        known = model(service).metadata.get("targetPrefix") == rpc[1] or service in rpc[1].lower()
        return (rpc[2], {}) if known and rpc[2] in model(service).operation_names else None
    if protocol == "json":
        prefix, _, name = (target or "").rpartition(".")
        if prefix != model(service).metadata.get("targetPrefix") or name not in model(service).operation_names:
            return None
        return name, {}
    if protocol in {"query", "ec2"}:
        name = (form or {}).get("Action", "")
        return (name, {}) if name in model(service).operation_names else None
    environ = exchange.environ
    stream, environ["wsgi.input"] = environ["wsgi.input"], io.BytesIO()  # routing looks at no body
    try:
        found, groups = _router(service, protocol).match(Request(environ))
    except (HTTPException, NotImplementedError):
        return None
    finally:
        environ["wsgi.input"] = stream
    return found.name, groups


@functools.cache
def _router(service: str, protocol: str) -> Any:
    return get_router_class(service, protocol)(model(service))  # type: ignore[misc]


def unknown(exchange: Exchange, target: str | None, rpc: re.Match[str] | None, form: dict[str, str] | None) -> AwsError:
    """What a service says to an operation that it does not have."""
    if exchange.service == "s3":
        return AwsError(
            "MethodNotAllowed", "The specified method is not allowed against this resource.", status=405,
            Method=exchange.environ["REQUEST_METHOD"], ResourceType="OBJECT",
        )  # fmt: skip
    if exchange.protocol in {"query", "ec2"}:
        action = (form or {}).get("Action", "")
        return AwsError("InvalidAction", f"The action {action} is not valid for this web service.")
    asked = target or (rpc[0] if rpc else f"{exchange.environ['REQUEST_METHOD']} {exchange.environ['PATH_INFO']}")
    status = 404 if exchange.protocol.startswith("rest-") else 400
    return AwsError("UnknownOperationException", f"The service {exchange.service} has no {asked}.", status=status)
