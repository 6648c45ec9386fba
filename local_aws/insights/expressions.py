"""What a query computes of one event: fields, comparisons, arithmetic and functions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from local_aws.insights.tokens import Words, malformed

Row = Mapping[str, Any]
Expression = Callable[[Row], Any]
"""A value of a row: text, a number, a truth, or None where a field is missing."""
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
UNITS = {"second": "s", "minute": "m", "hour": "h", "day": "d", "week": "w", "millisecond": "ms"}


def number(value: Any) -> float | None:
    """A value as a number; None for what is none."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def text(value: Any) -> str:
    """A value as a query shows it."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        return f"{value:.10g}" if abs(value) < 1e15 else repr(value)
    return str(value)


def truth(value: Any) -> bool:
    return bool(number(value)) if number(value) is not None else bool(value)


def expression(words: Words) -> Expression:
    """`or` binds least, then `and`, `not`, comparisons, and arithmetic. Raises AwsError."""
    found = _all(words)
    while words.take("or"):
        left, right = found, _all(words)
        found = lambda row, left=left, right=right: truth(left(row)) or truth(right(row))  # noqa: E731
    return found


def _all(words: Words) -> Expression:
    found = _not(words)
    while words.take("and"):
        left, right = found, _not(words)
        found = lambda row, left=left, right=right: truth(left(row)) and truth(right(row))  # noqa: E731
    return found


def _not(words: Words) -> Expression:
    if words.take("not"):
        inner = _not(words)
        return lambda row: not truth(inner(row))
    return _compared(words)


def _compared(words: Words) -> Expression:
    left = _sum(words)
    for sign, holds in COMPARISONS.items():
        if words.take(sign):
            right = _sum(words)
            return lambda row: _holds(holds, left(row), right(row))
    negated = words.take("not", "like") or words.take("not", "in")
    before = words.text[: words.token.start].split()[-1].lower() if negated else ""
    if before == "like" or (not negated and (words.take("like") or words.take("=~"))):
        matches = _pattern(words)
        return lambda row: (matches(left(row)) != negated) if left(row) is not None else negated
    if before == "in" or (not negated and words.take("in")):
        wanted = _listed(words)
        return lambda row: any(_holds(lambda a, b: a == b, left(row), each(row)) for each in wanted) != negated
    return left


def _pattern(words: Words) -> Callable[[Any], bool]:
    token = words.next()
    if token.kind == "string":
        part = unquoted(token.text)
        return lambda value: part in text(value)
    if token.kind != "regex":
        raise malformed(f'like takes /a regular expression/ or "a part", not {token.text!r}')
    pattern = regex(token.text)
    return lambda value: pattern.search(text(value)) is not None


def regex(written: str) -> re.Pattern[str]:
    """A regular expression between slashes. Raises AwsError."""
    flags = re.IGNORECASE if written.endswith("i") else 0
    body = written[1 : written.rindex("/")].replace("\\/", "/")
    try:
        # Groups have names in AWS's way, which is Java's.
        return re.compile(re.sub(r"\(\?<([A-Za-z]\w*)>", r"(?P<\1>", body), flags)
    except re.error as error:
        raise malformed(f"{written} is no regular expression: {error}") from None


def unquoted(written: str) -> str:
    """A string without its quotes."""
    return re.sub(r"\\(.)", r"\1", written[1:-1])


def _listed(words: Words) -> list[Expression]:
    words.expect("[")
    found = [_sum(words)]
    while words.take(","):
        found.append(_sum(words))
    words.expect("]")
    return found


COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b, "!=": lambda a, b: a != b, "<=": lambda a, b: a <= b, ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b, ">": lambda a, b: a > b,
}  # fmt: skip


def _holds(holds: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
    """Numbers are compared as such, everything else as text; with what is missing nothing is compared."""
    if left is None or right is None:
        return False
    numbers = number(left), number(right)
    return holds(*numbers) if None not in numbers else holds(text(left), text(right))


ARITHMETIC: dict[str, Callable[[float, float], float | None]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b if b else None,
    "%": lambda a, b: math.fmod(a, b) if b else None, "^": lambda a, b: a**b,
}  # fmt: skip


def _sum(words: Words) -> Expression:
    return _chain(words, ("+", "-"), lambda: _chain(words, ("*", "/", "%"), lambda: _chain(
        words, ("^",), lambda: _one(words))))  # fmt: skip


def _chain(words: Words, signs: tuple[str, ...], part: Callable[[], Expression]) -> Expression:
    found = part()
    while True:
        sign = next((each for each in signs if words.take(each)), None)
        if sign is None:
            return found
        found = _computed(ARITHMETIC[sign], found, part())


def _computed(compute: Callable[[float, float], float | None], left: Expression, right: Expression) -> Expression:
    def value(row: Row) -> float | None:
        a, b = number(left(row)), number(right(row))
        return None if a is None or b is None else compute(a, b)

    return value


def _one(words: Words) -> Expression:
    token = words.token
    if words.take("("):
        inner = expression(words)
        words.expect(")")
        return inner
    if words.take("-"):
        return _computed(ARITHMETIC["-"], lambda row: 0.0, _one(words))
    if token.kind == "string":
        words.next()
        written = unquoted(token.text)
        return lambda row: written
    if token.kind == "number":
        words.next()
        return lambda row: float(token.text)
    name = words.name()
    if not words.take("("):
        return lambda row: row.get(name)
    if name.lower() == "bin":
        return binned(words)
    function = FUNCTIONS.get(name.lower())
    if function is None:
        raise malformed(f"The local AWS carries out the functions {', '.join(sorted(FUNCTIONS))} and bin, not {name}")
    arguments: list[Expression] = []
    while not words.take(")"):
        if arguments:
            words.expect(",")
        arguments.append(expression(words))
    least, most, compute = function
    if not least <= len(arguments) <= most:
        raise malformed(f"{name} takes {least}{'' if most == least else ' or more'} arguments, not {len(arguments)}")
    return lambda row: compute(*(each(row) for each in arguments))


def binned(words: Words) -> Expression:
    """bin(5m): an event's time, rounded down. The bracket is open."""
    token = words.next()
    if token.kind == "number":  # bin(5 minutes)
        unit = UNITS.get(words.name().lower().removesuffix("s"))
        length = float(token.text) * SECONDS[unit] if unit else 0.0
    else:
        match = re.fullmatch(r"(\d+)(ms|[smhdw])", token.text)
        length = float(match[1]) * SECONDS[match[2]] if match else 0.0
    if not length:
        raise malformed(f"bin takes a length of time such as 30s, 5m or 1h, not {token.text!r}")
    words.expect(")")
    milliseconds = length * 1000

    def value(row: Row) -> Moment | None:
        at = row.get("@timestamp")
        return None if at is None else Moment(int(at // milliseconds * milliseconds))

    return value


class Moment(int):
    """A time in milliseconds, which is shown as one."""


def _of_text(compute: Callable[[str], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else compute(text(value))


def _of_number(compute: Callable[[float], float]) -> Callable[[Any], Any]:
    return lambda value: None if number(value) is None else compute(number(value) or 0.0)


FUNCTIONS: dict[str, tuple[int, int, Callable[..., Any]]] = {
    "ispresent": (1, 1, lambda value: value is not None),
    "isempty": (1, 1, lambda value: value is None or text(value) == ""),
    "isblank": (1, 1, lambda value: value is None or not text(value).strip()),
    "coalesce": (1, 99, lambda *values: next((each for each in values if each is not None), None)),
    "concat": (1, 99, lambda *values: "".join(text(each) for each in values if each is not None)),
    "strcontains": (2, 2, lambda value, part: value is not None and part is not None and text(part) in text(value)),
    "strlen": (1, 1, _of_text(len)), "tolower": (1, 1, _of_text(str.lower)), "toupper": (1, 1, _of_text(str.upper)),
    "trim": (1, 1, _of_text(str.strip)), "abs": (1, 1, _of_number(abs)),
    "ceil": (1, 1, _of_number(lambda value: float(math.ceil(value)))),
    "floor": (1, 1, _of_number(lambda value: float(math.floor(value)))),
}  # fmt: skip
