"""From a request to the parameters of its operation, in the API's own words; a parser for each protocol.

JSON, REST-JSON and CBOR are read by `reading.py`; the Query protocol's forms and XML by moto's parsers.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs

from botocore.parsers import RpcV2CBORParser
from moto.core.model import OperationModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request
from werkzeug.datastructures import MultiDict

from local_aws.errors import AwsError
from local_aws.pipeline import decode
from local_aws.pipeline.exchange import Exchange, environ_key
from local_aws.pipeline.reading import Reader, from_text, json_object, reader, unreadable, utc

Parser = Callable[[Exchange], dict[str, Any]]
"""Raises AwsError for what cannot be read."""


def parser(operation: OperationModel, protocol: str) -> Parser:
    """The parser of an operation's requests in a protocol."""
    if operation.input_shape is None:
        return lambda exchange: {}
    if protocol == "json":
        read = reader(operation.input_shape)
        return lambda exchange: read(json_object(exchange.body or b""), "")
    if protocol == "smithy-rpc-v2-cbor":
        return _cbor(operation)
    if protocol == "rest-json":
        return _rest_json(operation)
    if protocol in {"query", "ec2"}:
        parse = PROTOCOL_PARSERS[protocol](operation, timestamp_parser=utc)
        return _refusing(lambda exchange: parse.parse({"values": decode.form(exchange)}), "MalformedInput")
    return _rest_xml(operation)


def has_raw_body(operation: OperationModel) -> bool:
    """Whether the body of an operation's requests is nothing to be read here: an object, an event, a picture."""
    shape = operation.input_shape
    payload = shape and shape.serialization.get("payload")
    return bool(payload) and shape.members[payload].type_name in {"blob", "string"}


def _refusing(parse: Parser, code: str) -> Parser:
    """What a parser of moto's trips over is the caller's mistake."""

    def refusing(exchange: Exchange) -> dict[str, Any]:
        try:
            return parse(exchange)
        except AwsError:
            raise
        except Exception as error:
            raise AwsError(code, f"The request could not be read: {error}") from error

    return refusing


def _cbor(operation: OperationModel) -> Parser:
    read, decoder = reader(operation.input_shape), RpcV2CBORParser()

    def parse(exchange: Exchange) -> dict[str, Any]:
        if not exchange.body:
            return {}
        try:
            found = decoder.parse_data_item(decoder.get_peekable_stream_from_bytes(exchange.body))
        except Exception as error:
            raise unreadable(f"The body is not CBOR: {error}.") from None
        return read(found, "")

    return parse


def _rest_json(operation: OperationModel) -> Parser:
    """For each place of a request the members that are there; most operations have few."""
    shape = operation.input_shape
    uri, header, query, prefixed = (list(_bound(shape, each)) for each in ("uri", "header", "querystring", "headers"))
    keys = [(name, environ_key(wire), from_text(member)) for name, wire, member in header]
    labels = [(name, wire, from_text(member)) for name, wire, member in uri]
    asked = [(name, wire, member.type_name, from_text(member)) for name, wire, member in query]
    body = _json_body(operation)

    def parse(exchange: Exchange) -> dict[str, Any]:
        environ, groups = exchange.environ, exchange.groups
        found = body(exchange.body) if exchange.body else {}
        for name, wire, read in labels:
            if groups.get(wire) is not None:
                found[name] = read(groups[wire], name)
        for name, key, read in keys:
            if environ.get(key):
                found[name] = read(environ[key], name)
        text = environ.get("QUERY_STRING")
        if asked and text:
            _from_query(asked, parse_qs(text, keep_blank_values=True), found)
        for name, prefix, _ in prefixed:
            start = prefix.lower()
            found[name] = {key[len(start) :]: value for key, value in exchange.headers.items() if key.startswith(start)}
        return found

    return parse


def _bound(shape: Any, place: str) -> Iterator[tuple[str, str, Any]]:
    """(name, name on the wire, shape) of the members that are in a place of a request."""
    for name, member in shape.members.items():
        if member.serialization.get("location") == place:
            yield name, member.serialization.get("name", name), member


def _json_body(operation: OperationModel) -> Callable[[bytes], dict[str, Any]]:
    shape = operation.input_shape
    payload = shape.serialization.get("payload")
    if has_raw_body(operation):
        return lambda body: {payload: body}
    read = reader(shape.members[payload] if payload else shape)
    if payload:
        return lambda body: {payload: read(json_object(body), payload)}
    return lambda body: read(json_object(body), "")


def _from_query(
    members: list[tuple[str, str, str, Reader]], given: dict[str, list[str]], found: dict[str, Any]
) -> None:
    for name, wire, kind, read in members:
        if kind == "map":
            found[name] = {key: value if len(value) > 1 else value[0] for key, value in given.items()}
        elif wire in given:
            found[name] = read(given[wire] if kind == "list" else given[wire][0], name)


def _rest_xml(operation: OperationModel) -> Parser:
    parse = PROTOCOL_PARSERS["rest-xml"](operation, timestamp_parser=utc)

    def read(exchange: Exchange) -> dict[str, Any]:
        environ = exchange.environ
        stream, environ["wsgi.input"] = environ["wsgi.input"], io.BytesIO()
        try:
            request = Request(environ)
            arguments = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
            return parse.parse(
                {
                    "values": MultiDict(arguments),
                    "headers": request.headers,
                    "body": exchange.body or b"",
                    "url_params": exchange.groups,
                }
            )
        finally:
            environ["wsgi.input"] = stream

    return _refusing(read, "MalformedXML")
