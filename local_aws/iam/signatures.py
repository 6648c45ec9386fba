"""Whether a request is signed by the key that it names.

Sources: IAM user guide, "Create a signed AWS API request"; Amazon S3 API reference, "Authenticating Requests".
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from botocore.auth import HmacV1Auth
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from local_aws.iam import canonical

# By how much a client's clock may differ from this one's.
SKEW = dt.timedelta(minutes=15)
LONGEST_PRESIGNED = 604_800
UNSIGNED = "UNSIGNED-PAYLOAD"
NEEDED = "Authorization requires 'Credential', 'SignedHeaders' and 'Signature' parameters."
PARAMETER = re.compile(r"(\w+)=([^,\s]+)")
MOMENT = re.compile(r"\d{8}T\d{6}Z")
SIGNATURE = re.compile(r"(?:^|&)X-Amz-Signature=[^&]*")


class Wrong(Exception):
    """Why a signature is not taken: `code` is UNKNOWN, MISMATCH, SKEWED, EXPIRED, TOKEN or INCOMPLETE."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


UNKNOWN, MISMATCH, SKEWED, EXPIRED, TOKEN, INCOMPLETE = (
    "unknown",
    "mismatch",
    "skewed",
    "expired",
    "token",
    "incomplete",
)


class Signed(NamedTuple):
    """A signature as a request carries it."""

    key: str
    token: str | None
    way: str
    """As `s3:authType` says it."""
    version: str
    """As `s3:signatureversion` says it."""
    parts: tuple[str, str, str] = ("", "", "")
    """Of version 4 the credential, the names of the signed headers and the signature itself."""


def signed(environ: Mapping[str, Any]) -> Signed | None:
    """Which key a request is signed with, and how; None for one that is not signed."""
    written, query = environ.get("HTTP_AUTHORIZATION", ""), environ.get("QUERY_STRING", "")
    if written.startswith("AWS4-HMAC-SHA256"):
        parts = _parts(written)
        token = environ.get("HTTP_X_AMZ_SECURITY_TOKEN")
        return Signed(_key(parts[0]), token, "REST-HEADER", "AWS4-HMAC-SHA256", parts)
    if written.startswith("AWS "):
        key = written[4:].partition(":")[0]
        return Signed(key, environ.get("HTTP_X_AMZ_SECURITY_TOKEN"), "REST-HEADER", "AWS")
    if "X-Amz-Credential=" in query:
        given = dict(parse_qsl(query))
        token = given.get("X-Amz-Security-Token") or environ.get("HTTP_X_AMZ_SECURITY_TOKEN")
        parts = given["X-Amz-Credential"], given.get("X-Amz-SignedHeaders", ""), given.get("X-Amz-Signature", "")
        return Signed(_key(parts[0]), token, "REST-QUERY-STRING", "AWS4-HMAC-SHA256", parts)
    if "AWSAccessKeyId=" in query:
        given = dict(parse_qsl(query))
        return Signed(given["AWSAccessKeyId"], given.get("x-amz-security-token"), "REST-QUERY-STRING", "AWS")
    return None


@functools.lru_cache(maxsize=4096)
def _key(credential: str) -> str:
    return "/".join(credential.split("/")[:-4]) or credential


def verify(
    found: Signed,
    secret: str,
    token: str | None,
    environ: Mapping[str, Any],
    body: Callable[[], bytes],
    now: dt.datetime,
) -> None:
    """Raise Wrong for a signature that this secret does not make.

    Parameters
    ----------
    token
        What a session's key has to come with; None for a key of somebody's own.
    body
        The body as it was sent; asked for only when the signature covers it by nothing that the head says.
    """
    if (found.token or None) != token:
        raise Wrong(TOKEN, "The security token included in the request is invalid.")
    given = _v2(secret, environ) if found.version == "AWS" else _v4(found, secret, environ, body, now)
    if not given:
        raise Wrong(
            MISMATCH,
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method. Consult the service documentation for details.",
        )


@functools.lru_cache(maxsize=4096)
def _scope(credential: str) -> tuple[str, str, str]:
    """Day, region and service of a credential."""
    if credential.count("/") < 4:
        raise Wrong(INCOMPLETE, NEEDED)
    day, region, service, end = credential.split("/")[-4:]
    if end != "aws4_request":
        raise Wrong(MISMATCH, f"Credential should be scoped with a valid terminator: 'aws4_request', not '{end}'.")
    return day, region, service


def _parts(authorization: str) -> tuple[str, str, str]:
    """Credential, SignedHeaders and Signature of the header; empty where it does not say them."""
    head, signed, signature = authorization.rpartition(", Signature=")
    if signed and signature.isalnum():
        return *_head(head), signature
    parts = dict(PARAMETER.findall(authorization))
    return parts.get("Credential", ""), parts.get("SignedHeaders", ""), parts.get("Signature", "")


@functools.lru_cache(maxsize=4096)
def _head(text: str) -> tuple[str, str]:
    """What is the same in all that a client sends with a key in a day."""
    parts = dict(PARAMETER.findall(text))
    return parts.get("Credential", ""), parts.get("SignedHeaders", "")


@functools.lru_cache(maxsize=4096)
def _keys(names: str) -> tuple[str, tuple[tuple[str, str, str | None], ...]]:
    """The names of the signed headers as they are signed, and of each, in their order: its name with a colon, where
    WSGI has it, and where it is as it came, if that can be another place."""
    found = []
    for name in sorted({each.lower().strip() for each in names.split(";")}):
        key = name.upper().replace("-", "_")
        # What the local AWS's server changes it keeps as it came.
        came = {"CONTENT_TYPE": "local_aws.content_type", "CONTENT_LENGTH": "local_aws.content_length",
                "CONTENT_ENCODING": "local_aws.content_encoding"}.get(key)  # fmt: skip
        key = key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"
        found.append((f"{name}:", key, came))
    return ";".join(name[:-1] for name, _, _ in found), tuple(found)


def _v4(found: Signed, secret: str, environ: Mapping[str, Any], body: Callable[[], bytes], now: dt.datetime) -> bool:
    credential, names, given = found.parts
    query, moment = environ.get("QUERY_STRING", ""), environ.get("HTTP_X_AMZ_DATE", "")
    if found.way != "REST-HEADER":
        moment = dict(parse_qsl(query)).get("X-Amz-Date", "")
        query = SIGNATURE.sub("", query).lstrip("&")
    if not names or not given:
        raise Wrong(INCOMPLETE, NEEDED)
    scope = _scope(credential)
    _check_time(found, moment, environ, now)
    day, _, service = scope
    if not moment.startswith(day):
        raise Wrong(MISMATCH, f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date: {day}.")
    path = (environ.get("REQUEST_URI") or environ["PATH_INFO"]).partition("?")[0]
    # Only S3 takes a body's digest as it is said; elsewhere the body itself is what was signed.
    hashed = environ.get("HTTP_X_AMZ_CONTENT_SHA256") if service == "s3" else None
    if hashed is None and service == "s3":
        if found.way == "REST-HEADER":
            raise Wrong(INCOMPLETE, "Missing required header for this request: x-amz-content-sha256")
        hashed = UNSIGNED
    names, keys = _keys(names)
    headers = []
    for name, key, came in keys:
        value = environ.get(key, "") if came is None or came not in environ else environ[came]
        headers.append(name + " ".join(value.split()))
    signed = canonical.request(
        environ["REQUEST_METHOD"], path, query, "\n".join(headers), names,
        hashed or hashlib.sha256(body()).hexdigest(), is_s3=service == "s3",
    )  # fmt: skip
    made = canonical.signature(secret, moment, scope, signed)
    return hmac.compare_digest(made.encode(), given.encode())


def _check_time(found: Signed, moment: str, environ: Mapping[str, Any], now: dt.datetime) -> None:
    at = _moment(moment)
    if at is None:
        raise Wrong(INCOMPLETE, "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\".")
    if found.way == "REST-QUERY-STRING":
        lasts = dict(parse_qsl(environ.get("QUERY_STRING", ""))).get("X-Amz-Expires", "900")
        if not lasts.isdigit() or not 1 <= int(lasts) <= LONGEST_PRESIGNED:
            raise Wrong(INCOMPLETE, "X-Amz-Expires must be a number of seconds from 1 to 604800.")
        if now > at + dt.timedelta(seconds=int(lasts)):
            raise Wrong(EXPIRED, "Request has expired")
        if at > now + SKEW:
            raise Wrong(SKEWED, f"Signature not yet current: {moment} is still later than {_written(now + SKEW)}.")
        return
    earliest, latest = now - SKEW, now + SKEW
    if earliest <= at <= latest:
        return
    if at < earliest:
        raise Wrong(SKEWED, f"Signature expired: {moment} is now earlier than {_written(earliest)} "
                    f"({_written(now)} - 15 min.)")  # fmt: skip
    raise Wrong(SKEWED, f"Signature not yet current: {moment} is still later than {_written(latest)} "
                f"({_written(now)} + 15 min.)")  # fmt: skip


@functools.lru_cache(maxsize=1024)
def _moment(text: str) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(text) if MOMENT.fullmatch(text) else None
    except ValueError:
        return None


def _written(moment: dt.datetime) -> str:
    return f"{moment:%Y%m%dT%H%M%SZ}"


class _Older(HmacV1Auth):
    """Of version 2, with the date, or the end, that a request names."""

    def __init__(self, secret: str, date: str) -> None:
        super().__init__(Credentials("", secret))
        self._date = date

    def _get_date(self) -> str:
        return self._date


def _v2(secret: str, environ: Mapping[str, Any]) -> bool:
    """Signature version 2, as S3 still takes it for presigned addresses."""
    query = environ.get("QUERY_STRING", "")
    path = (environ.get("REQUEST_URI") or environ["PATH_INFO"]).partition("?")[0]
    given = dict(parse_qsl(query, keep_blank_values=True))
    headers = HTTPHeaders()
    for key, value in environ.items():
        if key.startswith("HTTP_X_AMZ_") or key == "HTTP_CONTENT_MD5":
            headers[key[5:].replace("_", "-").lower()] = value
    if environ.get("CONTENT_TYPE"):
        headers["content-type"] = environ["CONTENT_TYPE"]
    if "AWSAccessKeyId" in given:
        date, signature = given.get("Expires", ""), given.get("Signature", "")
        if given.get("x-amz-security-token"):
            headers["x-amz-security-token"] = given["x-amz-security-token"]
    else:
        date, signature = environ.get("HTTP_DATE", ""), environ["HTTP_AUTHORIZATION"].rpartition(":")[2]
    made = _Older(secret, date).get_signature(
        environ["REQUEST_METHOD"], urlsplit(f"http://host{path}?{query}"), headers
    )
    return hmac.compare_digest(made.encode(), signature.encode())
