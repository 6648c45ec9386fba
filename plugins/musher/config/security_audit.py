"""What a person may choose for the weekly security audit."""

from __future__ import annotations

import datetime as dt
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from musher.config.fields import Configuration, option


class AcceptedFinding(Configuration):
    """A finding of the audit that the team has accepted; it is an item of `accepted_findings` of the Variable."""

    _origin: ClassVar[str] = ""

    check: str = Field(min_length=1, description="The check, as the page names it.")
    where: str = Field(min_length=1, description="The place, as the page names it.")
    severity: Literal["critical", "high", "medium", "low"] = Field(
        description="The severity that is accepted; what becomes worse counts again."
    )
    reason: str = Field(min_length=1, description="Why, for whoever reads the page.")
    until: str = Field(
        pattern=r"^\d{4}-\d{2}-\d{2}$", examples=["2027-06-30"], description="The last day on which it holds."
    )

    @model_validator(mode="after")
    def _is_a_day(self) -> Self:
        try:
            dt.date.fromisoformat(self.until)
        except ValueError:
            raise ValueError(f"until is {self.until!r}, which is no day; it has to be like 2027-06-30.") from None
        return self

    @property
    def ends(self) -> dt.date:
        """The last day on which it holds."""
        return dt.date.fromisoformat(self.until)


class SecurityAuditConfig(Configuration):
    """What a person may choose for `audit_security`."""

    unused_days: int = option(
        90,
        "Age",
        "Unused after (days)",
        "A role, a permission or an access key that nobody has used for this long counts as unused. IAM remembers 400 "
        "days.",
        ge=1,
        le=400,
    )
    key_days: int = option(
        90,
        "Age",
        "Old keys after (days)",
        "An access key that is older than this is reported, used or not.",
        ge=1,
        le=3650,
    )
