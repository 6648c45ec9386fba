"""What a DeploymentConfig asks for: refused where AWS refuses it, else the steps in which the traffic moves.

Nothing here waits or starts anything: `rollout.py` carries the plan out.

Sources: SageMaker API reference, DeploymentConfig, BlueGreenUpdatePolicy, TrafficRoutingConfig, RollingUpdatePolicy;
developer guide, "Blue/green deployments" (all at once, canary, linear) and "Use rolling deployments".
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from local_aws.endpoints.record import VariantRecord
from local_aws.errors import AwsError, validation

WAIT, LAST_WAIT = "WaitIntervalInSeconds", "TerminationWaitInSeconds"
# Where each size has to lie, in per cent of a variant's instances; the other routing types have none.
BOUNDS = {"CanarySize": (0, 50), "LinearStepSize": (10, 50), "MaximumBatchSize": (5, 50)}
SIZE_OF = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}
# What is left of a linear deployment after its last whole step is joined to that when it is less than this part of one:
# three steps of 33 %, not four.
LEAST_STEP = 0.1

Counts = Mapping[str, int]
"""Instances by the name of their variant."""


@dataclass(frozen=True)
class Step:
    """`share` of the calls goes to the first `new` instances of the new fleet, the rest to the first `old` of the old.

    Then it bakes for `wait` AWS seconds, which the setting `name` asks for.
    """

    share: float
    new: Counts
    old: Counts
    wait: int
    name: str


@dataclass(frozen=True)
class Plan:
    """A deployment. `timeout` in AWS seconds; `way_back` instances at a time return when a rolling one fails."""

    steps: tuple[Step, ...]
    alarms: tuple[str, ...] = ()
    timeout: int | None = None
    rolling: bool = False
    way_back: int = 0


def plan(config: Mapping[str, Any] | None, new: Counts, old: Counts) -> Plan:
    """The plan of a DeploymentConfig, from a fleet of `old` instances to one of `new`. Raises AwsError: it is refused.

    Without a policy it is blue/green, all at once. A share in per cent is what the calls are shared by; as many
    instances answer it as it takes, so that one of a single instance answers a canary of 10 %.
    """
    config = config or {}
    blue_green, rolling = config.get("BlueGreenUpdatePolicy"), config.get("RollingUpdatePolicy")
    if blue_green is not None and rolling is not None:
        raise _refused("has both BlueGreenUpdatePolicy and RollingUpdatePolicy, and exactly one policy can be used")
    policy = rolling if rolling is not None else blue_green or {}
    timeout = policy.get("MaximumExecutionTimeoutInSeconds")
    alarms = alarm_names(config)
    if rolling is not None:
        made = _rolling(rolling, new, old, alarms, timeout)
    else:
        made = Plan(_blue_green(policy, new, old), alarms, timeout)
    waits = sum(step.wait for step in made.steps)
    if timeout is not None and timeout <= waits:
        raise _refused(
            f"has a MaximumExecutionTimeoutInSeconds of {timeout}, which must be greater than the sum of its waits, "
            f"{waits} seconds"
        )
    return made


def alarm_names(config: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The alarms that roll a deployment back. Raises AwsError for more than ten, or for one without a name."""
    alarms = ((config or {}).get("AutoRollbackConfiguration") or {}).get("Alarms") or []
    if len(alarms) > 10:
        raise _refused(f"names {len(alarms)} alarms in AutoRollbackConfiguration, which may have 10")
    if not all(each.get("AlarmName") for each in alarms):
        raise _refused("has an alarm without AlarmName in AutoRollbackConfiguration")
    return tuple(each["AlarmName"] for each in alarms)


def retained(endpoint: str, last: dict[str, Any] | None, given: dict[str, Any] | None) -> dict[str, Any]:
    """The DeploymentConfig that RetainDeploymentConfig stands for: the endpoint's last one. Raises AwsError."""
    if given is not None:
        raise validation("RetainDeploymentConfig is true, so that no DeploymentConfig can be given.")
    if last is None:
        raise validation(f"RetainDeploymentConfig is true, and the endpoint {endpoint} has no DeploymentConfig yet.")
    return last


def check_names(new: Collection[str], old: Collection[str]) -> None:
    """Raises AwsError when the variants of a guarded deployment are called otherwise than those before.

    AWS: developer guide, "Exclusions" of the deployment guardrails. An update without a DeploymentConfig can add and
    drop variants.
    """
    if set(new) != set(old):
        raise _refused(
            f"needs an endpoint configuration with the same variant names as before, {', '.join(sorted(old))}, not "
            f"{', '.join(sorted(new))}; update without a DeploymentConfig to change them"
        )


def wanted(config: Mapping[str, Any], before: Iterable[VariantRecord], keep: Collection[str]) -> list[VariantRecord]:
    """The counts and weights that the variants of a configuration are to have.

    Those named in `keep` (DesiredInstanceCount, DesiredWeight) are what the variants of the same names have now.
    """
    had = {each.name: each for each in before}
    found = []
    for variant in config["ProductionVariants"]:
        name = variant["VariantName"]
        count, weight = variant.get("InitialInstanceCount") or 1, variant.get("InitialVariantWeight", 1.0)
        if name in had and "DesiredInstanceCount" in keep:
            count = had[name].desired
        if name in had and "DesiredWeight" in keep:
            weight = had[name].weight
        found.append(VariantRecord(name, count, weight, weight))
    return found


def _blue_green(policy: Mapping[str, Any], new: Counts, old: Counts) -> tuple[Step, ...]:
    routing = policy.get("TrafficRoutingConfiguration") or {}
    kind, wait = routing.get("Type", "ALL_AT_ONCE"), routing.get(WAIT) or 0
    for name in SIZE_OF.values():
        if name in routing and SIZE_OF.get(kind) != name:
            raise _refused(f"has a {name}, which is not for the traffic routing type {kind}")
    all_of_it = Step(1.0, new, dict.fromkeys(old, 0), policy.get(LAST_WAIT) or 0, LAST_WAIT)
    if kind == "ALL_AT_ONCE":
        return (all_of_it,)
    size = routing.get(SIZE_OF[kind])
    if size is None:
        raise _refused(f"needs a {SIZE_OF[kind]} for the traffic routing type {kind}")
    _check_size(SIZE_OF[kind], size, new)
    if kind == "CANARY":
        # The old fleet stays whole until all the traffic moves.
        return (Step(_share(size, 1, new), _part(size, 1, new), old, wait, WAIT), all_of_it)
    steps = []
    for number in range(1, _steps(size, new)):
        share = _share(size, number, new)
        # AWS deactivates the same part of the old fleet: it is there, and gets no call.
        left = {name: math.ceil((1 - share) * count - 1e-9) for name, count in old.items()}
        steps.append(Step(share, _part(size, number, new), left, wait, WAIT))
    return (*steps, all_of_it)


def _rolling(policy: Mapping[str, Any], new: Counts, old: Counts, alarms: tuple[str, ...], timeout: int | None) -> Plan:
    """Batches of at most MaximumBatchSize: launched, given their traffic, baked; then as many old ones are gone."""
    if len(new) > 1 or len(old) > 1:
        raise _refused(
            "has a RollingUpdatePolicy, which is for endpoints of one production variant, not of "
            f"{max(len(new), len(old))}"
        )
    size = policy["MaximumBatchSize"]
    _check_size("MaximumBatchSize", size, new)
    ((name, count),), ((old_name, old_count),) = new.items(), old.items()
    batch, steps = _batch(size, count), []
    for done in range(batch, count, batch):
        # While part of the calls is the old fleet's it has to have an instance, however few it began with.
        steps.append(
            Step(done / count, {name: done}, {old_name: max(1, old_count - done)}, policy.get(WAIT) or 0, WAIT)
        )
    steps.append(Step(1.0, new, {old_name: 0}, policy.get(WAIT) or 0, WAIT))
    back = policy.get("RollbackMaximumBatchSize")
    return Plan(tuple(steps), alarms, timeout, True, old_count if back is None else _batch(back, old_count))


def _check_size(name: str, size: Mapping[str, Any], counts: Counts) -> None:
    low, high = BOUNDS[name]
    for variant, count in counts.items():
        per_cent = size["Value"] if size["Type"] == "CAPACITY_PERCENT" else 100 * size["Value"] / count
        if not low <= per_cent <= high:
            asked = f"{size['Value']} %" if size["Type"] == "CAPACITY_PERCENT" else f"{size['Value']} instance(s)"
            limits = f"at most {high} %" if not low else f"{low} to {high} %"
            raise _refused(
                f"has a {name} of {asked}, which must be {limits} of the {count} instance(s) of variant {variant}"
            )


def _share(size: Mapping[str, Any], number: int, counts: Counts) -> float:
    """Of the calls, after so many steps."""
    if size["Type"] == "CAPACITY_PERCENT":
        return min(1.0, number * size["Value"] / 100)
    return sum(_part(size, number, counts).values()) / sum(counts.values())


def _part(size: Mapping[str, Any], number: int, counts: Counts) -> dict[str, int]:
    """Of each variant's instances, after so many steps."""
    if size["Type"] == "CAPACITY_PERCENT":
        return {
            name: min(count, max(1, math.ceil(number * size["Value"] * count / 100 - 1e-9)))
            for name, count in counts.items()
        }
    return {name: min(count, number * size["Value"]) for name, count in counts.items()}


def _steps(size: Mapping[str, Any], counts: Counts) -> int:
    if size["Type"] == "CAPACITY_PERCENT":
        return max(1, math.ceil(100 / size["Value"] - LEAST_STEP))
    return max(math.ceil(count / size["Value"]) for count in counts.values())


def _batch(size: Mapping[str, Any], count: int) -> int:
    asked = size["Value"] if size["Type"] == "INSTANCE_COUNT" else math.floor(size["Value"] * count / 100 + 1e-9)
    return max(1, min(count, asked))


def _refused(why: str) -> AwsError:
    return validation(f"DeploymentConfig {why}.")
