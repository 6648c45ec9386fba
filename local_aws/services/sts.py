"""Who calls: STS's GetCallerIdentity, by the access key alone."""

from __future__ import annotations

from typing import Any

from local_aws.services.base import FORWARD, Call, Service


class Sts(Service):
    """Moto answers the rest, and for a key that nobody has."""

    name = "sts"

    def get_caller_identity(self, call: Call) -> dict[str, Any]:
        identity = self.aws.iam.identities.find(call.access_key or "")
        if identity is None:
            return FORWARD
        return {"UserId": identity.asker.user_id, "Account": call.account, "Arn": identity.principal.arn}
