"""The phases of the load test, from what was deployed and what one instance can take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from musher.errors import UserError
from musher.load.capacity import REQUESTS_OF_A_P99, scaling_target
from musher.load.schedule import Phase

WARM_UP = "warm_up"
STEADY = "steady"
WITHIN_PROVISIONED = "within_provisioned"
WITHIN_RESERVED = "within_reserved"
BEYOND_RESERVED = "beyond_reserved"
SCALE_OUT = "scale_out"
QUIET = "quiet"

SCALED_OUT = "scaled_out"
SCALED_IN = "scaled_in"

MOST_OF_ONE_INSTANCE = 0.9


class PlanError(UserError):
    """A load test that could not show what it is meant to show."""


def build(
    *,
    provisioned: int,
    reserved: int,
    capacity: Mapping[str, Any],
    safety_factor: float,
    scale_out_load: float | None = None,
    overload_factor: float = 3.0,
    bursts: int = 5,
    least_interval_seconds: float = 1.0,
    cold_start_seconds: float = 3.0,
    scale_out_limit_seconds: float = 1200.0,
    scale_in_limit_seconds: float = 2700.0,
    hold_seconds: float = 0.0,
    scales: bool = True,
    concurrency: bool = True,
) -> list[Phase]:
    """Phases in the order they run: within provisioned, within reserved, beyond reserved, scale-out, quiet.

    Without `concurrency`, for a function that has nothing reserved and nothing provisioned, the first three are left
    out. Environments start in a warm-up then, and where nothing scales either, a steady load is what is left.

    Parameters
    ----------
    capacity: what `capacity.measure` returned for one instance.
    scale_out_load:
        Share of one instance's highest rate offered in the scale-out phase. None: 1.6 x the safety factor, so well
        above the target, but at most 0.9, so that one instance still answers in time while the second one starts.
    overload_factor: calls at once beyond the reserved concurrency, as a multiple of it.
    least_interval_seconds:
        Least time between bursts. It grows with the burst: every call of it waits for the one instance, so a burst of
        n takes n / highest rate, and twice that has to pass before the next one, or the two would add up.
    cold_start_seconds: how long the first burst beyond provisioned concurrency may take to start environments.
    hold_seconds: how long the load goes on once the endpoint has scaled out.
    scales: False leaves out the last two phases.

    Raises
    ------
    PlanError: no capacity, provisioned above reserved, or a scale-out load that does not exceed the target.
    """
    if concurrency and not 1 <= provisioned <= reserved:
        raise PlanError(
            f"provisioned concurrency is {provisioned}; it has to be between 1 and the reserved concurrency, {reserved}"
        )
    highest = float(capacity.get("max_rps_per_instance") or 0)
    if highest <= 0:
        raise PlanError("the capacity of one instance is not known; measure it before the load test")

    def burst_phase(name: str, size: int, running: int, settle_seconds: float = 0.0) -> Phase:
        interval = max(least_interval_seconds, 2 * running / highest + 0.5)
        return Phase(
            name=name,
            kind="bursts",
            size=size,
            count=bursts,
            interval_seconds=round(interval, 2),
            settle_seconds=settle_seconds,
        )

    starts_cold = cold_start_seconds if reserved > provisioned else 0.0
    phases = [
        burst_phase(WITHIN_PROVISIONED, provisioned, provisioned),
        burst_phase(WITHIN_RESERVED, reserved, reserved, starts_cold),
        burst_phase(BEYOND_RESERVED, max(reserved + 1, round(reserved * overload_factor)), reserved),
    ]
    rate = scale_out_rps(highest, safety_factor, scale_out_load) if scales else round(safety_factor * highest, 2)
    if not concurrency:
        phases = [Phase(name=WARM_UP, kind="rate", rps=rate, seconds=max(2 * cold_start_seconds, 3 / rate))]
        if not scales:
            phases += [Phase(name=STEADY, kind="rate", rps=rate, seconds=REQUESTS_OF_A_P99 / rate)]
    if scales:
        phases += [
            Phase(
                name=SCALE_OUT,
                kind="rate",
                rps=rate,
                seconds=scale_out_limit_seconds,
                until=SCALED_OUT,
                hold_seconds=hold_seconds,
            ),
            Phase(name=QUIET, kind="rate", rps=0, seconds=scale_in_limit_seconds, until=SCALED_IN),
        ]
    return phases


def scale_out_rps(max_rps_per_instance: float, safety_factor: float, load: float | None = None) -> float:
    """Rate that makes one instance scale out without drowning it; see `build`'s `scale_out_load`."""
    target_rps = scaling_target(max_rps_per_instance, safety_factor) / 60
    share = load if load is not None else min(1.6 * safety_factor, MOST_OF_ONE_INSTANCE)
    rate = round(share * max_rps_per_instance, 2)
    if rate <= target_rps:
        raise PlanError(
            f"the scale-out load is {share:g} of one instance's highest rate; it has to be above the safety factor, "
            f"which is {safety_factor:g}, or the endpoint has no reason to scale out"
        )
    return rate
