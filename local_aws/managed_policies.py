"""Managed policies of a stack: moto's CloudFormation makes them, and neither changes nor deletes them.

A role that has one cannot be deleted either, so that the whole stack would stay.
"""

from __future__ import annotations

import json
from typing import Any

from moto.iam.models import IAMBackend, ManagedPolicy, iam_backends
from moto.utilities.utils import get_partition

MOST_VERSIONS = 5  # IAM quotas: versions of a managed policy


def teach_moto() -> None:
    """Have moto's CloudFormation update and delete managed policies."""
    ManagedPolicy.update_from_cloudformation_json = classmethod(_update)
    ManagedPolicy.delete_from_cloudformation_json = classmethod(_delete)


def _backend(account_id: str, region_name: str) -> IAMBackend:
    return iam_backends[account_id][get_partition(region_name)]


def _update(
    cls: type[ManagedPolicy],
    original_resource: ManagedPolicy,
    new_resource_name: str,
    cloudformation_json: dict[str, Any],
    account_id: str,
    region_name: str,
) -> ManagedPolicy:
    """A new version with the new document, and the roles that it is attached to now."""
    iam, properties = _backend(account_id, region_name), cloudformation_json["Properties"]
    policy = iam.get_policy(original_resource.arn)
    document = json.dumps(properties["PolicyDocument"])
    if iam.get_policy_version(policy.arn, policy.default_version_id).document != document:
        if len(policy.versions) >= MOST_VERSIONS:
            oldest = next(each for each in policy.versions if not each.is_default)
            policy.versions.remove(oldest)
        iam.create_policy_version(policy.arn, document, True)
    wanted = set(properties.get("Roles", ()))
    attached = {role.name for role in iam.get_roles() if policy.arn in role.managed_policies}
    for role in attached - wanted:
        iam.detach_role_policy(policy.arn, role)
    for role in wanted - attached:
        iam.attach_role_policy(policy.arn, role)
    return policy


def _delete(
    cls: type[ManagedPolicy],
    resource_name: str,
    cloudformation_json: dict[str, Any],
    account_id: str,
    region_name: str,
) -> None:
    iam = _backend(account_id, region_name)
    for role in iam.get_roles():
        if resource_name in role.managed_policies:
            iam.detach_role_policy(resource_name, role.name)
    iam.delete_policy(resource_name)
