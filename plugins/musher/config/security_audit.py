"""What a person may choose for the weekly security audit."""

from __future__ import annotations

from musher.config.fields import Configuration, option


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
