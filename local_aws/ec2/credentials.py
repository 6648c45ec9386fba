"""The credentials of an instance's role: a real session of it, from STS."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from moto.backends import get_backend

from local_aws.clock import Clock
from local_aws.iam.sessions import CannotAssume

if TYPE_CHECKING:
    from local_aws.aws import LocalAws

SERVICE = "ec2.amazonaws.com"
LONGEST_SECONDS = 21_600


def profile_role(aws: LocalAws, profile: str | None) -> str | None:
    """The name of the role in an instance profile; None without one."""
    if profile is None:
        return None
    try:
        found = aws.client("iam").get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]
    except ClientError:
        return None
    return found["Roles"][0]["RoleName"] if found["Roles"] else None


def role_credentials(aws: LocalAws, role: str, instance_id: str) -> str | None:
    """What meta-data/iam/security-credentials/ROLE answers for an instance.

    The access key names the role's session: GetCallerIdentity answers assumed-role/ROLE/INSTANCE, as on AWS. A role
    that EC2 may not assume gives no credentials but says so (EC2 user guide, "Troubleshoot IAM roles"); one that is
    gone gives None.
    """
    arn = next((each.arn for each in get_backend("iam")[aws.account]["aws"].roles.values() if each.name == role), None)
    if arn is None:
        return None
    now = f"{Clock.now():%Y-%m-%dT%H:%M:%SZ}"
    try:
        session = aws.iam.sessions.begin(arn, SERVICE, instance_id, LONGEST_SECONDS)
    except CannotAssume:
        return json.dumps(
            {
                "Code": "AssumeRoleUnauthorizedAccess",
                "Message": f"EC2 cannot assume the role {role}. Please see documentation at "
                "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html.",
                "LastUpdated": now,
            },
            indent=2,
        )
    return json.dumps({"Code": "Success", "LastUpdated": now, "Type": "AWS-HMAC", **session}, indent=2)
