"""CreateModel, CreateEndpointConfig, CreateEndpoint, UpdateEndpoint."""

from __future__ import annotations

from typing import Any

from musher.config import DeploymentConfig, Environment
from musher.names import VARIANT, Run
from musher.request_parameters import common


def model(
    env: Environment, *, name: str, run: Run, package_arn: str, specification: str = "", expires: str = ""
) -> dict[str, Any]:
    """CreateModel request for a registered model package, which knows its images and its archive.

    Parameters: `specification` as `request_parameters.inference_specification` returns it; `expires` as names.Run.tags
    takes it.

    MODEL_NAME, beside the package's own variables, lets each answer say which model gave it (ml_scripts/inference.py).
    """
    chosen = {"InferenceSpecificationName": specification} if specification else {}
    return {
        "ModelName": name,
        "PrimaryContainer": {"ModelPackageName": package_arn, "Environment": {"MODEL_NAME": name}, **chosen},
        "ExecutionRoleArn": env.endpoint_role_arn,
        "EnableNetworkIsolation": True,
        "Tags": common.tags(env, run, expires),
    }


def endpoint_config(
    config: DeploymentConfig,
    env: Environment,
    *,
    name: str,
    run: Run,
    model_name: str,
    expires: str = "",
    capture: bool = False,
) -> dict[str, Any]:
    """CreateEndpointConfig request: one variant, beginning with the fewest instances.

    Parameters: `capture` whether it is for callers, whose calls are captured as the configuration says.

    Calls go to the instance with the fewest in flight: one slow picture then delays nobody else's.
    """
    return {
        "EndpointConfigName": name,
        "ProductionVariants": [
            {
                "VariantName": VARIANT,
                "ModelName": model_name,
                "InstanceType": config.instance_type,
                "InitialInstanceCount": config.min_instances,
                "InitialVariantWeight": 1.0,
                "RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"},
            }
        ],
        **(_captured(config.capture_percent, env) if capture and config.capture_percent else {}),
        "Tags": common.tags(env, run, expires),
    }


def _captured(percent: int, env: Environment) -> dict[str, Any]:
    """Pictures as base64, our answers as the JSON that they are."""
    return {
        "DataCaptureConfig": {
            "EnableCapture": True,
            "InitialSamplingPercentage": percent,
            "DestinationS3Uri": env.uri("capture"),
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
        }
    }


def create_endpoint(env: Environment, *, name: str, config_name: str, run: Run, expires: str = "") -> dict[str, Any]:
    """CreateEndpoint request."""
    return {"EndpointName": name, "EndpointConfigName": config_name, "Tags": common.tags(env, run, expires)}


def update_endpoint(*, name: str, config_name: str) -> dict[str, Any]:
    """UpdateEndpoint request. AWS takes no tags here: those of the endpoint stay.

    The endpoint begins anew with the configuration's number of instances; a release keeps them (release.release).
    """
    return {"EndpointName": name, "EndpointConfigName": config_name, "RetainAllVariantProperties": False}
