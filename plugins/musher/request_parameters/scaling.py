"""RegisterScalableTarget, PutScalingPolicy: Application Auto Scaling of the endpoint's variant."""

from __future__ import annotations

from typing import Any

from musher.config import DeploymentConfig
from musher.names import VARIANT

METRIC = "SageMakerVariantInvocationsPerInstance"


def variant(endpoint_name: str) -> dict[str, str]:
    """How Application Auto Scaling names the endpoint's variant; what describing and deregistering take as well."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint_name}/variant/{VARIANT}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def scalable_target(config: DeploymentConfig, *, endpoint_name: str) -> dict[str, Any]:
    """RegisterScalableTarget request: between the fewest and the most instances. Not billed, so not tagged."""
    return {**variant(endpoint_name), "MinCapacity": config.min_instances, "MaxCapacity": config.max_instances}


def scaling_policy(config: DeploymentConfig, *, endpoint_name: str, target: float) -> dict[str, Any]:
    """PutScalingPolicy request that keeps calls per instance and minute near `target`.

    See `load.capacity.scaling_target` for the target.
    Source: SageMaker developer guide, "Define a scaling policy".
    """
    return {
        **variant(endpoint_name),
        "PolicyName": f"{endpoint_name}-invocations",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": target,
            "PredefinedMetricSpecification": {"PredefinedMetricType": METRIC},
            "ScaleOutCooldown": config.scale_out_cooldown_seconds,
            "ScaleInCooldown": config.scale_in_cooldown_seconds,
        },
    }
