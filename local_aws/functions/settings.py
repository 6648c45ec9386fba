"""What a user sets of a function, and what Lambda refuses of it."""

from __future__ import annotations

import json
from typing import Any

from moto.backends import get_backend

from local_aws.errors import AwsError
from local_aws.functions.code import invalid

SETTINGS = {"Runtime": None, "Role": None, "Handler": None, "Description": "", "Timeout": 3, "MemorySize": 128,
            "Environment": None, "Architectures": ["x86_64"], "EphemeralStorage": {"Size": 512},
            "TracingConfig": {"Mode": "PassThrough"}, "LoggingConfig": None, "Layers": None}  # fmt: skip
# AWS: Lambda quotas. The model's are higher: those of functions on instances of one's own (CapacityProviderConfig).
LONGEST_TIMEOUT, MOST_MEMORY = 900, 10_240
# AWS: Lambda developer guide, "Defined runtime environment variables".
RESERVED_VARIABLES = {
    "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
}  # fmt: skip


def check(settings: dict[str, Any], account: str) -> None:
    """Raise AwsError for settings that Lambda refuses."""
    if settings["Timeout"] > LONGEST_TIMEOUT:
        raise AwsError(
            "ValidationException",
            f"1 validation error detected: Value '{settings['Timeout']}' at 'timeout' failed to satisfy "
            f"constraint: Member must have value less than or equal to {LONGEST_TIMEOUT}",
        )
    if settings["MemorySize"] > MOST_MEMORY:
        raise invalid(
            "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to "
            f"{MOST_MEMORY}"
        )
    if not settings["Runtime"].startswith("python3."):
        raise invalid(
            f"The local AWS runs Python functions only: Runtime must be python3.N, not {settings['Runtime']}."
        )
    variables = (settings["Environment"] or {}).get("Variables") or {}
    settings["Environment"] = {"Variables": variables} if variables else {}
    reserved = sorted(RESERVED_VARIABLES & set(variables))
    if reserved:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment "
            "variables you have provided "
            "contains reserved keys that are currently not supported for modification. Reserved keys used in this "
            f"request: {', '.join(reserved)}"
        )
    if len(json.dumps(variables)) > 4096:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment "
            "variables you have provided "
            "exceeded the 4KB limit."
        )
    _check_role(settings["Role"], account)


def _check_role(arn: str, account: str) -> None:
    roles = get_backend("iam")[account]["aws"].roles.values()
    role = next((each for each in roles if each.arn == arn), None)
    if role is None or "lambda.amazonaws.com" not in json.dumps(role.assume_role_policy_document):
        raise invalid(f"The role defined for the function cannot be assumed by Lambda. (Role: {arn})")
