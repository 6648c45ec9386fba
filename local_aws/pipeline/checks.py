"""Refuses what AWS's own validation refuses, from the constraints in botocore's model.

AWS answers "N validation error(s) detected: Value '...' at '...' failed to satisfy constraint: ...", which is what
clients see from the real services. A check is made once for each shape, from what can go wrong in it alone: a member
without any constraint costs nothing.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

from botocore.model import Shape

from local_aws.errors import AwsError

# Shapes larger than this are opaque here (an image, a zip): their content is no text to match a pattern against.
LARGEST_QUOTED = 200
LONGEST_MATCHED = 16_384
# The code of such a refusal, where it is neither a member of the model nor the protocol's.
CODES = {
    "ec2-instance-connect": "InvalidArgsException",
    "logs": "InvalidParameterException",
    "ecr": "InvalidParameterException",
    "budgets": "InvalidParameterException",
    "secretsmanager": "InvalidParameterException",
    "sagemaker-runtime": "ValidationError",
    "s3": "InvalidArgument",
}
# What a model says and AWS does not hold callers to: (service, operation, member or "*") -> where that is said.
EXEMPT: dict[tuple[str, str, str], str] = {}
# Java's classes of characters, in a class of Python's; the wider of two where there is none.
CLASSES = {
    "ASCII": r"\x00-\x7F", "Alnum": "a-zA-Z0-9", "Alpha": "a-zA-Z", "Digit": "0-9", "Lower": "a-z", "Upper": "A-Z",
    "Print": r"\x20-\x7E", "Graph": r"\x21-\x7E", "XDigit": "0-9a-fA-F", "Space": r"\s", "Blank": r" \t",
    "L": r"\w", "Lu": r"\w", "Ll": r"\w", "Lt": r"\w", "Lm": r"\w", "Lo": r"\w", "N": r"\w", "Nd": r"\w", "Nl": r"\w",
    "No": r"\w", "IsAlphabetic": r"\w", "IsDigit": r"\d", "Z": r"\s", "Zs": r"\s", "IsWhite_Space": r"\s",
}  # fmt: skip

Problem = tuple[str, Any, str]
"""Where, the value that is there, and the constraint that it does not satisfy."""
Check = Callable[[Any, str, list[Problem]], None]


def check(operation: Any, service: str) -> Callable[[dict[str, Any]], None] | None:
    """What checks an operation's parameters, raising AwsError; None when nothing can be wrong with them."""
    shape = operation.input_shape
    found = shape and _structure(shape, exempt=_exempt(service, operation.name))
    if not found:
        return None

    def run(params: dict[str, Any]) -> None:
        problems: list[Problem] = []
        found(params, "", problems)
        if problems:
            raise refusal(operation.service_model, service, problems)

    return run


def _exempt(service: str, operation: str) -> frozenset[str]:
    return frozenset(member for each, name, member in EXEMPT if each == service and name in {operation, "*"})


def refusal(model: Any, service: str, problems: list[Problem]) -> AwsError:
    """The service's own error."""
    where, value, constraint = problems[0]
    if service == "ec2":
        return _in_words_of_ec2(where, value, constraint)
    if service == "s3" and "length" not in constraint and where == "storageClass":
        return AwsError("InvalidStorageClass", "The storage class you specified is not valid")
    said = "; ".join(
        f"Value '{_quoted(each)}' at '{place}' failed to satisfy constraint: {rule}" for place, each, rule in problems
    )
    count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
    return AwsError(code(model, service), count + said)


def code(model: Any, service: str) -> str:
    """By which code a service refuses what its model does not allow."""
    if service in CODES:
        return CODES[service]
    return "ValidationError" if model.metadata["protocol"] == "query" else "ValidationException"


def _in_words_of_ec2(where: str, value: Any, constraint: str) -> AwsError:
    name = where.rpartition(".")[2] if not where.endswith(".member") else where.split(".")[-3]
    name = name[:1].upper() + name[1:]
    if value is None:
        return AwsError("MissingParameter", f"The request must contain the parameter {name}")
    if "enum" in constraint:
        return AwsError("InvalidParameterValue", f"Invalid value '{_quoted(value)}' for {name}.")
    return AwsError("InvalidParameterValue", f"Value ({_quoted(value)}) for parameter {name} is invalid. {constraint}.")


def _quoted(value: Any) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= LARGEST_QUOTED else text[:LARGEST_QUOTED] + "..."


def _made(shape: Shape) -> Check | None:
    kind = shape.type_name
    if kind == "structure":
        return _structure(shape)
    if kind == "list":
        return _list(shape)
    if kind == "map":
        return _map(shape)
    if kind == "string":
        return _string(shape)
    if kind in {"integer", "long", "float", "double"}:
        return _bounds(shape, "value", lambda value: value)
    if kind == "blob" and not shape.serialization.get("streaming"):
        return _bounds(shape, "length", len)
    return None


def _structure(shape: Any, exempt: frozenset[str] = frozenset()) -> Check | None:
    if getattr(shape, "is_document_type", False) or not shape.members:
        return None
    # A body that is somebody else's may be empty, and of too large a one services speak in their own words.
    payload = shape.serialization.get("payload")
    body = payload if payload and shape.members[payload].type_name == "blob" else None
    required = [(name, _lower_first(name)) for name in shape.required_members if name not in {body, *exempt}]
    checks: dict[str, tuple[str, Check]] = {}
    made = False

    def run(value: Any, path: str, problems: list[Problem]) -> None:
        nonlocal made
        if not made:
            found = {name: _made(member) for name, member in shape.members.items() if name not in {body, *exempt}}
            checks.update({name: (_lower_first(name), each) for name, each in found.items() if each is not None})
            made = True
        prefix = f"{path}." if path else ""
        for name, shown in required:
            if value.get(name) is None:
                problems.append((prefix + shown, None, "Member must not be null"))
        for name, given in value.items():
            known = checks.get(name)
            if known is not None and given is not None:
                known[1](given, prefix + known[0], problems)

    return run


def _list(shape: Any) -> Check | None:
    bounds, member = _bounds(shape, "length", len), _made(shape.member)
    if bounds is None and member is None:
        return None

    def run(value: Any, path: str, problems: list[Problem]) -> None:
        if bounds is not None:
            bounds(value, path, problems)
        if member is not None:
            for number, item in enumerate(value, 1):
                if item is not None:
                    member(item, f"{path}.{number}.member", problems)

    return run


def _map(shape: Any) -> Check | None:
    bounds, key, member = _bounds(shape, "length", len), _made(shape.key), _made(shape.value)
    if bounds is None and key is None and member is None:
        return None

    def run(value: Any, path: str, problems: list[Problem]) -> None:
        if bounds is not None:
            bounds(value, path, problems)
        for name, item in value.items():
            if key is not None:
                key(name, f"{path}.key", problems)
            if member is not None and item is not None:
                member(item, f"{path}.{name}.member", problems)

    return run


def _string(shape: Any) -> Check | None:
    bounds = _bounds(shape, "length", len)
    values = frozenset(shape.enum)
    enum = f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
    written = shape.metadata.get("pattern")
    pattern = compiled(written) if written else None
    if bounds is None and not values and pattern is None:
        return None
    matches = pattern.fullmatch if pattern is not None else None

    def run(value: Any, path: str, problems: list[Problem]) -> None:
        if bounds is not None:
            bounds(value, path, problems)
        if values and value not in values:
            problems.append((path, value, enum))
        if matches is not None and len(value) <= LONGEST_MATCHED and not matches(value):
            problems.append((path, value, f"Member must satisfy regular expression pattern: {written}"))

    return run


def _bounds(shape: Any, what: str, measure: Callable[[Any], float]) -> Check | None:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is None and high is None:
        return None

    def run(value: Any, path: str, problems: list[Problem]) -> None:
        size = measure(value)
        if low is not None and size < low:
            problems.append((path, value, f"Member must have {what} greater than or equal to {low}"))
        if high is not None and size > high:
            problems.append((path, value, f"Member must have {what} less than or equal to {high}"))

    return run


def compiled(pattern: str) -> re.Pattern[str] | None:
    """A pattern of a model, which is Java's, for Python; None for one that means nothing to it.

    Where Python has no class of the same characters the wider one is taken: what AWS takes is never refused for that.
    """
    flags = re.ASCII
    if r"\p{" in pattern:
        flags = re.UNICODE
        pattern, unknown = _without_classes(pattern)
        if unknown:
            return None
    if "&&" in pattern or r"\P{" in pattern or r"\Q" in pattern:
        return None
    try:
        with warnings.catch_warnings():
            # A class within a class is Java's union.
            warnings.simplefilter("error", FutureWarning)
            return re.compile(pattern, flags)
    except (re.error, FutureWarning, OverflowError):
        return None


def _without_classes(pattern: str) -> tuple[str, bool]:
    unknown = False

    def replaced(match: re.Match[str]) -> str:
        nonlocal unknown
        unknown = unknown or match[1] not in CLASSES
        found = CLASSES.get(match[1], "")
        before = pattern[: match.start()]
        inside = len(re.findall(r"(?<!\\)\[", before)) > len(re.findall(r"(?<!\\)\]", before))
        return found if inside else f"[{found}]"

    return re.sub(r"\\p\{(\w+)\}", replaced, pattern), unknown


def _lower_first(name: str) -> str:
    return name[:1].lower() + name[1:]
