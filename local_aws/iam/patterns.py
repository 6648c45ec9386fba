"""IAM's wildcards and policy variables, in actions, ARNs and conditions' values.

Source: IAM user guide, "IAM JSON policy elements: Resource", "... Action" and "... Variables and tags".
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Protocol

VARIABLE = re.compile(r"\$\{([^{}]*)\}")
DEFAULTED = re.compile(r"\s*([^\s,]+)\s*,\s*'([^']*)'\s*")
# "${*}" is a star and no wildcard.
SPECIAL = {"*", "?", "$"}


class Context(Protocol):
    """The condition keys of a request: a key in lower case -> its values; None for one that it does not have."""

    def get(self, key: str, /) -> tuple[str, ...] | None: ...


@functools.lru_cache(maxsize=8192)
def compiled(pattern: str, ignore_case: bool = False) -> Callable[[str], object]:
    """What tells whether a text matches a pattern with `*` and `?` as a whole."""
    if "*" not in pattern and "?" not in pattern:
        if ignore_case:
            lowered = pattern.lower()
            return lambda text: text.lower() == lowered
        return lambda text: text == pattern
    if pattern == "*":
        return lambda text: True
    expression = "".join({"*": ".*", "?": "."}.get(each) or re.escape(each) for each in pattern)
    return re.compile(expression, re.DOTALL | (re.IGNORECASE if ignore_case else 0)).fullmatch


def filled(text: str, context: Context, *, wild: bool) -> Callable[[str], object] | None:
    """What matches a text with policy variables, filled in; None where the request lacks one that has no default.

    A value that comes from the request is taken as it is: a star in it is a star.

    Parameters: `wild` whether `*` and `?` of the policy itself are wildcards.
    """
    if "${" not in text:
        return compiled(text) if wild else text.__eq__
    literal, expression, end = [], [], 0
    for found in VARIABLE.finditer(text):
        before = text[end : found.start()]
        value = _value(found[1], context)
        if value is None:
            return None
        literal += [before, value]
        expression += [_escaped(before), re.escape(value)]
        end = found.end()
    literal.append(text[end:])
    expression.append(_escaped(text[end:]))
    return re.compile("".join(expression), re.DOTALL).fullmatch if wild else "".join(literal).__eq__


def unfilled(text: str, context: Context) -> bool:
    """Whether a text has a policy variable that the request has nothing for."""
    return "${" in text and any(_value(each[1], context) is None for each in VARIABLE.finditer(text))


def _value(name: str, context: Context) -> str | None:
    if name in SPECIAL:
        return name
    defaulted = DEFAULTED.fullmatch(name)
    values = context.get((defaulted[1] if defaulted else name.strip()).lower())
    # A key with several values is none that a variable could stand for.
    if values is not None and len(values) == 1:
        return values[0]
    return defaulted[2] if defaulted else None


def _escaped(text: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(each) or re.escape(each) for each in text)


def arn_matches(pattern: str, arn: str, context: Context | None = None, *, unfilled: bool = False) -> bool:
    """Whether an ARN is one of those that a pattern means, part by part: a star ends at a colon of the first five.

    A pattern of fewer than six parts has stars for the others (IAM user guide, "Resource": "Incomplete ARNs").
    `unfilled`: what a part is taken for that has a policy variable without a value.
    """
    if pattern == "*":
        return True
    if context is None or "${" not in pattern:
        return all(match(part) for match, part in zip(_parts(pattern), _split(arn), strict=True))
    wanted = _split_pattern(pattern)
    for each, part in zip(wanted, _split(arn), strict=True):
        match = filled(each, context, wild=True)
        if not (unfilled if match is None else match(part)):
            return False
    return True


@functools.lru_cache(maxsize=8192)
def _parts(pattern: str) -> tuple[Callable[[str], object], ...]:
    return tuple(compiled(each) for each in _split_pattern(pattern))


def _split_pattern(pattern: str) -> list[str]:
    """The six parts; a colon within a variable's braces separates none."""
    held = VARIABLE.sub(lambda found: found[0].replace(":", "\0"), pattern)
    parts = [each.replace("\0", ":") for each in held.split(":", 5)]
    return parts + ["*"] * (6 - len(parts))


@functools.lru_cache(maxsize=8192)
def _split(arn: str) -> tuple[str, ...]:
    parts = arn.split(":", 5)
    return tuple(parts + [""] * (6 - len(parts)))
