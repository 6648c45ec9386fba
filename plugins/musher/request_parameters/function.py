"""CreateFunction and what follows it: versions, the alias, reserved and provisioned concurrency."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from musher.config import DeploymentConfig, Environment
from musher.names import ALIAS, Run, Stack

RUNTIME = "python3.12"


def _settings(config: DeploymentConfig, env: Environment, *, stack: Stack, endpoint_name: str) -> dict[str, Any]:
    return {
        "FunctionName": stack.function,
        "Description": f"Classifies a picture with the endpoint {endpoint_name}.",
        "Runtime": RUNTIME,
        "Role": stack.role_arn(env),
        "Handler": "handler.handler",
        "Timeout": config.function_timeout_seconds,
        "MemorySize": config.function_memory_mb,
        "Environment": {"Variables": {"ENDPOINT_NAME": endpoint_name}},
    }


def create_function(
    config: DeploymentConfig,
    env: Environment,
    *,
    stack: Stack,
    run: Run,
    archive: bytes,
    endpoint_name: str,
    expires: str = "",
) -> dict[str, Any]:
    """CreateFunction request. `archive` is the zip's bytes; no version is published yet. `expires` as in
    names.Run.tags."""
    return {
        **_settings(config, env, stack=stack, endpoint_name=endpoint_name),
        "Code": {"ZipFile": archive},
        "Architectures": ["x86_64"],
        "Publish": False,
        "Tags": run.tags(env.project, expires=expires),
    }


def update_function_configuration(
    config: DeploymentConfig, env: Environment, *, stack: Stack, endpoint_name: str
) -> dict[str, Any]:
    """UpdateFunctionConfiguration request for a function that exists. Wait until it is no longer being updated before
    updating its code."""
    return _settings(config, env, stack=stack, endpoint_name=endpoint_name)


def same_settings(described: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a function, as GetFunctionConfiguration describes it, runs as `update_function_configuration` would have
    it. Its description says nothing about that: a version has one of its own."""
    now = {**described, "Environment": {"Variables": (described.get("Environment") or {}).get("Variables") or {}}}
    return all(now.get(name) == value for name, value in wanted.items() if name not in {"FunctionName", "Description"})


def update_function_code(*, name: str, archive: bytes) -> dict[str, Any]:
    """UpdateFunctionCode request."""
    return {"FunctionName": name, "ZipFile": archive, "Architectures": ["x86_64"], "Publish": False}


def publish_version(*, name: str, code_sha256: str, run: Run) -> dict[str, Any]:
    """PublishVersion request, for exactly the code that was uploaded (its digest in base64, as AWS returned it).

    Nothing new is published when code and settings are those of the newest version.
    """
    return {"FunctionName": name, "CodeSha256": code_sha256, "Description": f"{run.dag_id} {run.run_id}"[:256]}


def create_alias(*, name: str, version: str) -> dict[str, Any]:
    """CreateAlias request: the alias that callers name."""
    return {"FunctionName": name, "Name": ALIAS, "FunctionVersion": version}


def update_alias(*, name: str, version: str, previous_version: str | None) -> dict[str, Any]:
    """UpdateAlias request: all of the alias's callers go to one version; `previous_version` is for a roll-back."""
    return {
        **create_alias(name=name, version=version),
        "Description": f"previous_version={previous_version}" if previous_version else "",
        "RoutingConfig": {"AdditionalVersionWeights": {}},
    }


def reserved_concurrency(number: int, *, name: str) -> dict[str, Any]:
    """PutFunctionConcurrency request: the most calls at once, set aside from the account's."""
    return {"FunctionName": name, "ReservedConcurrentExecutions": number}


def provisioned_concurrency(number: int, *, name: str, qualifier: str) -> dict[str, Any]:
    """PutProvisionedConcurrencyConfig request. `qualifier` is a version: AWS refuses $LATEST, and an alias that moves
    with environments of its own would be cold for a while."""
    return {"FunctionName": name, "Qualifier": qualifier, "ProvisionedConcurrentExecutions": number}


def function_url(*, name: str) -> dict[str, Any]:
    """CreateFunctionUrlConfig request: an address of the alias, for signed calls only."""
    return {"FunctionName": name, "Qualifier": ALIAS, "AuthType": "AWS_IAM", "InvokeMode": "BUFFERED"}
