"""Event patterns: whether an event is one that a rule waits for.

AWS: EventBridge user guide, "Event pattern syntax" and "Comparison operators". How a single value is compared is moto's
(`EventPattern`); it does not look into lists of objects, in which AWS wants one object that has all that is asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from moto.events.models import UNDEFINED, EventPattern

OPERATORS = {
    "prefix", "suffix", "equals-ignore-case", "anything-but", "exists", "numeric", "cidr", "wildcard",
}  # fmt: skip


def _like(found: Any, pattern: str) -> bool:
    """Whether a text is as a wildcard asks; `*` stands for several lines as well, which moto's does not."""
    parts = re.findall(r"\\[*\\]|.", pattern, re.DOTALL)
    expression = "".join(".*" if each == "*" else re.escape(each[-1]) for each in parts)
    return isinstance(found, str) and re.fullmatch(expression, found, re.DOTALL) is not None


EventPattern._wildcard_match = staticmethod(_like)
_values = EventPattern(None, {})


def fault(pattern: Mapping[str, Any]) -> str | None:
    """What AWS would refuse in a pattern beyond its form, as the reason it gives; None when there is nothing.

    Moto takes an operator that it does not know for one that every value meets.
    """
    for name, wanted in pattern.items():
        if name == "$or":
            if not isinstance(wanted, list) or len(wanted) < 2:
                return "$or must have an array of at least two patterns"
            faults = [fault(each) if isinstance(each, Mapping) else "$or must hold patterns" for each in wanted]
        elif isinstance(wanted, Mapping):
            faults = [fault(wanted) if wanted else "Empty objects are not allowed"]
        else:
            faults = [_leaf_fault(each) for each in wanted]
        if found := next(filter(None, faults), None):
            return found
    return None


def _leaf_fault(wanted: Any) -> str | None:
    if isinstance(wanted, list):
        return "Match value must be String, number, true, false, or null"
    if isinstance(wanted, Mapping):
        if len(wanted) != 1:
            return "Only one key allowed in match expression"
        (operator,) = wanted
        if operator not in OPERATORS:
            return f"Unrecognized match type {operator}"
        if operator == "exists" and not isinstance(wanted[operator], bool):
            return "exists match pattern must be either true or false."
    return None


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether an event has all that a pattern asks for."""
    return all(_meets(event, name, wanted) for name, wanted in pattern.items())


def _meets(event: Mapping[str, Any], name: str, wanted: Any) -> bool:
    if name == "$or":
        return any(matches(each, event) for each in wanted)
    found = event.get(name, UNDEFINED)
    if isinstance(wanted, Mapping):
        inner = found if isinstance(found, list) else [found]
        # Of what has no members nothing but {"exists": false} holds.
        return any(matches(wanted, each if isinstance(each, Mapping) else {}) for each in inner or [{}])
    return _values._does_item_match_filters(found, wanted)
