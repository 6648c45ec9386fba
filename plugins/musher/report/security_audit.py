"""The page of a security audit, beside its part of the run record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from musher.audit.looking import SEVERE, SEVERITIES
from musher.record import NotLookedAt, SecurityAudit, SecurityFinding, prefix
from musher.report.page import templates
from musher.words import listed


def key(run: str) -> str:
    """Where a run's page is in the bucket."""
    return f"{prefix(run)}{SecurityAudit.NAME}.html"


def write(s3: Any, bucket: str, run: str, part: SecurityAudit) -> str:
    """Write the page; returns its S3 URI."""
    s3.put_object(Bucket=bucket, Key=key(run), Body=render(part).encode(), ContentType="text/html; charset=utf-8")
    return f"s3://{bucket}/{key(run)}"


def render(part: SecurityAudit) -> str:
    """One HTML page, in the style of a run's report."""
    return (
        templates()
        .get_template("security_audit.html.jinja")
        .render(
            record=part,
            headline=headline(part),
            counted=[each for each in part.findings if not each.accepted],
            accepted=[each for each in part.findings if each.accepted],
            missed=missed(part),
            severe=SEVERE,
        )
    )


def severe(findings: Iterable[SecurityFinding]) -> list[SecurityFinding]:
    """What fails a run."""
    return [each for each in findings if each.severity in SEVERE and not each.accepted]


def counts(part: SecurityAudit) -> dict[str, int]:
    """How many findings there are of each severity, also of those without any; without what was accepted."""
    found = Counter(each.severity for each in part.findings if not each.accepted)
    return {severity: found[severity] for severity in SEVERITIES}


def headline(part: SecurityAudit) -> str:
    """What came of it, in one line: where something was not looked at, nobody is told that all is well."""
    found = [f"{number} {severity}" for severity, number in counts(part).items() if number]
    said = listed(found) if found else "Nothing found"
    accepted = sum(each.accepted for each in part.findings)
    if accepted:
        said = f"{said if found else 'Nothing else found'}; {accepted} accepted"
        found = found or ["accepted"]
    if part.not_looked_at:
        return f"{said}; {len(part.not_looked_at)} not looked at"
    return said if found else "Nothing found, everything looked at"


def missed(part: SecurityAudit) -> list[NotLookedAt]:
    """What was not looked at; what has the same reason stands together."""
    by_reason: dict[str, list[str]] = {}
    for each in part.not_looked_at:
        by_reason.setdefault(each.why, []).append(each.what)
    return [NotLookedAt(what=listed(what), why=why) for why, what in by_reason.items()]


def line(each: SecurityFinding) -> str:
    """One finding as a line of the log or of a message."""
    said = f"{each.severity.upper():<8} {each.where}: {each.what} {each.remedy}"
    if not each.accepted_until:
        return said
    was = "Accepted" if each.accepted else "It was accepted"
    return f"{said} {was} until {each.accepted_until}: {each.accepted_because}"


def lines(part: SecurityAudit) -> list[str]:
    """All of it for the log, the headline first."""
    said = [f"Not looked at: {each.what} ({each.why})" for each in missed(part)]
    gone = [f"Accepted, and not found any more: {each}" for each in part.not_found]
    return [headline(part), *map(line, part.findings), *gone, *said]
