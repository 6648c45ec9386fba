"""Findings that the team has accepted: they are shown, and fail no run until the acceptance ends."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

from musher.audit import keys, resources, roles, supported
from musher.config.security_audit import AcceptedFinding
from musher.errors import ConfigError
from musher.record import SecurityFinding

CHECKS = (
    roles.TRUST, roles.ROLE, roles.PERMISSION, roles.POLICY, resources.BUCKET, resources.ENCRYPTION, resources.FUNCTION,
    resources.TOPIC, keys.KEY, supported.IMAGE,
)  # fmt: skip


def check(accepted: Iterable[AcceptedFinding]) -> None:
    """Raise ConfigError for an acceptance of something that the audit does not check."""
    for number, each in enumerate(accepted):
        if each.check not in CHECKS:
            raise ConfigError(
                f"Airflow Variable musher: accepted_findings[{number}]: check is {each.check!r}; it has to be one of "
                f"{', '.join(CHECKS)}."
            )


def mark(
    findings: Iterable[SecurityFinding], accepted: Sequence[AcceptedFinding], today: dt.date
) -> list[SecurityFinding]:
    """The findings, those that were accepted with the reason, until when, and whether that day is still to come.

    An acceptance is of one check at one place with one severity: what becomes worse there counts again.
    """
    return [_marked(each, accepted, today) for each in findings]


def _marked(finding: SecurityFinding, accepted: Sequence[AcceptedFinding], today: dt.date) -> SecurityFinding:
    about = finding.check, finding.where, finding.severity
    meant = [each for each in accepted if (each.check, each.where, each.severity) == about]
    if not meant:
        return finding
    # The one that holds longest, of several.
    last = max(meant, key=lambda each: each.until)
    return finding.replace(accepted=last.ends >= today, accepted_until=last.until, accepted_because=last.reason)


def unmatched(findings: Iterable[SecurityFinding], accepted: Iterable[AcceptedFinding]) -> list[AcceptedFinding]:
    """Acceptances of what was not found: mended since, or written wrongly."""
    found = {(each.check, each.where, each.severity) for each in findings}
    return [each for each in accepted if (each.check, each.where, each.severity) not in found]
