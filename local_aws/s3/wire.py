"""S3's form on the wire, from botocore's model: which operation a request means, its parameters, its answer.

Made for speed where objects go through: tables that are made once, and no body in memory.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Callable
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from botocore.model import Shape
from botocore.utils import parse_timestamp
from moto.core.model import OperationModel
from moto.core.parse import RestXMLParser
from moto.core.utils import get_service_model

from local_aws.errors import AwsError
from local_aws.s3 import checksums, errors

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
# XML 1.0 has no character for these but by a reference, which most parsers refuse: S3 sends them so.
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
BUCKET_HOST = re.compile(r"(?P<bucket>.+?)(\.s3[.-][^.]*|\.s3)?\.localhost(:\d+)?", re.IGNORECASE)
# What tells operations apart that have one address in the model.
WITH_UPLOAD = {
    "GET": "ListParts", "PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload",
}  # fmt: skip
PLAIN = {
    ("GET", True): "GetObject", ("HEAD", True): "HeadObject", ("PUT", True): "PutObject",
    ("DELETE", True): "DeleteObject", ("GET", False): "ListObjects", ("PUT", False): "CreateBucket",
}  # fmt: skip


@functools.cache
def operation_model(name: str) -> OperationModel:
    return get_service_model("s3").operation_model(name)


@functools.cache
def _subresources() -> dict[tuple[str, bool, str], str]:
    """(method, whether it has a key, the query's name) -> operation."""
    found: dict[tuple[str, bool, str], str] = {}
    for name in get_service_model("s3").operation_names:
        http = operation_model(name).http
        path, _, query = http["requestUri"].partition("?")
        if query:
            found.setdefault((http["method"], "{Key+}" in path, query.split("&")[0].split("=")[0]), name)
    return found


def identify(method: str, key: str, query: dict[str, str], headers: dict[str, str]) -> str | None:
    """The name of the operation on a bucket or on an object of it; None for one that the model does not have.

    Parameters: `query` and `headers` by the names on the wire, the latter in lower case.
    """
    on_object = bool(key)
    copies = "x-amz-copy-source" in headers
    if on_object and "uploadId" in query and method in WITH_UPLOAD:
        name = WITH_UPLOAD[method]
        return "UploadPartCopy" if name == "UploadPart" and copies else name
    known = _subresources()
    for name in query:
        if (found := known.get((method, on_object, name))) is not None:
            return found
    if on_object and method == "PUT" and copies:
        return "CopyObject"
    return PLAIN.get((method, on_object))


def place(host: str, path: str, *, names_in_host: bool) -> tuple[str, str]:
    """(bucket, key) of a request: by its path, or with the bucket in the host's name. Raises AwsError."""
    try:
        path = path.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise AwsError("InvalidURI", "Couldn't parse the specified URI.") from None
    if names_in_host and (found := BUCKET_HOST.fullmatch(host)):
        return found["bucket"].lower(), path[1:]
    bucket, _, key = path[1:].partition("/")
    return bucket, key


def query_of(text: str) -> dict[str, str]:
    return dict(parse_qsl(text, keep_blank_values=True))


# --- requests

Convert = Callable[[str], Any]


def _boolean(text: str) -> bool:
    return text.lower() == "true"


def _time(text: str) -> dt.datetime:
    found = parse_timestamp(text)
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


CONVERSIONS: dict[str, Convert] = {"integer": int, "long": int, "boolean": _boolean, "timestamp": _time}


class _Input:
    """How the parameters of one operation are read."""

    def __init__(self, operation: OperationModel) -> None:
        shape = operation.input_shape
        members = shape.members if shape else {}
        self.query: dict[str, tuple[str, Convert, str]] = {}
        self.headers: dict[str, tuple[str, Convert, str]] = {}
        self.prefix: tuple[str, str] | None = None
        for name, member in members.items():
            location, wire = member.serialization.get("location"), member.serialization.get("name", name)
            convert = CONVERSIONS.get(member.type_name, str)
            if member.type_name == "list":
                convert = _listed
            if location == "querystring":
                self.query[wire] = (name, convert, member.type_name)
            elif location == "header":
                self.headers[wire.lower()] = (name, convert, member.type_name)
            elif location == "headers":
                self.prefix = (name, wire.lower())
        payload = shape.serialization.get("payload") if shape else None
        self.payload = payload
        self.needs_checksum = bool((operation.http_checksum or {}).get("requestChecksumRequired"))
        self.payload_shape = members[payload] if payload else None


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",")]


@functools.cache
def _input(name: str) -> _Input:
    return _Input(operation_model(name))


def parse(
    name: str, bucket: str, key: str, query: dict[str, str], headers: dict[str, str], body: Any
) -> dict[str, Any]:
    """The parameters of a call, as boto3's caller gave them; `Body` is what the body is read from. Raises AwsError."""
    known = _input(name)
    params: dict[str, Any] = {"Bucket": bucket}
    if key:
        params["Key"] = key
    for texts, table in ((query, known.query), (headers, known.headers)):
        for wire, text in texts.items():
            if wire in table:
                member, convert, kind = table[wire]
                try:
                    params[member] = convert(text)
                except ValueError:
                    if kind == "timestamp":
                        continue  # RFC 9110, 13.1.3: a date that is none is ignored
                    message = f"Provided {wire} not an integer or within integer range"
                    raise errors.invalid_argument(wire, text, message) from None
    if known.prefix is not None:
        member, prefix = known.prefix
        params[member] = {wire[len(prefix) :]: text for wire, text in headers.items() if wire.startswith(prefix)}
    if known.payload and known.payload_shape is not None:
        if known.payload_shape.type_name == "blob":
            params[known.payload] = body
        else:
            data = body.read()
            checksums.check_document(data, headers, required=known.needs_checksum)
            if data:
                params[known.payload] = parse_xml(name, known.payload_shape, data)
    return params


def parse_xml(name: str, shape: Shape, data: bytes) -> Any:
    """Raises AwsError."""
    parser = RestXMLParser(operation_model(name))
    try:
        return parser._parse_shape(shape, parser._initial_body_parse(data))
    except Exception:
        raise errors.malformed_xml() from None


# --- answers


class _Output:
    """How the answer of one operation is written."""

    def __init__(self, operation: OperationModel) -> None:
        shape = operation.output_shape
        members = shape.members if shape else {}
        self.headers: dict[str, tuple[str, str]] = {}
        self.prefix: tuple[str, str] | None = None
        self.body: dict[str, Shape] = {}
        for name, member in members.items():
            location, wire = member.serialization.get("location"), member.serialization.get("name", name)
            if location == "header":
                self.headers[name] = (wire, member.type_name)
            elif location == "headers":
                self.prefix = (name, wire)
            elif location is None:
                self.body[name] = member
        self.payload = shape.serialization.get("payload") if shape else None
        self.root = shape.serialization.get("resultWrapper") if shape else None


@functools.cache
def _output(name: str) -> _Output:
    return _Output(operation_model(name))


def serialise(name: str, answer: dict[str, Any]) -> tuple[list[tuple[str, str]], Any]:
    """Headers and body: bytes, or the stream that is the answer's payload."""
    known = _output(name)
    headers: list[tuple[str, str]] = []
    for member, value in answer.items():
        if member in known.headers and value is not None:
            wire, kind = known.headers[member]
            headers.append((wire, _header(value, kind)))
        elif known.prefix is not None and member == known.prefix[0]:
            headers += [(known.prefix[1] + each, text) for each, text in value.items()]
    if known.payload:
        shape = known.body[known.payload]
        content = answer.get(known.payload)
        if shape.type_name == "blob" or content is None:
            return headers, content or b""
        text = _element(known.root or known.payload, shape, content)
    elif known.body:
        inner = "".join(
            _element(shape.serialization.get("name", each), shape, answer[each])
            for each, shape in known.body.items()
            if answer.get(each) is not None
        )
        text = f'<{known.root} xmlns="{NAMESPACE}">{inner}</{known.root}>'
    else:
        return headers, b""
    headers.append(("Content-Type", "application/xml"))
    return headers, (DECLARATION + text).encode()


def _header(value: Any, kind: str) -> str:
    if kind == "timestamp":
        return format_datetime(value, usegmt=True)
    if kind == "boolean":
        return "true" if value else "false"
    return str(value)


def _element(name: str, shape: Shape, value: Any) -> str:
    kind = shape.type_name
    if kind == "structure":
        attributes, inner = "", []
        for member, member_shape in shape.members.items():
            if value.get(member) is None:
                continue
            if member_shape.serialization.get("xmlAttribute"):
                attributes += f' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="{value[member]}"'
            else:
                wire = member_shape.serialization.get("name", member)
                inner.append(_element(wire, member_shape, value[member]))
        return f"<{name}{attributes}>{''.join(inner)}</{name}>"
    if kind == "list":
        if shape.serialization.get("flattened"):
            wire = shape.serialization.get("name", name)
            return "".join(_element(wire, shape.member, each) for each in value)
        wire = shape.member.serialization.get("name", "member")
        wrapper = shape.serialization.get("name", name)
        inner_text = "".join(_element(wire, shape.member, each) for each in value)
        return f"<{wrapper}>{inner_text}</{wrapper}>"
    if kind == "boolean":
        return f"<{name}>{'true' if value else 'false'}</{name}>"
    if kind == "timestamp":
        return f"<{name}>{value:%Y-%m-%dT%H:%M:%S.000Z}</{name}>"
    return f"<{name}>{_text(str(value))}</{name}>"


def _text(text: str) -> str:
    # A line break or a tab of a key would be another one after an XML parser has normalised it.
    escaped = escape(text, {"\r": "&#13;", '"': "&quot;"})
    return CONTROLS.sub(lambda found: f"&#{ord(found[0])};", escaped)


def serialise_error(error: AwsError, resource: str, request_id: str) -> bytes:
    more = {name: value for name, value in vars(error).items() if name[:1].isupper()}
    fields = {"Code": error.code, "Message": error.message, **more, "Resource": resource, "RequestId": request_id}
    inner = "".join(f"<{name}>{_text(str(value))}</{name}>" for name, value in fields.items())
    return f"{DECLARATION}<Error>{inner}</Error>".encode()
