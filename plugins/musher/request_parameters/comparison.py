"""The endpoint of a comparison: two models behind it, each a variant on an instance of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from musher.config import Environment
from musher.names import Run
from musher.request_parameters import common


def variants(
    env: Environment, *, name: str, run: Run, models: Mapping[str, str], instance_type: str, expires: str
) -> dict[str, Any]:
    """CreateEndpointConfig request.

    Parameters: `models` the name of the model of each variant, by the variant's name. The weights are the same, and
    decide nothing: each request names its variant (TargetVariant).
    Source: SageMaker developer guide, "Testing models with production variants".
    """
    return {
        "EndpointConfigName": name,
        "ProductionVariants": [
            {
                "VariantName": variant,
                "ModelName": model,
                "InstanceType": instance_type,
                "InitialInstanceCount": 1,
                "InitialVariantWeight": 1.0,
            }
            for variant, model in models.items()
        ],
        "Tags": common.tags(env, run, expires),
    }
