"""CreateFunction and what follows it: versions, the alias, reserved and provisioned concurrency."""

from __future__ import annotations

from typing import Any

from musher.config import DeploymentConfig, Environment
from musher.names import ALIAS, Run

RUNTIME = "python3.12"


def _settings(config: DeploymentConfig, env: Environment, *, name: str, endpoint_name: str) -> dict[str, Any]:
    return {
        "FunctionName": name,
        "Description": f"Classifies a picture with the endpoint {endpoint_name}.",
        "Runtime": RUNTIME,
        "Role": env.lambda_role_arn,
        "Handler": "handler.handler",
        "Timeout": config.function_timeout_seconds,
        "MemorySize": config.function_memory_mb,
        "Environment": {"Variables": {"ENDPOINT_NAME": endpoint_name}},
    }


def create_function(
    config: DeploymentConfig, env: Environment, *, name: str, run: Run, archive: bytes, endpoint_name: str
) -> dict[str, Any]:
    """CreateFunction request. `archive` is the zip's bytes; no version is published yet."""
    return {
        **_settings(config, env, name=name, endpoint_name=endpoint_name),
        "Code": {"ZipFile": archive},
        "Architectures": ["x86_64"],
        "Publish": False,
        "Tags": run.tags(env.project),
    }


def update_function_configuration(
    config: DeploymentConfig, env: Environment, *, name: str, endpoint_name: str
) -> dict[str, Any]:
    """UpdateFunctionConfiguration request for a function that exists. Wait until it is no longer being updated before
    updating its code."""
    return _settings(config, env, name=name, endpoint_name=endpoint_name)


def update_function_code(*, name: str, archive: bytes) -> dict[str, Any]:
    """UpdateFunctionCode request."""
    return {"FunctionName": name, "ZipFile": archive, "Architectures": ["x86_64"], "Publish": False}


def publish_version(*, name: str, code_sha256: str, run: Run) -> dict[str, Any]:
    """PublishVersion request, for exactly the code that was uploaded (its digest in base64, as AWS returned it).

    Nothing new is published when code and settings are those of the newest version.
    """
    return {"FunctionName": name, "CodeSha256": code_sha256, "Description": f"{run.dag_id} {run.run_id}"[:256]}


def create_alias(*, name: str, version: str) -> dict[str, Any]:
    """CreateAlias request, and UpdateAlias's as well: the alias that callers name."""
    return {"FunctionName": name, "Name": ALIAS, "FunctionVersion": version}


def reserved_concurrency(config: DeploymentConfig, *, name: str) -> dict[str, Any]:
    """PutFunctionConcurrency request: the most calls at once, set aside from the account's."""
    return {"FunctionName": name, "ReservedConcurrentExecutions": config.reserved_concurrency}


def provisioned_concurrency(config: DeploymentConfig, *, name: str) -> dict[str, Any]:
    """PutProvisionedConcurrencyConfig request, on the alias: AWS refuses it on $LATEST, and on a version that no
    caller names it would be paid for nothing."""
    return {
        "FunctionName": name,
        "Qualifier": ALIAS,
        "ProvisionedConcurrentExecutions": config.provisioned_concurrency,
    }
