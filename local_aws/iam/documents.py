"""Policies are read when they are put: one with an operator or a condition key that AWS does not have is refused.

AWS takes such a key, and the statement never holds; that it is refused is a rule of the local AWS's own. Policies that
AWS manages are taken as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local_aws.errors import AwsError
from local_aws.iam import table
from local_aws.iam.policy import Malformed, Policy, parse

# Operation -> the member that is a policy, and whether that is a resource's own.
DOCUMENTS = {
    ("iam", "PutRolePolicy"): ("PolicyDocument", False), ("iam", "PutUserPolicy"): ("PolicyDocument", False),
    ("iam", "PutGroupPolicy"): ("PolicyDocument", False), ("iam", "CreatePolicy"): ("PolicyDocument", False),
    ("iam", "CreatePolicyVersion"): ("PolicyDocument", False),
    ("iam", "CreateRole"): ("AssumeRolePolicyDocument", True),
    ("iam", "UpdateAssumeRolePolicy"): ("PolicyDocument", True),
    ("s3", "PutBucketPolicy"): ("Policy", True), ("sts", "AssumeRole"): ("Policy", False),
}  # fmt: skip


def check(service: str, operation: str, params: Mapping[str, Any]) -> None:
    """Raise AwsError for a request that puts a policy which IAM would not read."""
    found = DOCUMENTS.get((service, operation))
    text = params.get(found[0]) if found else None
    if not text:
        return
    assert found is not None
    code = "MalformedPolicy" if service == "s3" else "MalformedPolicyDocument"
    try:
        validate(parse(text.decode() if isinstance(text, bytes) else text), of_a_resource=found[1])
    except Malformed as error:
        raise AwsError(code, str(error)) from None


def validate(policy: Policy, *, of_a_resource: bool) -> None:
    """Raise Malformed for what the kind of policy may not have, or AWS does not know."""
    for statement in policy.statements:
        if of_a_resource is (statement.principals is None):
            has = "must have a Principal" if of_a_resource else "has a Principal, which only a resource's policy has"
            raise Malformed(f"Statement {statement.name} {has}.")
        if not of_a_resource and statement.resources is None:
            raise Malformed(f"Statement {statement.name} must have a Resource or a NotResource.")
        for condition in statement.conditions:
            if not table.knows_key(condition.key):
                raise Malformed(
                    f"{condition.written} of statement {statement.name} has a condition key {condition.key}, which AWS "
                    "does not have (the local AWS refuses what would never hold)."
                )
