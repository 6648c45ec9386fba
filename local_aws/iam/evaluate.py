"""Whether policies allow a request, by which statement, and what came closest.

A pure function of one account's policies. Sources: IAM user guide, "Policy evaluation logic", "How AWS enforcement code
logic evaluates requests to allow or deny access", "Permissions boundaries for IAM entities" and "Cross-account policy
evaluation logic". Organizations' policies are not there: this is one account.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from local_aws.iam.patterns import Context
from local_aws.iam.policy import Condition, Policy, Statement


class Verdict(StrEnum):
    """In the words of the simulator's EvalDecision."""

    ALLOWED = "allowed"
    DENIED = "explicitDeny"
    NOT_ALLOWED = "implicitDeny"


class Kind(StrEnum):
    """The kinds of policies, as AWS's sentences name them."""

    IDENTITY = "identity-based policy"
    RESOURCE = "resource-based policy"
    BOUNDARY = "permissions boundary"
    SESSION = "session policy"
    TRUST = "role trust policy"


@dataclass(frozen=True)
class Principal:
    """Who asks. Everything but `account` is empty for somebody who has not signed."""

    arn: str = ""
    """A user's or a root's; of a role's session arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION."""
    account: str = ""
    role_arn: str = ""
    """Of a session: its role's."""
    service: str = ""
    """Of one of AWS's services, e.g. `lambda.amazonaws.com`."""
    bounded: bool = False
    """Whether it has a permissions boundary; `evaluate` fills it in."""

    @property
    def is_root(self) -> bool:
        return self.arn.endswith(":root")


@dataclass(frozen=True, eq=False)
class Named:
    """A policy and what it is called; equal to itself alone."""

    name: str
    policy: Policy


@dataclass(frozen=True)
class Policies:
    """What there is to decide by; `boundary` and `session` are None where there is none, and then forbid nothing."""

    identity: Sequence[Named] = ()
    resource: Named | None = None
    boundary: Named | None = None
    session: Sequence[Named] | None = None
    resource_account: str | None = None
    """Whose the resource is; None for the principal's own."""
    resource_must_allow: bool = False
    """Of a role that is assumed: its trust policy has to allow it, whatever identity policies say."""


class Near(NamedTuple):
    """A statement that would have allowed a request, had it not been for one thing."""

    kind: Kind
    policy: str
    statement: Statement
    unmet: Condition | None
    """The condition that did not hold; None where the resource is another one."""


@dataclass(frozen=True)
class Decision:
    """The answer. `policy` and `statement` are those that decided; of what nothing allows, there are none."""

    verdict: Verdict
    kind: Kind | None = None
    policy: str | None = None
    statement: Statement | None = None
    near: tuple[Near, ...] = field(default=())

    @property
    def allowed(self) -> bool:
        return self.verdict is Verdict.ALLOWED


class _Match(NamedTuple):
    policy: str
    statement: Statement
    grade: str


# How a resource's policy names a principal. By which it does, decides what else has to allow.
ACCOUNT, ROLE, EXACT = "account", "role", "exact"


def evaluate(action: str, resource: str, principal: Principal, context: Context, policies: Policies) -> Decision:
    """Decide on one action on one resource.

    Parameters
    ----------
    action
        Such as `s3:GetObject`.
    resource
        Its ARN; `*` for an action that knows none.
    context
        The condition keys of the request.
    """
    layers = [(Kind.BOUNDARY, [policies.boundary] if policies.boundary else []), (Kind.SESSION, policies.session or [])]
    for kind, named in [(Kind.IDENTITY, policies.identity), *layers]:
        for policy, statement in _statements(named, action, resource, context, allows=False):
            return Decision(Verdict.DENIED, kind, policy, statement)
    of_resource = Kind.TRUST if policies.resource_must_allow else Kind.RESOURCE
    asked = principal if policies.boundary is None else replace(principal, bounded=True)
    for match in _of_resource(policies.resource, action, resource, asked, context, allows=False):
        return Decision(Verdict.DENIED, of_resource, match.policy, match.statement)

    granted = max(
        _of_resource(policies.resource, action, resource, principal, context, allows=True),
        key=lambda match: [ACCOUNT, ROLE, EXACT].index(match.grade), default=None,
    )  # fmt: skip
    direct = granted is not None and granted.grade != ACCOUNT
    by_identity = next(_statements(policies.identity, action, resource, context, allows=True), None)
    same = policies.resource_account in (None, principal.account)
    missing: Kind | None = None
    if policies.resource_must_allow and granted is None:
        missing = of_resource
    elif principal.is_root and same:
        by_identity = by_identity or ("the account's root user", None)  # type: ignore[assignment]
    elif by_identity is None and not (direct and (same or not principal.arn)):
        missing = Kind.IDENTITY
    elif not same and granted is None:
        missing = Kind.RESOURCE
    if missing is None:
        missing = _unlayered(layers, policies, action, resource, context, direct and same, granted)
    if missing is not None:
        return Decision(Verdict.NOT_ALLOWED, missing, near=_near(policies, action, resource, context))
    if by_identity is not None:
        return Decision(Verdict.ALLOWED, Kind.IDENTITY, *by_identity)
    assert granted is not None
    return Decision(Verdict.ALLOWED, of_resource, granted.policy, granted.statement)


def _unlayered(
    layers: list, policies: Policies, action: str, resource: str, context: Context, direct: bool, granted: _Match | None
) -> Kind | None:
    """Which of boundary and session policies is there and does not allow.

    What a resource of the same account grants to a session, a user or everybody, they do not limit; what it grants to
    a role, they do (IAM user guide, "Permissions boundaries", "Evaluating effective permissions"; "Session policies").
    """
    for kind, named in layers:
        there = policies.boundary if kind is Kind.BOUNDARY else policies.session
        if there is None or (direct and granted is not None and granted.grade == EXACT):
            continue
        if next(_statements(named, action, resource, context, allows=True), None) is None:
            return kind
    return None


def _statements(
    named: Iterable[Named], action: str, resource: str, context: Context, *, allows: bool
) -> Iterable[tuple[str, Statement]]:
    for each in named:
        for statement in each.policy.about(action):
            if statement.allows is allows and statement.is_on(resource, context) and statement.unmet(context) is None:
                yield each.name, statement


def _of_resource(
    named: Named | None, action: str, resource: str, principal: Principal, context: Context, *, allows: bool
) -> Iterable[_Match]:
    if named is None:
        return
    for policy, statement in _statements([named], action, resource, context, allows=allows):
        grade = names(statement, principal)
        if grade is not None:
            yield _Match(policy, statement, grade)


def names(statement: Statement, principal: Principal) -> str | None:
    """How a statement of a resource's policy names a principal; None where it does not."""
    if statement.principals is None:
        return None
    grades = [
        grade
        for kind, texts in statement.principals.items()
        for text in texts
        if (grade := _grade(kind, text, principal)) is not None
    ]
    if statement.not_principals:
        # IAM user guide, "NotPrincipal": it always denies those who have a permissions boundary.
        return None if grades and not principal.bounded else EXACT
    return max(grades, key=[ACCOUNT, ROLE, EXACT].index, default=None)


def _grade(kind: str, text: str, principal: Principal) -> str | None:
    """How one entry of Principal names a principal."""
    if kind == "Service":
        return EXACT if principal.service and text in ("*", principal.service) else None
    if kind != "AWS":
        return None
    if text in ("*", principal.arn):
        return EXACT
    if principal.role_arn and text == principal.role_arn:
        return ROLE
    account = text if text.isdigit() else text.split(":")[4] if text.endswith(":root") and text.count(":") == 5 else ""
    if account and account == principal.account:
        return ACCOUNT
    return None


def _near(policies: Policies, action: str, resource: str, context: Context) -> tuple[Near, ...]:
    """Statements that allow the action, if not so: first those of which one condition alone does not hold."""
    found = []
    groups = [(Kind.IDENTITY, policies.identity), (Kind.BOUNDARY, [policies.boundary] if policies.boundary else ()),
              (Kind.SESSION, policies.session or ()),
              (Kind.RESOURCE, [policies.resource] if policies.resource else ())]  # fmt: skip
    for kind, named in groups:
        for each in named:
            for statement in each.policy.about(action):
                if statement.allows:
                    on = statement.is_on(resource, context)
                    unmet = statement.unmet(context) if on else None
                    if not on or unmet is not None:
                        found.append(Near(kind, each.name, statement, unmet))
    return tuple(sorted(found, key=lambda near: near.unmet is None))
