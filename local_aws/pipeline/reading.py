"""Readers of JSON and CBOR bodies and of REST bindings, one made for each shape at its first use.

A reader takes what the wire gave and returns what the API's documentation calls it, timestamps with UTC as their zone.
What has another type than the model says is refused, as AWS does (SerializationException): a number is no string.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

from botocore.utils import is_json_value_header, parse_timestamp

from local_aws.errors import AwsError

Reader = Callable[[Any, str], Any]
"""(value, path) -> value."""

KINDS = {
    bool: "TRUE_VALUE or FALSE_VALUE", str: "STRING_VALUE", int: "NUMBER_VALUE", float: "NUMBER_VALUE",
    list: "START_ARRAY", dict: "START_OBJECT", bytes: "BLOB_VALUE", type(None): "NULL_VALUE",
}  # fmt: skip
WORDS = {"structure": "a structure", "list": "a list", "map": "a map", "string": "a String", "boolean": "a Boolean",
         "integer": "an Integer", "long": "a Long", "float": "a Float", "double": "a Double", "blob": "a Blob",
         "timestamp": "a Timestamp"}  # fmt: skip


def unreadable(message: str) -> AwsError:
    """The error for a body that is not what its type says."""
    return AwsError("SerializationException", message)


def json_object(body: bytes) -> dict[str, Any]:
    """A JSON body; nothing at all is an empty object. Raises AwsError("SerializationException")."""
    if not body:
        return {}
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise unreadable(f"The body is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise unreadable(f"The body must be a JSON object: {KINDS.get(type(found), 'a value')} found.")
    return found


def utc(value: Any) -> dt.datetime:
    """A timestamp in any of the API's forms. Raises ValueError."""
    if isinstance(value, dt.datetime):
        return value if value.tzinfo else value.replace(tzinfo=dt.UTC)
    return parse_timestamp(value).astimezone(dt.UTC)


def reader(shape: Any) -> Reader:
    """The reader of a shape; those of a structure's members are made at its first use: some contain themselves."""
    kind = shape.type_name
    if kind == "structure":
        return _anything if shape.is_document_type else _structure(shape)
    if kind == "list":
        return _list(shape)
    if kind == "map":
        return _map(shape)
    return {"string": _string, "character": _string, "boolean": _boolean, "float": _float, "double": _float,
            "blob": _blob, "timestamp": _timestamp}.get(kind, _integer)  # fmt: skip


def _wrong(value: Any, path: str, kind: str) -> AwsError:
    found = KINDS.get(type(value), type(value).__name__)
    return unreadable(f"{path or 'The body'}: {found} cannot be converted to {WORDS.get(kind, kind)}")


def _anything(value: Any, path: str) -> Any:
    return value


def _structure(shape: Any) -> Reader:
    members = [(member.serialization.get("name", name), name, member) for name, member in shape.members.items()]
    readers: dict[str, tuple[str, Reader]] = {}

    def read(value: Any, path: str) -> dict[str, Any]:
        if not readers:
            readers.update({wire: (name, reader(member)) for wire, name, member in members})
        if not isinstance(value, Mapping):
            raise _wrong(value, path, "structure")
        found = {}
        for wire, given in value.items():
            known = readers.get(wire)
            if known is not None and given is not None:
                found[known[0]] = known[1](given, f"{path}.{wire}" if path else wire)
        return found

    return read


def _list(shape: Any) -> Reader:
    member = reader(shape.member)

    def read(value: Any, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise _wrong(value, path, "list")
        return [each if each is None else member(each, f"{path}[{number}]") for number, each in enumerate(value)]

    return read


def _map(shape: Any) -> Reader:
    key, member = reader(shape.key), reader(shape.value)

    def read(value: Any, path: str) -> dict[Any, Any]:
        if not isinstance(value, Mapping):
            raise _wrong(value, path, "map")
        return {
            key(name, path): each if each is None else member(each, f"{path}.{name}") for name, each in value.items()
        }

    return read


def _string(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise _wrong(value, path, "string")
    return value


def _boolean(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(value, path, "boolean")
    return value


def _integer(value: Any, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or int(value) != value:
        raise _wrong(value, path, "integer")
    return int(value)


def _float(value: Any, path: str) -> float:
    if value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(value, path, "double")
    return float(value)


def _blob(value: Any, path: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise _wrong(value, path, "blob")
    try:
        return base64.b64decode(value)
    except (binascii.Error, ValueError):
        raise unreadable(f"{path}: STRING_VALUE cannot be converted to a Blob: it is not base64") from None


def _timestamp(value: Any, path: str) -> dt.datetime:
    try:
        return utc(value)
    except (ValueError, TypeError, OverflowError):
        raise _wrong(value, path, "timestamp") from None


def from_text(shape: Any) -> Reader:
    """Reads what a header, the path or the query string holds: text."""
    kind = shape.type_name
    if kind == "list":
        member = from_text(shape.member)
        return lambda value, path: [
            member(each, path) for each in (value if isinstance(value, list) else _split(value))
        ]
    if is_json_value_header(shape):
        return lambda value, path: json.loads(base64.b64decode(value))
    return functools.partial(_text, kind)


def _split(value: str) -> list[str]:
    return [each.strip() for each in value.split(",")]


def _text(kind: str, value: Any, path: str) -> Any:
    if kind == "string":
        return value
    try:
        if kind == "boolean":
            if value.lower() in {"true", "false"}:
                return value.lower() == "true"
            raise ValueError
        if kind in {"float", "double"}:
            return float(value)
        if kind == "timestamp":
            return utc(value)
        if kind == "blob":
            return base64.b64decode(value)
        return int(value)
    except (ValueError, OverflowError, AttributeError):
        raise _wrong(value, path, kind) from None
