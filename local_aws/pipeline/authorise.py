"""Who calls, and whether he may: the place of IAM, which `local_aws/iam/` is.

What it decides by is all there: `environ`, `service`, `operation`, `params`, and who has signed.
"""

from __future__ import annotations

from local_aws.iam.authority import Authority
from local_aws.pipeline.exchange import Exchange


def authenticate(exchange: Exchange, authority: Authority) -> None:
    """Find out who calls. Raises AwsError for a signature that is not taken."""
    authority.authenticate(exchange)


def authorise(exchange: Exchange, authority: Authority) -> None:
    """Raise AwsError, in the service's own form, for a call that IAM forbids."""
    authority.authorise(exchange)
