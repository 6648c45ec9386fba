"""Policies as IAM's grammar has them, read once.

Source: IAM user guide, "Grammar of the IAM JSON policy language".
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from local_aws.iam import conditions
from local_aws.iam.patterns import Context, arn_matches, compiled

VERSIONS = ("2012-10-17", "2008-10-17")
ELEMENTS = {"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"}
PRINCIPALS = ("AWS", "Service", "Federated", "CanonicalUser")


class Malformed(Exception):
    """What is wrong with a policy, as one sentence that names the element and its value."""


@dataclass(frozen=True)
class Condition:
    """One operator on one key."""

    written: str
    operator: conditions.Operator
    key: str
    values: tuple[str, ...]

    def holds(self, context: Context) -> bool:
        return conditions.holds(self.operator, self.values, context.get(self.key.lower()), context)

    def __str__(self) -> str:
        values = ", ".join(self.values)
        return f"{self.written} {self.key}: {values}"


@dataclass(frozen=True)
class Statement:
    """A statement. `resources` is None where the policy is a resource's own and the element may be left out."""

    name: str
    """Its Sid, or its number, from 1."""
    allows: bool
    actions: tuple[str, ...]
    not_actions: bool
    resources: tuple[str, ...] | None
    not_resources: bool
    principals: dict[str, tuple[str, ...]] | None
    not_principals: bool
    conditions: tuple[Condition, ...]
    variables: bool
    """Whether `${...}` means something: of Version 2012-10-17 alone."""
    _matchers: tuple[Callable[[str], object], ...] = field(default=(), repr=False, compare=False)

    def is_about(self, action: str) -> bool:
        """Whether it is about an action, such as `s3:GetObject`."""
        return any(match(action) for match in self._matchers) != self.not_actions

    def is_on(self, resource: str, context: Context) -> bool:
        """Whether it is about a resource: an ARN, or `*` for an action that knows no resource."""
        if self.resources is None:
            return True
        used = context if self.variables else None
        if self.not_resources:
            # What a variable without a value leaves out, nobody can say: it may be this.
            return not any(arn_matches(each, resource, used, unfilled=True) for each in self.resources)
        return any(arn_matches(each, resource, used) for each in self.resources)

    def unmet(self, context: Context) -> Condition | None:
        """The first condition that does not hold."""
        return next((each for each in self.conditions if not each.holds(context)), None)


@dataclass(frozen=True)
class Policy:
    version: str
    statements: tuple[Statement, ...]
    id: str | None = None
    _about: dict[str, tuple[Statement, ...]] = field(default_factory=dict, repr=False, compare=False)
    _keys: dict[str, frozenset[str]] = field(default_factory=dict, repr=False, compare=False)

    def about(self, action: str) -> tuple[Statement, ...]:
        """The statements that are about an action."""
        found = self._about.get(action)
        if found is None:
            found = self._about[action] = tuple(each for each in self.statements if each.is_about(action))
        return found

    def keys(self, action: str) -> frozenset[str]:
        """The condition keys, in lower case, that its statements about an action ask about."""
        found = self._keys.get(action)
        if found is None:
            asked = (condition.key.lower() for each in self.about(action) for condition in each.conditions)
            found = self._keys[action] = frozenset(asked)
        return found


@functools.lru_cache(maxsize=2048)
def parse(text: str) -> Policy:
    """A policy of JSON text. Raises Malformed."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise Malformed(f"The policy is not JSON: {error}.") from None
    return read(document)


def read(document: Any) -> Policy:
    """A policy as JSON has it. Raises Malformed."""
    if not isinstance(document, dict):
        raise Malformed("The policy must be a JSON object with a Statement.")
    unknown = sorted(set(document) - {"Version", "Id", "Statement"})
    if unknown:
        raise Malformed(f"The policy has no element {unknown[0]}: it has Version, Id and Statement.")
    version = document.get("Version", VERSIONS[1])
    if version not in VERSIONS:
        raise Malformed(f"Version must be {VERSIONS[0]} or {VERSIONS[1]}, not {version}.")
    statements = document.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise Malformed("Statement must be a statement or a list of them.")
    found = tuple(_statement(each, number, version) for number, each in enumerate(statements, 1))
    return Policy(version, found, document.get("Id"))


def _statement(given: Any, number: int, version: str) -> Statement:
    if not isinstance(given, dict):
        raise Malformed(f"Statement {number} must be an object, not {json.dumps(given)}.")
    name = given.get("Sid") or str(number)
    unknown = sorted(set(given) - ELEMENTS)
    if unknown:
        raise Malformed(f"Statement {name} has an element {unknown[0]}, which IAM does not know.")
    if given.get("Effect") not in ("Allow", "Deny"):
        raise Malformed(f"Effect of statement {name} must be Allow or Deny, not {given.get('Effect')}.")
    actions, not_actions = _either(given, "Action", name)
    if actions is None:
        raise Malformed(f"Statement {name} must have an Action or a NotAction.")
    for each in actions:
        if each != "*" and not re.fullmatch(r"[A-Za-z0-9*?-]+:[A-Za-z0-9*?-]+", each):
            raise Malformed(f"Action {each!r} of statement {name} must be * or look like s3:GetObject.")
    resources, not_resources = _either(given, "Resource", name)
    for each in resources or ():
        if each != "*" and not each.startswith("arn:") and not re.match(r"[*?]", each):
            raise Malformed(f"Resource {each!r} of statement {name} must be an ARN or *.")
    principals, not_principals = _principals(given, name)
    return Statement(
        name=name,
        allows=given["Effect"] == "Allow",
        actions=actions,
        not_actions=not_actions,
        resources=resources,
        not_resources=not_resources,
        principals=principals,
        not_principals=not_principals,
        conditions=tuple(_conditions(given.get("Condition") or {}, name)),
        variables=version == VERSIONS[0],
        _matchers=tuple(compiled(each, True) for each in actions),
    )


def _either(given: dict[str, Any], element: str, name: str) -> tuple[tuple[str, ...] | None, bool]:
    """The texts of an element or of its Not, and whether it is the latter."""
    both = [each for each in (element, f"Not{element}") if each in given]
    if len(both) == 2:
        raise Malformed(f"Statement {name} has both {element} and Not{element}: it may have one of them.")
    return (_texts(given[both[0]], both[0], name), both[0] != element) if both else (None, False)


def _texts(value: Any, element: str, name: str) -> tuple[str, ...]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not found or not all(isinstance(each, str) for each in found):
        raise Malformed(f"{element} of statement {name} must be a text or a list of texts, not {json.dumps(value)}.")
    return tuple(found)


def _principals(given: dict[str, Any], name: str) -> tuple[dict[str, tuple[str, ...]] | None, bool]:
    both = [each for each in ("Principal", "NotPrincipal") if each in given]
    if len(both) == 2:
        raise Malformed(f"Statement {name} has both Principal and NotPrincipal: it may have one of them.")
    if not both:
        return None, False
    value = given[both[0]]
    if value == "*":
        return {"AWS": ("*",)}, both[0] == "NotPrincipal"
    if not isinstance(value, dict) or not value:
        raise Malformed(f'{both[0]} of statement {name} must be * or an object such as {{"AWS": ...}}.')
    unknown = sorted(set(value) - set(PRINCIPALS))
    if unknown:
        raise Malformed(f"{both[0]} of statement {name} is of a kind {unknown[0]}; it can be {', '.join(PRINCIPALS)}.")
    return {kind: _texts(each, both[0], name) for kind, each in value.items()}, both[0] == "NotPrincipal"


def _conditions(given: Any, name: str) -> Iterable[Condition]:
    if not isinstance(given, dict):
        raise Malformed(f"Condition of statement {name} must be an object of operators.")
    for written, keys in given.items():
        found = conditions.operator(written)
        if found is None:
            raise Malformed(f"Condition of statement {name} has an operator {written}, which IAM does not have.")
        if not isinstance(keys, dict):
            raise Malformed(f"{written} of statement {name} must be an object of condition keys.")
        for key, values in keys.items():
            listed = values if isinstance(values, list) else [values]
            if not all(isinstance(each, str | bool | int | float) for each in listed):
                raise Malformed(f"{key} of {written} of statement {name} must be a value or a list of values.")
            yield Condition(written, found, key, tuple(_text(each) for each in listed))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
