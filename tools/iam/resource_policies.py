"""The other half of the proof: the policies of resources, changed part by part. infra/proof/resources.toml says who has
to be let in by them, and who must not be.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local_aws.iam.evaluate import Named, Policies, Principal, evaluate
from local_aws.iam.policy import read
from tools.iam.evidence import FOLDER, MAIN, NAMES, EvidenceError
from tools.iam.policies import Document, listed
from tools.iam.templates import ACCOUNT, PROJECT, Template, every_role

FIELDS = {"why", "service", "account", "actions", "resource", "keys", "refused"}
EVERYTHING = (Named("everything", read({"Version": "2012-10-17", "Statement": {
    "Effect": "Allow", "Action": "*", "Resource": "*"}})),)  # fmt: skip
# Of musher.yaml: the policy's resource in the template, and what its entries are called.
OTHERS = {"BucketPolicy": "bucket", "NotificationsTopicPolicy": "topic"}


@dataclass(frozen=True)
class Try:
    """Somebody's try to do something with a resource."""

    why: str
    principal: Principal
    action: str
    resource: str
    context: Mapping[str, tuple[str, ...]]
    refused: bool


@dataclass(frozen=True)
class Held:
    """A resource's policy: as entries name it, and whether it is a role's trust policy."""

    name: str
    document: Document
    trust: bool


def held() -> list[Held]:
    """The policies of resources that musher.yaml makes, but those that federated callers alone are named in."""
    roles = {each.name: each for each in every_role() if each.stack == MAIN and each.trust}
    found = [Held(f"trust.{name.removeprefix(f'{PROJECT}-')}", role.trust or {}, True) for name, role in roles.items()]
    template = Template(MAIN)
    for resource, name in OTHERS.items():
        document = template.get(template.resources[resource]["Properties"]["PolicyDocument"])
        found.append(Held(name, document, False))
    return found


def tries() -> dict[str, list[Try]]:
    """resources.toml: name of a policy -> its tries. Raises EvidenceError."""
    content = tomllib.loads((FOLDER / "resources.toml").read_text())
    named = {f"trust.{role}": entries for role, entries in content.pop("trust", {}).items()} | content
    return {name: [each for entry in entries for each in _tries(name, entry)] for name, entries in named.items()}


def _tries(name: str, entry: Mapping[str, Any]) -> Iterator[Try]:
    unknown = sorted(set(entry) - FIELDS)
    if unknown or ("service" in entry) == ("account" in entry):
        raise EvidenceError(
            f"resources.toml: an entry of {name} has {unknown[0]}." if unknown
            else f"resources.toml: an entry of {name} must have a service or an account, one of the two."
        )  # fmt: skip
    account = _filled(entry.get("account", ""))
    who = Principal(f"arn:aws:iam::{account}:user/administrator", account) if account else Principal(
        service=entry["service"])  # fmt: skip
    role = f"arn:aws:iam::{ACCOUNT}:role/{PROJECT}-{name.partition('.')[2]}"
    context = {key.lower(): (_filled(value),) for key, value in entry.get("keys", {}).items()}
    for action in entry["actions"]:
        resource = _filled(entry.get("resource", role))
        yield Try(entry["why"], who, action, resource, context, bool(entry.get("refused")))


def _filled(text: str) -> str:
    return text.format_map(NAMES)


def goes(document: Document | None, policy: Held, each: Try) -> bool:
    """Whether a try goes through; somebody of an account may do all that his own policies could say. Without a document
    these alone decide, and nobody may take a role."""
    if document is None:
        return bool(each.principal.arn) and not policy.trust
    identity = EVERYTHING if each.principal.arn else ()
    policies = Policies(identity, Named(policy.name, read(document)), resource_must_allow=policy.trust)
    return evaluate(each.action, each.resource, each.principal, each.context, policies).allowed


def changes(document: Document) -> Iterator[tuple[str, Document | None]]:
    """The document with one part of one statement changed: what, and the document; None for one without a statement."""
    for number, statement in enumerate(document["Statement"]):
        name = statement.get("Sid") or str(number + 1)
        for what, changed in _of_statement(statement):
            statements = list(document["Statement"])
            statements[number : number + 1] = [] if changed is None else [changed]
            yield f"{name}, {what}", {**document, "Statement": statements} if statements else None


def _of_statement(statement: Document) -> Iterator[tuple[str, Document | None]]:
    yield "without the statement", None
    principal = statement["Principal"]
    if principal != "*":
        yield "with everybody as Principal", {**statement, "Principal": {"AWS": "*", "Service": "*"}}
        for kind, values in principal.items():
            yield from _fewer(statement, f"Principal {kind}", listed(values), lambda left, kind=kind: {  # type: ignore[misc]
                "Principal": {**principal, kind: left}})  # fmt: skip
    for element in ("Action", "Resource"):
        if element in statement:
            yield from _fewer(statement, element, listed(statement[element]), lambda left, at=element: {at: left})  # type: ignore[misc]
    for operator, keys in statement.get("Condition", {}).items():
        for key in keys:
            without = copy.deepcopy(statement)
            del without["Condition"][operator][key]
            yield f"without the condition {operator} {key}", without


def _fewer(statement: Document, what: str, values: list[str], put: Any) -> Iterator[tuple[str, Document | None]]:
    for each in values if len(values) > 1 else ():
        yield f"without {what} {each}", {**statement, **put([other for other in values if other != each])}


def prove(policies: list[Held] | None = None) -> tuple[int, list[str]]:
    """(how many parts were changed, what nobody would notice or is not as it should be). Raises EvidenceError."""
    known, changed, findings = tries(), 0, []
    for policy in held() if policies is None else policies:
        mine = known.get(policy.name, [])
        for each in mine:
            if goes(policy.document, policy, each) is each.refused:
                findings.append(f"{policy.name}: {each.why}: that {'works' if each.refused else 'is refused'}")
        for what, document in changes(policy.document):
            changed += 1
            if not any(goes(document, policy, each) is each.refused for each in mine):
                findings.append(f"{policy.name}: {what}: nobody would notice")
    return changed, findings
