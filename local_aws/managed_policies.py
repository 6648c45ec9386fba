"""Managed policies of a stack, which moto's CloudFormation makes, and neither changes nor deletes; and AWS's own.

A role that has one of a stack's cannot be deleted either, so that the whole stack would stay. AWS's, 1,582 of them, are
there from when one is asked for: at a start they would cost 0.1 s and 18 MB, and 4 MB of every state.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.models import AWSManagedPolicy, IAMBackend, ManagedPolicy, iam_backends
from moto.utilities.utils import get_partition

OF_AWS = "arn:aws:iam::aws:policy/"
MOST_VERSIONS = 5  # IAM quotas: versions of a managed policy


def teach_moto() -> None:
    """Have moto's CloudFormation update and delete managed policies."""
    ManagedPolicy.update_from_cloudformation_json = classmethod(_update)
    ManagedPolicy.delete_from_cloudformation_json = classmethod(_delete)


def load_when_asked(account_id: str, operation: str, params: Mapping[str, Any]) -> None:
    """Have AWS's own policies if a call of IAM is about one, or lists them."""
    lists = operation == "ListPolicies" and params.get("Scope", "All") != "Local"
    if lists or any(isinstance(value, str) and value.startswith(OF_AWS) for value in params.values()):
        load(account_id)


def load(account_id: str) -> None:
    """Have AWS's own policies in an account, as moto knows them."""
    iam = iam_backends[account_id]["aws"]
    if not any(arn.startswith(OF_AWS) for arn in iam.managed_policies):
        known = json.loads(aws_managed_policies_data)
        made = [AWSManagedPolicy.from_data(name, account_id, iam.region_name, each) for name, each in known.items()]
        iam.managed_policies = {each.arn: each for each in made} | iam.managed_policies


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
