"""What a run was projected to cost, and what it cost. All amounts are US dollars."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from musher.record.part import Entry, Part


class Projection(Entry):
    """What something is expected to cost, what it costs at worst, and what is allowed.

    `basis` where the expectation comes from; `facts` what an earlier run has to have in common to go by it;
    `instance_seconds` of all instances, `seconds` of the load test.
    """

    projected_usd: float
    worst_case_usd: float
    basis: str
    max_cost_usd: float | None = None
    instance_seconds: float | None = None
    jobs: int | None = None
    seconds: float | None = None
    afterwards_per_month_usd: float | None = None
    facts: dict[str, Any] = {}


class ProjectedCosts(Part):
    """The projections of the runs that made this record, each written before anything was launched."""

    NAME: ClassVar[str] = "projected_costs"

    training: Projection | None = None
    ec2_training: Projection | None = None
    deployment: Projection | None = None
    comparison: Projection | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in super().to_json().items() if value is not None}

    @property
    def given(self) -> dict[str, Projection]:
        """Those that were projected, by what they are of."""
        return {name: value for name, value in self if value is not None}


class PathCost(Entry):
    """What a training cost on one path: `seconds` are billed ones of all instances.

    `basis` is `measured`, or from what it was worked out; `usd` is None where the price table has no price.
    """

    path: str
    instance_type: str
    instances: int
    seconds: float
    usd: float | None
    accuracy: float | None = None
    basis: str


class LoadTestCost(Entry):
    """The endpoint's instances while the load test ran, and the calls of the function in it."""

    instance_seconds: float
    calls: int
    usd: float


class StorageCost(Entry):
    bytes: int
    usd_per_month: float


class EndpointUnderLoad(Entry):
    """The endpoint as large as the load test made it, if that load stayed."""

    calls_per_second: float
    instances: int
    per_hour_usd: float
    per_month_usd: float


class EndpointCost(Entry):
    """One instance of the endpoint, busy or idle."""

    per_hour_usd: float
    per_month_usd: float
    under_load: EndpointUnderLoad | None = None


class CurvePoint(Entry):
    calls_per_second: float
    per_1000_provisioned_usd: float


class FunctionCost(Entry):
    """1,000 calls of the function with and without provisioned concurrency, and the rate at which they break even.

    `break_even_calls_per_second` is None where provisioned concurrency never costs less; `break_even` says it in words.
    """

    duration_ms: float
    memory_mb: int
    provisioned: int
    calls_per_second: float
    per_1000_usd: float
    per_1000_provisioned_usd: float
    provisioned_per_hour_usd: float | None = None
    break_even_calls_per_second: float | None = None
    break_even: str = ""
    curve: list[CurvePoint] = []


class ProjectionOutcome(Projection):
    """A projection beside what was billed; `actual_usd` None where it was not run."""

    what: str
    actual_usd: float | None = None


class Costs(Part):
    """What a run cost and what it leaves behind costs.

    `per_path` the same training on each path; `run_usd` all that was measured; `per_1000_predictions_usd` endpoint and
    function together, at the rate that auto-scaling keeps one instance at; `storage` by what is stored.
    """

    NAME: ClassVar[str] = "costs"

    per_path: list[PathCost]
    tuning: PathCost | None = None
    load_test: LoadTestCost | None = None
    run_usd: float | None = None
    storage: dict[str, StorageCost] = {}
    endpoint: EndpointCost | None = None
    function: FunctionCost | None = Field(None, alias="lambda")
    per_1000_predictions_usd: float | None = None
    projected: list[ProjectionOutcome] = []
    price_table_date: str
    price_table_region: str | None = None
