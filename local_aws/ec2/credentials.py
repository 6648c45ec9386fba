"""The credentials of an instance's role: a real session of it, from STS."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from local_aws.clock import Clock

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
    now = f"{Clock.now():%Y-%m-%dT%H:%M:%SZ}"
    try:
        current = aws.client("iam").get_role(RoleName=role)["Role"]
    except ClientError:
        return None
    if not _trusts_ec2(current["AssumeRolePolicyDocument"]):
        return json.dumps(
            {
                "Code": "AssumeRoleUnauthorizedAccess",
                "Message": f"EC2 cannot assume the role {role}. Please see documentation at "
                "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html.",
                "LastUpdated": now,
            },
            indent=2,
        )
    session = aws.client("sts").assume_role(
        RoleArn=current["Arn"], RoleSessionName=instance_id, DurationSeconds=LONGEST_SECONDS
    )
    credentials = session["Credentials"]
    return json.dumps(
        {
            "Code": "Success",
            "LastUpdated": now,
            "Type": "AWS-HMAC",
            "AccessKeyId": credentials["AccessKeyId"],
            "SecretAccessKey": credentials["SecretAccessKey"],
            "Token": credentials["SessionToken"],
            "Expiration": f"{credentials['Expiration']:%Y-%m-%dT%H:%M:%SZ}",
        },
        indent=2,
    )


def _trusts_ec2(policy: dict[str, Any]) -> bool:
    statements = policy.get("Statement") or []
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal") or {}
        services = principal.get("Service") if isinstance(principal, dict) else principal
        services = [services] if isinstance(services, str) else services or []
        if statement.get("Effect") == "Allow" and ({SERVICE, "*"} & set(services)):
            return True
    return False
