"""Whether the caller may do it: the place of IAM. Everyone may do everything so far.

What it decides by is all there: `access_key`, `service`, `operation`, `params`, `headers`, `resources`.
"""

from __future__ import annotations

from local_aws.pipeline.exchange import Exchange


def authorise(exchange: Exchange) -> None:
    """Raise AwsError("AccessDeniedException") for a call that IAM forbids."""
