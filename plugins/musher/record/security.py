"""What an audit of the project's security found."""

from __future__ import annotations

from typing import ClassVar, Literal

from musher.record.part import Entry, Part

Severity = Literal["critical", "high", "medium", "low"]


class SecurityFinding(Entry):
    """One thing that is not as it should be. `check` which of the audit's checks says so, `where` the ARN or the name
    of what is meant, `what` one sentence, `remedy` what to do about it.

    `accepted` whether the team has accepted it and that still holds; until when it does, or did, and why, are empty for
    one that nobody has accepted.
    """

    severity: Severity
    check: str
    where: str
    what: str
    remedy: str
    accepted: bool = False
    accepted_until: str = ""
    accepted_because: str = ""


class NotLookedAt(Entry):
    """Something that the audit could not read, and why: nothing is known of it."""

    what: str
    why: str


class ServiceUse(Entry):
    """A service that a role's policies allow: when the role last called it (ISO 8601; None: not in the 400 days that
    IAM remembers), and the actions of those that IAM tracks, each with the time of its last call."""

    service: str
    last_used: str | None = None
    actions: dict[str, str | None] = {}


class AuditedRole(Entry):
    """One of the project's roles: when it was made and last used, in which region, and what it last called.

    `services` is None where IAM did not tell.
    """

    name: str
    created: str
    last_used: str | None = None
    region: str | None = None
    services: list[ServiceUse] | None = None


class SecurityAudit(Part):
    """What an audit has found, the most severe first, and what it could not look at. `passed` says that nothing is as
    severe as to fail a run, but what was accepted; not that everything was looked at. `not_found` are accepted findings
    that are there no more, each as one line."""

    NAME: ClassVar[str] = "security_audit"

    at: str
    project: str
    environment: str
    region: str
    account: str
    unused_days: int
    key_days: int
    passed: bool
    findings: list[SecurityFinding] = []
    not_found: list[str] = []
    not_looked_at: list[NotLookedAt] = []
    roles: list[AuditedRole] = []
    not_notified: str = ""
