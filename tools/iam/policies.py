"""Policies as the templates give them: what they allow, by the local AWS's evaluator, and how they could be changed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from local_aws.iam.evaluate import Named, Policies, Principal, evaluate
from local_aws.iam.policy import read
from tools.iam.evidence import Call
from tools.iam.templates import ACCOUNT, Role

Document = dict[str, Any]


def allowed(documents: dict[str, Document], role: Role, call: Call, limit: Named | None = None) -> bool:
    """Whether policies let a session of the role do something."""
    principal = Principal(f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.name}/proof", ACCOUNT, role.arn)
    identity = tuple(Named(name, _read(document)) for name, document in documents.items())
    return evaluate(call.action, call.resource, principal, call.context, Policies(identity, boundary=limit)).allowed


_READ: dict[int, tuple[Document, Any]] = {}


def _read(document: Document) -> Any:
    """A document read once: most of a role's policies stay as they are while one is changed."""
    found = _READ.get(id(document))
    if found is None or found[0] is not document:
        found = _READ[id(document)] = document, read(document)
    return found[1]


def changed(policies: dict[str, Document], policy: str, number: int, statement: Document | None) -> dict[str, Document]:
    """The policies with another statement, or without it."""
    was = policies[policy]
    statements = list(was["Statement"])
    statements[number : number + 1] = [] if statement is None else [statement]
    rest = {name: each for name, each in policies.items() if name != policy}
    return rest | ({policy: {**was, "Statement": statements}} if statements else {})


def less(statement: Document) -> Iterator[tuple[str, str, Document | None]]:
    """The statement without one action, one resource, or one of several values of a condition."""
    for element, kind in (("Action", "action"), ("Resource", "resource")):
        given = listed(statement[element])
        if element == "Resource" and given == ["*"]:
            continue
        for each in given:
            left = [other for other in given if other != each]
            yield kind, each, {**statement, element: left} if left else None
    for operator, key, values in _conditions(statement):
        for each in values if len(values) > 1 else ():
            fewer = copy.deepcopy(statement)
            fewer["Condition"][operator][key] = [other for other in values if other != each]
            yield "value", f"{operator} {key}: {each}", fewer


def more(statement: Document) -> Iterator[tuple[str, str, Document]]:
    """The statement with one resource, or without one condition."""
    given = listed(statement["Resource"])
    for number, each in enumerate(given):
        if each != "*":
            wide = widened(each)
            resources = [*given[:number], wide, *given[number + 1 :]]
            yield "resource widened", f"{each} to {wide}", {**statement, "Resource": resources}
    for operator, key, values in _conditions(statement):
        wider = copy.deepcopy(statement)
        del wider["Condition"][operator][key]
        yield "condition dropped", f"{operator} {key}: {', '.join(values)}", wider


def grants(role: Role, call: Call) -> frozenset[tuple[str, str, str]]:
    """Which resources of which statements let a role make a call: (policy, statement, resource)."""
    return frozenset(
        (policy, statement["Sid"], pattern)
        for policy, document in role.policies.items()
        for statement in document["Statement"]
        if call.action in listed(statement["Action"])
        for pattern in listed(statement["Resource"])
        if allowed({policy: {**document, "Statement": [{**statement, "Resource": pattern}]}}, role, call)
    )


def widened(pattern: str) -> str:
    """The next wider pattern: everything in the bucket, all buckets, everything of the kind, or everything."""
    head, resource = pattern.rsplit(":", pattern.count(":") - 4)[0], pattern.split(":", 5)[5]
    if ":s3:" in pattern:
        bucket, slash, _ = resource.partition("/")
        wider = f"{head}:{bucket}/*" if slash and resource != f"{bucket}/*" else f"{head}:*"
    else:
        ends = [at for at in (resource.find("/"), resource.find(":")) if at >= 0]
        wider = f"{head}:{resource[: min(ends) + 1]}*" if ends else f"{head}:*"
    return "*" if wider == pattern else wider


def _conditions(statement: Document) -> list[tuple[str, str, list[str]]]:
    return [
        (operator, key, [str(each) for each in listed(values)])
        for operator, keys in statement.get("Condition", {}).items()
        for key, values in keys.items()
    ]


def listed(value: Any) -> list[Any]:
    """One or several of something, as a list."""
    return value if isinstance(value, list) else [value]
