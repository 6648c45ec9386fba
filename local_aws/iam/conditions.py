"""The condition operators of policies.

Source: IAM user guide, "IAM JSON policy elements: Condition operators" and "Multivalued context keys".
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import functools
import ipaddress
from collections.abc import Callable
from typing import Any, NamedTuple

from local_aws.iam.patterns import Context, arn_matches, filled, unfilled

Test = Callable[[str, str, Context], bool]
"""(value of the policy, value of the request, context) -> whether the two go together, for the operator without Not."""
IF_EXISTS = "IfExists"
ALL, ANY = "ForAllValues", "ForAnyValue"


class Operator(NamedTuple):
    """A condition operator as it is written, e.g. `ForAnyValue:StringNotLikeIfExists`."""

    name: str
    """Without qualifier and ending."""
    qualifier: str
    if_exists: bool


def _text(exact: bool, ignore_case: bool) -> Test:
    def test(wanted: str, given: str, context: Context) -> bool:
        if ignore_case:
            wanted, given = wanted.lower(), given.lower()
        match = filled(wanted, context, wild=not exact)
        return match is not None and bool(match(given))

    return test


def _number(compare: Callable[[float, float], bool]) -> Test:
    def test(wanted: str, given: str, context: Context) -> bool:
        try:
            return compare(float(given), float(wanted))
        except ValueError:
            return False

    return test


def _date(compare: Callable[[float, float], bool]) -> Test:
    def test(wanted: str, given: str, context: Context) -> bool:
        try:
            return compare(moment(given), moment(wanted))
        except ValueError:
            return False

    return test


@functools.lru_cache(maxsize=1024)
def moment(text: str) -> float:
    """Unix seconds of a date in ISO 8601, or of Unix seconds themselves. Raises ValueError."""
    try:
        return float(text)
    except ValueError:
        found = dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (found if found.tzinfo else found.replace(tzinfo=dt.UTC)).timestamp()


def _boolean(wanted: str, given: str, context: Context) -> bool:
    return wanted.lower() == given.lower() and given.lower() in {"true", "false"}


def _binary(wanted: str, given: str, context: Context) -> bool:
    try:
        return base64.b64decode(wanted, validate=True) == base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        return False


@functools.lru_cache(maxsize=1024)
def _network(text: str) -> Any:
    return ipaddress.ip_network(text, strict=False)


def _address(wanted: str, given: str, context: Context) -> bool:
    try:
        return ipaddress.ip_address(given) in _network(wanted)
    except ValueError:
        return False


def _arn(wanted: str, given: str, context: Context) -> bool:
    """ArnEquals and ArnLike are the same (IAM user guide, "ARN condition operators")."""
    return given.startswith("arn:") and wanted.startswith("arn:") and arn_matches(wanted, given, context)


# Name -> (test, whether it is negated).
OPERATORS: dict[str, tuple[Test, bool]] = {
    "StringEquals": (_text(True, False), False),
    "StringNotEquals": (_text(True, False), True),
    "StringEqualsIgnoreCase": (_text(True, True), False),
    "StringNotEqualsIgnoreCase": (_text(True, True), True),
    "StringLike": (_text(False, False), False),
    "StringNotLike": (_text(False, False), True),
    "NumericEquals": (_number(lambda given, wanted: given == wanted), False),
    "NumericNotEquals": (_number(lambda given, wanted: given == wanted), True),
    "NumericLessThan": (_number(lambda given, wanted: given < wanted), False),
    "NumericLessThanEquals": (_number(lambda given, wanted: given <= wanted), False),
    "NumericGreaterThan": (_number(lambda given, wanted: given > wanted), False),
    "NumericGreaterThanEquals": (_number(lambda given, wanted: given >= wanted), False),
    "DateEquals": (_date(lambda given, wanted: given == wanted), False),
    "DateNotEquals": (_date(lambda given, wanted: given == wanted), True),
    "DateLessThan": (_date(lambda given, wanted: given < wanted), False),
    "DateLessThanEquals": (_date(lambda given, wanted: given <= wanted), False),
    "DateGreaterThan": (_date(lambda given, wanted: given > wanted), False),
    "DateGreaterThanEquals": (_date(lambda given, wanted: given >= wanted), False),
    "Bool": (_boolean, False),
    "BinaryEquals": (_binary, False),
    "IpAddress": (_address, False),
    "NotIpAddress": (_address, True),
    "ArnEquals": (_arn, False),
    "ArnLike": (_arn, False),
    "ArnNotEquals": (_arn, True),
    "ArnNotLike": (_arn, True),
}
BY_LOWER = {name.lower(): name for name in (*OPERATORS, "Null")}


def operator(written: str) -> Operator | None:
    """An operator by its name in a policy, in any case; None for one that AWS does not have."""
    qualifier, colon, rest = written.rpartition(":")
    if colon:
        qualifier = next((each for each in (ALL, ANY) if each.lower() == qualifier.lower()), "")
        if not qualifier:
            return None
    if_exists = rest.lower().endswith(IF_EXISTS.lower())
    name = BY_LOWER.get((rest[: -len(IF_EXISTS)] if if_exists else rest).lower())
    return None if name is None or (name == "Null" and (if_exists or colon)) else Operator(name, qualifier, if_exists)


def holds(found: Operator, wanted: tuple[str, ...], given: tuple[str, ...] | None, context: Context) -> bool:
    """Whether one condition on one key holds.

    Parameters: `wanted` are the policy's values, of which one is enough (for a negated operator: none may fit); `given`
    the request's, None when it does not have the key.
    """
    if found.name == "Null":
        return ("true" if given is None else "false") in {each.lower() for each in wanted}
    test, negated = OPERATORS[found.name]
    if given is None or (found.qualifier and not given):
        if found.if_exists or found.qualifier == ALL:
            return True
        # Without the key nothing is equal.
        return negated and found.qualifier != ANY
    fits = (any(test(each, value, context) for each in wanted) != negated for value in given)
    if negated and any(unfilled(each, context) for each in wanted):
        return False  # of a value that the request leaves open nothing can be said
    # A key of one value needs no qualifier; of several, each has to fit a negated operator, one another.
    return all(fits) if found.qualifier == ALL or (negated and not found.qualifier) else any(fits)
