"""The auto-scaling of an endpoint: how it is, held still for a while, and as it was again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from musher.hooks.serving import removed
from musher.request_parameters.scaling import variant


def describe(client: Any, endpoint: str) -> dict[str, Any]:
    """`{target, policy}`: the request that would register the scalable target as it is, and that of its policy; empty
    where there is none."""
    place = variant(endpoint)
    of = {"ServiceNamespace": place["ServiceNamespace"], "ScalableDimension": place["ScalableDimension"]}
    targets = client.describe_scalable_targets(ResourceIds=[place["ResourceId"]], **of)["ScalableTargets"]
    if not targets:
        return {}
    policies = client.describe_scaling_policies(ResourceId=place["ResourceId"], **of)["ScalingPolicies"]
    name = "TargetTrackingScalingPolicyConfiguration"
    return {
        "target": {**place, **{field: targets[0][field] for field in ("MinCapacity", "MaxCapacity")}},
        "policies": [
            {**place, "PolicyName": each["PolicyName"], "PolicyType": each["PolicyType"], name: each[name]}
            for each in policies
        ],
    }


def restore(client: Any, before: Mapping[str, Any]) -> None:
    """Register what `describe` found, where there was something."""
    if before:
        client.register_scalable_target(**before["target"])
        for policy in before["policies"]:
            client.put_scaling_policy(**policy)


def deregister(client: Any, endpoint: str) -> bool:
    """Take the scalable target away; whether there was one."""
    return removed(lambda: client.deregister_scalable_target(**variant(endpoint)))
