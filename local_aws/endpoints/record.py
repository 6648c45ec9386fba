"""What is known of an endpoint, without the processes that serve it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class VariantRecord:
    """What a variant was asked for; not in its endpoint's configuration, since it can be changed."""

    name: str
    desired: int
    weight: float
    desired_weight: float

    def describe(self, instances: int) -> dict[str, Any]:
        """A variant of DescribeEndpoint, with so many instances in service."""
        return {
            "VariantName": self.name,
            "DeployedImages": [],
            "CurrentWeight": self.weight,
            "DesiredWeight": self.desired_weight,
            "CurrentInstanceCount": instances,
            "DesiredInstanceCount": self.desired,
        }


@dataclass(frozen=True)
class EndpointRecord:
    """An endpoint as it was saved: `config` is the configuration that served, `updating` whether another was to."""

    name: str
    arn: str
    config: dict[str, Any]
    deployment_config: dict[str, Any] | None
    status: str
    failure: str | None
    created: dt.datetime
    modified: dt.datetime
    variants: list[VariantRecord]
    updating: bool
    measured_by_config: bool
