"""Whom a resource's policy, or a role's trust policy, lets in from outside of the account.

It reads what a policy allows, statement by statement. A Deny that takes some of it back is not weighed: a finding may
then say too much, never too little.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Operators that hold a request to the values they name. Negated ones and ...IfExists let a request without the key in,
# and so does ForAllValues. Source: IAM user guide, "IAM JSON policy elements: Condition operators".
_HOLDING = {"stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike", "ipaddress"}
# Keys that say who calls, or for whom a service does. Source: S3 user guide, "The meaning of public"; IAM user guide,
# "AWS global condition context keys".
_WHO = {
    "aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:principalorgpaths", "aws:sourceaccount",
    "aws:sourcearn", "aws:sourceip", "aws:sourceorgid", "aws:sourceowner", "aws:sourcevpc", "aws:sourcevpce",
    "aws:userid",
}  # fmt: skip
_EVERYTHING = {"*", "0.0.0.0/0", "::/0"}
_ACCOUNT = re.compile(r"\d{12}")
# Who else than the account itself is meant by a value that names no account.
_ORGANIZATION = re.compile(r"o-[a-z0-9]{10,32}(/|$)")


@dataclass(frozen=True)
class Opening:
    """Somebody outside of the account who is let in: `anybody`, or those that `who` names. `actions` as the policy has
    them."""

    who: str
    actions: tuple[str, ...]
    anybody: bool = False


def openings(policy: str | Mapping[str, Any], account: str, *, services: bool = False) -> list[Opening]:
    """Everybody that a policy lets in from outside of `account`.

    Parameters: `policy` as JSON or read already; `services` whether a service that may call for anybody counts: it does
    for a function's policy, not for the trust of a role, which a service takes for the account that made what uses it.
    """
    document = json.loads(policy) if isinstance(policy, str) else policy
    found = []
    for statement in _list(document.get("Statement")):
        if statement.get("Effect") != "Allow":
            continue
        actions = tuple(map(str, _list(statement.get("Action")))) or ("everything but some actions",)
        pins = list(_pins(statement.get("Condition") or {}))
        if any(not _others(pin, account) for pin in pins):
            continue
        named = sorted({other for pin in pins for other in _others(pin, account)})
        for kind, principal in _principals(statement):
            found += _of(kind, principal, account, named, actions, services, statement.get("Condition") or {})
    return found


def refuses_without_tls(policy: str) -> bool:
    """Whether a bucket's policy denies everybody what does not come over TLS."""
    for statement in _list(json.loads(policy).get("Statement")):
        keys = (statement.get("Condition") or {}).get("Bool", {})
        said = {key.lower(): {str(each).lower() for each in _list(value)} for key, value in keys.items()}
        everybody = ("AWS", "*") in set(_principals(statement))
        if statement.get("Effect") == "Deny" and everybody and said == {"aws:securetransport": {"false"}}:
            return True
    return False


def _of(
    kind: str,
    principal: str,
    account: str,
    named: list[str],
    actions: tuple[str, ...],
    services: bool,
    condition: Mapping[str, Any],
) -> Iterator[Opening]:
    """What one principal of a statement comes to; `named` those that its conditions leave."""
    who = ", ".join(named)
    if kind == "AWS" and principal == "*":
        yield Opening(who or "anybody", actions, anybody=not named)
    elif kind == "Service":
        if services:
            yield Opening(f"{who} through {principal}" if who else f"whoever uses {principal}", actions)
    elif kind == "Federated":
        if not _subject(principal, condition):
            yield Opening(f"anybody whom {principal} knows", actions, anybody=True)
    elif _accounts(principal) != {account}:
        yield Opening(principal, actions)


def _principals(statement: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Who may, as kind and name; everybody but some is everybody."""
    principal = statement.get("Principal", "*" if "NotPrincipal" in statement else {})
    if not isinstance(principal, Mapping):
        principal = {"AWS": principal}
    for kind, names in principal.items():
        yield from ((kind, str(name)) for name in _list(names))


def _pins(condition: Mapping[str, Any]) -> Iterator[list[str]]:
    """The values of each condition that holds a request to somebody."""
    for operator, keys in condition.items():
        quantifier, _, name = operator.rpartition(":")
        if name.lower() not in _HOLDING or quantifier.lower() == "forallvalues":
            continue
        for key, values in keys.items():
            found = [str(each) for each in _list(values)]
            wide = _EVERYTHING & set(found) or any("*" in account for each in found for account in _accounts(each))
            if key.lower() in _WHO and not wide:
                yield found


def _others(values: list[str], account: str) -> set[str]:
    """Those of a condition's values that name somebody else than the account. An address, a network, or a bucket is
    taken to be one's own."""
    others = set()
    for value in values:
        accounts = _accounts(value)
        if accounts - {account}:
            others.add(value)
        elif not accounts and _ORGANIZATION.match(value):
            others.add(f"the organization {value}")
    return others


def _accounts(value: str) -> set[str]:
    """The account that an ARN or an id names, `*` for any; none where it names none."""
    if value.startswith("arn:"):
        field = (value.split(":") + [""] * 5)[4]
        return {field} if field else set()
    return {value} if _ACCOUNT.fullmatch(value) else set()


def _subject(provider: str, condition: Mapping[str, Any]) -> bool:
    """Whether a condition says whose token of an identity provider is taken. SAML's are for the account anyway."""
    if ":saml-provider/" in provider:
        return True
    for operator, keys in condition.items():
        if operator.rpartition(":")[2].lower() in _HOLDING and not operator.lower().startswith("forallvalues"):
            for key, values in keys.items():
                said = key.lower().endswith((":sub", ":aud" if "cognito" in provider else ":sub"))
                if said and "*" not in map(str, _list(values)):
                    return True
    return False


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
