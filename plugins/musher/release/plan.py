"""How a release moves the calls from the old fleet to the new one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from musher.config import DeploymentConfig

LEAST_FOR_A_CANARY = 2  # AWS: a canary is at most half of the variant's instances


@dataclass(frozen=True)
class ReleasePlan:
    """`kind` of AWS's traffic routing; `instances` each fleet has during the release, `raised_from` how many there were
    before where a canary needed more; `canary_instances` of the new fleet take calls first, 0 where all do at once.
    """

    kind: Literal["CANARY", "ALL_AT_ONCE"]
    instances: int
    canary_instances: int = 0
    raised_from: int | None = None

    @property
    def share(self) -> float:
        """The canary's share of the new fleet, and so of the calls."""
        return self.canary_instances / self.instances if self.kind == "CANARY" else 1.0

    @property
    def more_instances(self) -> int:
        """How many more instances there are during the release than before it."""
        return self.instances + (self.instances - self.raised_from if self.raised_from else 0)

    def __str__(self) -> str:
        if self.kind == "ALL_AT_ONCE":
            return f"all at once, {self.instances} instance(s)"
        raised = f", raised from {self.raised_from} for the release" if self.raised_from else ""
        return f"a canary of {self.canary_instances} of {self.instances} instances{raised}"


def plan(config: DeploymentConfig, instances: int) -> ReleasePlan:
    """The plan for a fleet of `instances`, which a release keeps (auto-scaling may have raised it)."""
    if instances < LEAST_FOR_A_CANARY:
        if config.below_two_instances == "all_at_once":
            return ReleasePlan("ALL_AT_ONCE", instances)
        return ReleasePlan("CANARY", LEAST_FOR_A_CANARY, 1, raised_from=instances)
    return ReleasePlan("CANARY", instances, max(1, instances * config.canary_percent // 100))
