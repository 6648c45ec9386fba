"""What an endpoint is created or updated to.

AWS: SageMaker API reference, PendingDeploymentSummary, PendingProductionVariantSummary.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from local_aws.endpoints.fleet import Fleet
from local_aws.endpoints.record import VariantRecord


@dataclass
class Pending:
    """The configuration that an endpoint is created or updated to: `fleet` has its instances once there are any."""

    config: dict[str, Any]
    records: Iterable[VariantRecord]
    fleet: Fleet | None = None
    started: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    def describe(self) -> dict[str, Any]:
        """DescribeEndpoint's PendingDeploymentSummary.

        CurrentInstanceCount counts the instances that calls go to: AWS's example shows 1 while a canary of one out of
        three instances bakes.
        """
        types = {each["VariantName"]: each.get("InstanceType") for each in self.config["ProductionVariants"]}
        variants = []
        for record in self.records:
            running = self.fleet.variant(record.name) if self.fleet else None
            serving = len(running.instances[: running.active]) if running else 0
            described = record.describe(serving) | {"InstanceType": types[record.name]}
            described["VariantStatus"] = [running.status.describe()] if running and running.status else []
            variants.append(described)
        return {
            "EndpointConfigName": self.config["EndpointConfigName"],
            "ProductionVariants": variants,
            "StartTime": self.started,
        }
