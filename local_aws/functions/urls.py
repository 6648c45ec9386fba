"""A function's own address: the event that a request becomes, and the answer that the function's return value is.

Source: Lambda developer guide, "Invoking Lambda function URLs" (payload format version 2.0).
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qsl

PREFIX = "/lambda-url/"
"""Below this the gateway answers: AWS has a host name for each address, for which a loopback has no resolver."""
JSON = ("Content-Type", "application/json")
# Bodies of these types are handed on as text, all others in base64.
TEXTS = ("text/", "application/json", "application/javascript", "application/xml")
AUTH_TYPE, INVOKE_MODE = "AWS_IAM", "BUFFERED"


@dataclass(frozen=True)
class Address:
    """The address of a function's unpublished version, or of an alias (`qualifier`)."""

    id: str
    function: str
    qualifier: str | None
    created: str
    modified: str

    def kept(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Caller:
    """Who has signed, as the event says it."""

    access_key: str
    arn: str = ""
    user_id: str = ""


def event(
    environ: Mapping[str, Any], address: Address, path: str, body: bytes, *, account: str, caller: Caller, request: str
) -> bytes:
    """The event of a request. Parameters: `path` below the address; `request` the request's id."""
    headers = {
        key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key.startswith("HTTP_")
    } | {key.replace("_", "-").lower(): environ[key] for key in ("CONTENT_TYPE", "CONTENT_LENGTH") if environ.get(key)}
    cookies = [each.strip() for each in headers.pop("cookie", "").split(";") if each.strip()]
    query, now = environ.get("QUERY_STRING", ""), time.time()
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    made: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": account,
            "apiId": address.id,
            "authentication": None,
            "authorizer": {
                "iam": {
                    "accessKey": caller.access_key,
                    "accountId": account,
                    "callerId": caller.user_id,
                    "cognitoIdentity": None,
                    "principalOrgId": None,
                    "userArn": caller.arn,
                    "userId": caller.user_id,
                }
            },
            "domainName": environ.get("HTTP_HOST", ""),
            "domainPrefix": address.id,
            "http": {
                "method": environ["REQUEST_METHOD"],
                "path": path,
                "protocol": environ.get("SERVER_PROTOCOL", "HTTP/1.1"),
                "sourceIp": environ.get("REMOTE_ADDR", ""),
                "userAgent": environ.get("HTTP_USER_AGENT", ""),
            },
            "requestId": request,
            "routeKey": "$default",
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": False,
    }
    if cookies:
        made["cookies"] = cookies
    if parameters:
        made["queryStringParameters"] = parameters
    if body:
        as_text = environ.get("CONTENT_TYPE", "").startswith(TEXTS)
        made |= {"body": body.decode(errors="replace")} if as_text else {
            "body": base64.b64encode(body).decode(), "isBase64Encoded": True
        }  # fmt: skip
    return json.dumps(made).encode()


def answer(payload: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body that a function's return value stands for.

    An object with a statusCode says all of it; anything else is the body, as JSON.
    """
    try:
        value = json.loads(payload)
    except ValueError:
        return 502, [JSON], INTERNAL
    if not isinstance(value, dict) or "statusCode" not in value:
        return 200, [JSON], value.encode() if isinstance(value, str) else payload
    body, headers = value.get("body") or "", value.get("headers") or {}
    try:
        status = int(value["statusCode"])
        if not isinstance(body, str) or not isinstance(headers, dict) or not 100 <= status <= 599:
            raise ValueError
        content = base64.b64decode(body, validate=True) if value.get("isBase64Encoded") else body.encode()
    except (ValueError, TypeError):
        return 502, [JSON], INTERNAL
    listed = [(str(name), str(each)) for name, each in headers.items() if str(name).lower() != "content-length"]
    if not any(name.lower() == "content-type" for name, _ in listed):
        listed.append(JSON)
    return status, [*listed, *(("Set-Cookie", str(each)) for each in value.get("cookies") or ())], content


INTERNAL = json.dumps({"Message": "Internal Server Error"}).encode()
FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)
