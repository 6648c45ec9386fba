"""What served before what serves now, as the endpoint's tags say: what there is to go back to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from musher.hooks.serving import pairs
from musher.names import label

PREVIOUS_CONFIG = "previous_config"
PREVIOUS_VERSION = "previous_function_version"
PREVIOUS_SCALING = "previous_scaling"


@dataclass(frozen=True)
class ServedBefore:
    """`config` the endpoint configuration; `version` of the function, the one that stood in front of it; `run` the key
    of the run whose record has the auto-scaling of that time (record.ScalingBefore). None for what is not known."""

    config: str | None = None
    version: str | None = None
    run: str | None = None

    @classmethod
    def of(cls, client: Any, endpoint_arn: str) -> Self:
        """What the endpoint's tags say; `client` is boto3's of SageMaker."""
        tags = pairs(client.list_tags(ResourceArn=endpoint_arn)["Tags"])
        return cls(*(tags.get(name) or None for name in (PREVIOUS_CONFIG, PREVIOUS_VERSION, PREVIOUS_SCALING)))

    def keep(self, client: Any, endpoint_arn: str) -> None:
        """Write it to the endpoint's tags, in one call."""
        values = {PREVIOUS_CONFIG: self.config, PREVIOUS_VERSION: self.version, PREVIOUS_SCALING: self.run}
        tags = [{"Key": name, "Value": label(value or "")} for name, value in values.items()]
        client.add_tags(ResourceArn=endpoint_arn, Tags=tags)
