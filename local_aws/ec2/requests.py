"""What EC2 refuses of requests about instances before anything is done."""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import Iterable
from typing import Any

from local_aws.errors import AwsError
from local_aws.services.base import Call

# AWS: EC2 user guide, "Resource IDs": 8 digits in older accounts, 17 in others.
INSTANCE_ID = re.compile(r"i-([0-9a-f]{8}|[0-9a-f]{17})")
LARGEST_USER_DATA = 16_384


@functools.cache
def _instance_types() -> frozenset[str]:
    from moto.core.utils import get_service_model

    return frozenset(get_service_model("ec2").shape_for("InstanceType").enum)


def check_ids(ids: Iterable[str]) -> None:
    """Raises AwsError for what cannot be an instance's id."""
    for each in ids:
        if not INSTANCE_ID.fullmatch(each):
            raise AwsError("InvalidInstanceID.Malformed", f'Invalid id: "{each}"')


def check_instance_type(instance_type: str) -> None:
    """Raises AwsError for an instance type that AWS does not have."""
    if instance_type not in _instance_types():
        raise AwsError("InvalidParameterValue", f"Invalid value '{instance_type}' for InstanceType.")


def spot_options(request: dict[str, Any]) -> dict[str, Any] | None:
    """SpotOptions of a Spot launch, None for one on demand. Raises AwsError for what is no one-time request."""
    market = request.get("InstanceMarketOptions") or {}
    kind = market.get("MarketType")
    if kind is None:
        return None
    if kind != "spot":
        raise unsupported(f"launch into the market '{kind}': it has on-demand and Spot instances")
    options = market.get("SpotOptions") or {}
    if options.get("SpotInstanceType", "one-time") != "one-time":
        raise unsupported("take persistent Spot requests: one-time requests only")
    behavior = options.get("InstanceInterruptionBehavior", "terminate")
    if behavior != "terminate":
        raise AwsError(
            "InvalidParameterCombination",
            f"The instance interruption behavior '{behavior}' is not supported for one-time Spot requests.",
        )
    return options


def user_data_of(request: dict[str, Any]) -> bytes | None:
    encoded = request.get("UserData")
    if not encoded:
        return None
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise AwsError("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.") from None
    if len(data) > LARGEST_USER_DATA:
        raise AwsError("InvalidParameterValue", f"User data is limited to {LARGEST_USER_DATA} bytes")
    return data


def required(call: Call, name: str) -> Any:
    value = call.params.get(name)
    if value is None:
        raise AwsError("MissingParameter", f"The request must contain the parameter {name}")
    return value


def refuse_dry_run(call: Call) -> None:
    """Raises AwsError when the call only asks whether it would have succeeded."""
    if call.params.get("DryRun"):
        raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", status=412)


def unsupported(what: str) -> AwsError:
    return AwsError("UnsupportedOperation", f"The local AWS does not {what}.")
