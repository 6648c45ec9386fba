"""What the operations on targets, policies and scheduled actions have in common."""

from __future__ import annotations

import hashlib
from typing import Any

from local_aws.errors import AwsError, validation
from local_aws.scaling.kinds import Scalable
from local_aws.services.base import Call


def check_bounds(kind: Scalable, low: int | None, high: int | None) -> None:
    """Raise AwsError for a MinCapacity and a MaxCapacity, as far as they are given, that a target cannot have."""
    if low is not None and high is not None and low > high:
        raise validation(
            f"Maximum capacity cannot be less than minimum capacity: MinCapacity is {low}, MaxCapacity {high}."
        )
    if low is not None and low < kind.lowest:
        raise validation(f"The minimum capacity of {kind.what} must be at least {kind.lowest}, not {low}.")


def mine(items: list[dict[str, Any]], call: Call) -> list[dict[str, Any]]:
    """Those that are of the namespace, the resource and the dimension that a call names."""
    wanted = {name: call.params.get(name) for name in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
    return [item for item in items if all(value in (None, item[name]) for name, value in wanted.items())]


def not_found(what: str, kind: Scalable, resource: str) -> AwsError:
    return AwsError(
        "ObjectNotFoundException",
        f"{what} for service namespace: {kind.namespace}, resource ID: {resource}, scalable dimension: "
        f"{kind.dimension}",
    )


def digest(text: str) -> str:
    """What AWS has as a random identity in its ARNs, the same each time."""
    return hashlib.sha256(text.encode()).hexdigest()[:34]
