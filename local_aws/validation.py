"""Refuses what AWS's own validation refuses, from the constraints in botocore's model.

AWS answers with ValidationException: "N validation error(s) detected: Value '...' at '...' failed to satisfy
constraint: ...", which is what clients see from the real services.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

from botocore.model import Shape

from local_aws.errors import AwsError

# Shapes larger than this are opaque here (an image, a zip): their content is no text to match a pattern against.
LARGEST_QUOTED = 200
# The code of such a refusal, where it is not ValidationException.
CODES = {"ec2-instance-connect": "InvalidArgsException"}
# EC2 checks what it is given one by one, each in words of its own.
IN_OWN_WORDS = {"ec2"}


def check(params: dict[str, Any], shape: Shape | None, service: str = "") -> None:
    """Check parsed parameters against an operation's input shape. Raises AwsError("ValidationException")."""
    if shape is None or service in IN_OWN_WORDS:
        return
    problems = list(_problems(params, shape, ""))
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
        raise AwsError(CODES.get(service, "ValidationException"), count + "; ".join(problems))


def _problems(value: Any, shape: Shape, path: str) -> Iterator[str]:
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        yield from _structure(value, shape, path)
    elif kind == "list" and isinstance(value, list):
        yield from _length(len(value), value, shape, path)
        for number, item in enumerate(value, 1):
            yield from _problems(item, shape.member, f"{path}.{number}.member")
    elif kind == "map" and isinstance(value, dict):
        yield from _length(len(value), value, shape, path)
        for key, item in value.items():
            yield from _problems(key, shape.key, f"{path}.key")
            yield from _problems(item, shape.value, f"{path}.{key}.member")
    elif kind == "string" and isinstance(value, str):
        yield from _string(value, shape, path)
    elif kind in {"integer", "long", "float", "double"} and isinstance(value, int | float):
        yield from _range(value, shape, path)


def _structure(value: dict[str, Any], shape: Any, path: str) -> Iterator[str]:
    prefix = f"{path}." if path else ""
    for name in shape.required_members:
        if value.get(name) is None:
            yield _problem("null", prefix + _lower_first(name), "Member must not be null")
    for name, member in shape.members.items():
        if value.get(name) is not None:
            yield from _problems(value[name], member, prefix + _lower_first(name))


def _string(value: str, shape: Any, path: str) -> Iterator[str]:
    yield from _length(len(value), value, shape, path)
    if shape.enum and value not in shape.enum:
        yield _problem(value, path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")
    pattern = shape.metadata.get("pattern")
    if pattern and len(value) <= 4096 and not _matches(pattern, value):
        yield _problem(value, path, f"Member must satisfy regular expression pattern: {pattern}")


def _length(length: int, value: Any, shape: Any, path: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and length < low:
        yield _problem(value, path, f"Member must have length greater than or equal to {low}")
    if high is not None and length > high:
        yield _problem(value, path, f"Member must have length less than or equal to {high}")


def _range(value: float, shape: Any, path: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and value < low:
        yield _problem(value, path, f"Member must have value greater than or equal to {low}")
    if high is not None and value > high:
        yield _problem(value, path, f"Member must have value less than or equal to {high}")


def _problem(value: Any, path: str, constraint: str) -> str:
    text = str(value)
    quoted = text if len(text) <= LARGEST_QUOTED else text[:LARGEST_QUOTED] + "..."
    return f"Value '{quoted}' at '{path}' failed to satisfy constraint: {constraint}"


@functools.lru_cache(maxsize=2048)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:
        # A few of the models' patterns are Java's and mean nothing to Python; the service would check them.
        return None


def _matches(pattern: str, value: str) -> bool:
    if r"\p{" in pattern:
        # Unicode classes of Java's: tag keys and values mostly, which nearly everything satisfies.
        return True
    compiled = _compiled(pattern)
    return compiled is None or compiled.fullmatch(value) is not None


def _lower_first(name: str) -> str:
    return name[:1].lower() + name[1:]
