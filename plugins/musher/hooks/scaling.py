"""The auto-scaling of an endpoint: how it is, held still for a while, and as it was again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from musher import names, record
from musher.hooks.serving import ServingHook, removed
from musher.request_parameters import release
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


def as_before(hook: ServingHook, stack: names.Stack, before: record.ScalingBefore) -> bool:
    """Have auto-scaling and, where there is none, the number of instances as they were before a release; whether the
    endpoint has begun to change for it."""
    restore(hook.client("application-autoscaling"), before.requests)
    if before.requests or before.instances is None:  # auto-scaling takes an added instance away again
        return False
    now = hook.describe_endpoint(stack.endpoint)
    if now is None or desired(now) == before.instances:
        return False
    hook.conn.update_endpoint_weights_and_capacities(
        **release.instances(stack=stack, variant=names.VARIANT, count=before.instances)
    )
    return True


def desired(endpoint: Mapping[str, Any]) -> int:
    """How many instances an endpoint, as AWS describes it, is to have."""
    return sum(each["DesiredInstanceCount"] for each in endpoint["ProductionVariants"])


def deregister(client: Any, endpoint: str) -> bool:
    """Take the scalable target away; whether there was one."""
    return removed(lambda: client.deregister_scalable_target(**variant(endpoint)))
