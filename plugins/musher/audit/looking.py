"""What all checks of the audit share: whom they ask, what they have found, and what they could not look at."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from musher.record import NotLookedAt, SecurityFinding

# The labels of AWS Security Hub, and the severity that it gives a control of the same aim where it has one.
# Source: Security Hub user guide, "Security Hub controls reference".
CRITICAL, HIGH, MEDIUM, LOW = "critical", "high", "medium", "low"
SEVERITIES = (CRITICAL, HIGH, MEDIUM, LOW)
SEVERE = (CRITICAL, HIGH)  # these fail a run


class Looking:
    """One look at an account.

    Parameters: `client` makes a boto3 client of a service, the same one each time; `now` aware; `unused_days` after how
    many days without use a role or a permission counts as unused; `key_days` after how many an access key is old.
    """

    def __init__(
        self,
        client: Callable[[str], Any],
        *,
        project: str,
        account: str,
        now: dt.datetime,
        unused_days: int = 90,
        key_days: int = 90,
    ) -> None:
        self.client, self.project, self.account, self.now = client, project, account, now
        self.unused_days, self.key_days = unused_days, key_days
        self.findings: list[SecurityFinding] = []
        self.not_looked_at: list[NotLookedAt] = []

    def found(self, severity: str, check: str, where: str, what: str, remedy: str) -> None:
        self.findings.append(SecurityFinding(severity=severity, check=check, where=where, what=what, remedy=remedy))

    @contextmanager
    def at(self, what: str) -> Iterator[None]:
        """Look at something; where AWS does not answer, what follows inside is left out, and said to be."""
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            self.not_seen(what, reason(error))

    def not_seen(self, what: str, why: str) -> None:
        self.not_looked_at.append(NotLookedAt(what=what, why=why))

    def sorted(self) -> list[SecurityFinding]:
        """All findings, the most severe first; those of one check together."""
        return sorted(self.findings, key=lambda each: (SEVERITIES.index(each.severity), each.check, each.where))

    def days_since(self, moment: dt.datetime) -> int:
        return (self.now - moment).days


def reason(error: Exception) -> str:
    """What AWS said: the error's code, and its sentence."""
    if isinstance(error, ClientError):
        said = error.response.get("Error", {})
        return f"{said.get('Code', '')}: {said.get('Message', '')}".strip(": ")
    return str(error)


def unless(call: Callable[[], Any], *codes: str) -> Any:
    """What a call answers; None where it says that there is nothing, by one of these error codes."""
    try:
        return call()
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in codes:
            return None
        raise


def days(number: int) -> str:
    return f"{number} day{'' if number == 1 else 's'}"
