"""What was deployed: endpoint, auto-scaling, function."""

from __future__ import annotations

from typing import ClassVar

from musher.record.part import Entry, Part


class CapacityStep(Entry):
    """One step of the capacity ramp: requests a second, latencies in milliseconds; `why` it failed, if not `ok`.

    `p99_ms` None where there were too few requests to have one: `slowest_ms` is what was looked at then.
    """

    offered_rps: float
    achieved_rps: float | None = None
    requests: int | None = None
    p50_ms: float | None
    p99_ms: float | None
    slowest_ms: float | None = None
    ok: bool
    why: str | None = None


class Capacity(Entry):
    """What one instance takes: the highest rate within the latency limit, and the percentiles at that rate.

    `limited_by` what ended the ramp; `seconds` how long it took.
    """

    max_rps_per_instance: float
    p50_ms: float | None
    p99_ms: float | None
    limited_by: str | None = None
    latency_limit_ms: float | None = None
    seconds: float | None = None
    steps: list[CapacityStep] = []


class Endpoint(Part):
    """The endpoint with its configuration; `capacity` None until it was measured."""

    NAME: ClassVar[str] = "endpoint"

    name: str
    config: str
    instance_type: str
    capacity: Capacity | None = None


class TimelinePoint(Entry):
    """The endpoint at a moment of the load test: seconds since its start, the load then, instances."""

    seconds: float
    offered_rps: float = 0.0
    desired: int | None = None
    in_service: int | None = None


class Autoscaling(Part):
    """The scaling target in invocations per instance and minute, and what scaling did under the load.

    `scaled_out` and `scaled_in` are None where the endpoint does not scale, or no load was offered yet.
    """

    NAME: ClassVar[str] = "autoscaling"

    target_metric: str
    target_value: float
    min: int
    max: int
    timeline: list[TimelinePoint] = []
    scaled_out: bool | None = None
    scaled_in: bool | None = None


class Function(Part):
    """The Lambda function: its published version, and its concurrency in environments.

    `previous_version` the one that served before, which a roll-back goes to; None for the first. `reserved` None where
    no concurrency is reserved. `url` its address for signed calls; None without one.
    """

    NAME: ClassVar[str] = "lambda"

    function: str
    version: str
    previous_version: str | None = None
    alias: str
    memory_mb: int
    reserved: int | None
    provisioned: int
    url: str | None = None
