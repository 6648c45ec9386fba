"""Whether a request is signed by the key that it names: botocore's own signers do it over again.

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

from botocore.auth import HmacV1Auth, S3SigV4Auth, SigV4Auth
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

# By how much a client's clock may differ from this one's.
SKEW = dt.timedelta(minutes=15)
LONGEST_PRESIGNED = 604_800
UNSIGNED = "UNSIGNED-PAYLOAD"
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


def signed(environ: Mapping[str, Any]) -> Signed | None:
    """Which key a request is signed with, and how; None for one that is not signed."""
    written, query = environ.get("HTTP_AUTHORIZATION", ""), environ.get("QUERY_STRING", "")
    if written.startswith("AWS4-HMAC-SHA256"):
        credential = dict(PARAMETER.findall(written)).get("Credential", "")
        return Signed(_key(credential), environ.get("HTTP_X_AMZ_SECURITY_TOKEN"), "REST-HEADER", "AWS4-HMAC-SHA256")
    if written.startswith("AWS "):
        key = written[4:].partition(":")[0]
        return Signed(key, environ.get("HTTP_X_AMZ_SECURITY_TOKEN"), "REST-HEADER", "AWS")
    if "X-Amz-Credential=" in query:
        given = dict(parse_qsl(query))
        token = given.get("X-Amz-Security-Token") or environ.get("HTTP_X_AMZ_SECURITY_TOKEN")
        return Signed(_key(given["X-Amz-Credential"]), token, "REST-QUERY-STRING", "AWS4-HMAC-SHA256")
    if "AWSAccessKeyId=" in query:
        given = dict(parse_qsl(query))
        return Signed(given["AWSAccessKeyId"], given.get("x-amz-security-token"), "REST-QUERY-STRING", "AWS")
    return None


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


class _Headers(dict[str, str]):
    """Headers as the signers read them. botocore's own class is an e-mail's, and takes longer than all else here."""

    def get_all(self, name: str) -> list[str]:
        return [self[name]]


class _Request(NamedTuple):
    """A request as the signers read it."""

    method: str
    url: str
    headers: dict[str, str]
    signed: _Headers
    context: dict[str, str]
    params: None = None


class _Signer:
    """Signs the headers that the client has signed, whichever they are."""

    def headers_to_sign(self, request: _Request) -> _Headers:
        return request.signed

    def signature(self, string_to_sign: str, request: _Request) -> str:
        key = _key_of(
            self.credentials.secret_key, request.context["timestamp"][:8], self._region_name, self._service_name
        )
        return self._sign(key, string_to_sign, hex=True)


@functools.lru_cache(maxsize=1024)
def _key_of(secret: str, day: str, region: str, service: str) -> bytes:
    """What a day's signatures are made with: the steps of botocore's signer, whose last one signs."""
    key, sign = f"AWS4{secret}".encode(), SigV4Auth(None, service, region)._sign
    for part in (day, region, service, "aws4_request"):
        key = sign(key, part)
    return key


class _Any(_Signer, SigV4Auth):
    pass


class _S3(_Signer, S3SigV4Auth):
    pass


class _Given(NamedTuple):
    """What a signature of version 4 says of itself."""

    scope: str
    names: str
    signature: str
    moment: str
    query: str
    """The query string that is signed."""


def _given(found: Signed, environ: Mapping[str, Any]) -> _Given:
    query = environ.get("QUERY_STRING", "")
    if found.way == "REST-HEADER":
        parts = dict(PARAMETER.findall(environ["HTTP_AUTHORIZATION"]))
        moment = environ.get("HTTP_X_AMZ_DATE", "")
    else:
        parts = {key.removeprefix("X-Amz-"): value for key, value in parse_qsl(query, keep_blank_values=True)}
        moment, query = parts.get("Date", ""), SIGNATURE.sub("", query).lstrip("&")
    scope, names, signature = (parts.get(each, "") for each in ("Credential", "SignedHeaders", "Signature"))
    if scope.count("/") < 4 or not names or not signature:
        raise Wrong(INCOMPLETE, "Authorization requires 'Credential', 'SignedHeaders' and 'Signature' parameters.")
    return _Given(scope, names, signature, moment, query)


def _v4(found: Signed, secret: str, environ: Mapping[str, Any], body: Callable[[], bytes], now: dt.datetime) -> bool:
    given = _given(found, environ)
    _check_time(found, given.moment, environ, now)
    day, region, service = given.scope.split("/")[-4:-1]
    if not given.moment.startswith(day):
        raise Wrong(MISMATCH, f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date: {day}.")
    path = (environ.get("REQUEST_URI") or environ["PATH_INFO"]).partition("?")[0]
    hashed = environ.get("HTTP_X_AMZ_CONTENT_SHA256")
    if hashed is None and service == "s3":
        if found.way == "REST-HEADER":
            raise Wrong(INCOMPLETE, "Missing required header for this request: x-amz-content-sha256")
        hashed = UNSIGNED
    request = _Request(
        environ["REQUEST_METHOD"],
        f"http://host{path}?{given.query}" if given.query else f"http://host{path}",
        {"X-Amz-Content-SHA256": hashed or hashlib.sha256(body()).hexdigest()},
        _Headers({name: _header(environ, name) for name in given.names.split(";")}),
        {"timestamp": given.moment},
    )
    signer = (_S3 if service == "s3" else _Any)(Credentials(found.key, secret), service, region)
    made = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    return hmac.compare_digest(made, given.signature)


def _header(environ: Mapping[str, Any], name: str) -> str:
    key = name.upper().replace("-", "_")
    if key == "CONTENT_TYPE":
        return environ.get("local_aws.content_type", environ.get("CONTENT_TYPE", ""))
    if key == "CONTENT_LENGTH":
        return environ.get("local_aws.content_length", environ.get("CONTENT_LENGTH", ""))
    if key == "CONTENT_ENCODING":
        return environ.get("local_aws.content_encoding", environ.get("HTTP_CONTENT_ENCODING", ""))
    return environ.get(f"HTTP_{key}", "")


def _check_time(found: Signed, moment: str, environ: Mapping[str, Any], now: dt.datetime) -> None:
    try:
        at = dt.datetime.fromisoformat(moment)
        if not MOMENT.fullmatch(moment):
            raise ValueError
    except ValueError:
        raise Wrong(INCOMPLETE, "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\".") from None
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
    if at < earliest:
        raise Wrong(SKEWED, f"Signature expired: {moment} is now earlier than {_written(earliest)} "
                    f"({_written(now)} - 15 min.)")  # fmt: skip
    if at > latest:
        raise Wrong(SKEWED, f"Signature not yet current: {moment} is still later than {_written(latest)} "
                    f"({_written(now)} + 15 min.)")  # fmt: skip


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
    return hmac.compare_digest(made, signature)
