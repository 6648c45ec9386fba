"""What one run cost and what it leaves behind costs: the run record's `costs`, from its other parts.

Local seconds are priced as if AWS had taken them: the report says so. A path that was not run is worked out from the
seconds of one that was, and its `basis` says from which; nothing else in it pretends to be measured. A line of
SageMaker is without the disks of its instances; one of EC2 that was run has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

from musher.costs import prices
from musher.errors import ConfigError
from musher.load.plan import SCALE_OUT, WITHIN_PROVISIONED

MEASURED = "measured"


def of_run(parts: Mapping[str, Any], stored: Mapping[str, int] | None = None) -> dict[str, Any]:
    """The costs of a run from the parts of its record; what was not run, and cannot be worked out, has no line.

    Parameters: `stored` bytes that the run leaves on S3, by what they are (`dataset`, `models`); None: not known.
    Returns `per_path` [{path, instance_type, instances, seconds, usd, accuracy, basis}], the same training on each
    path (`seconds` are billed ones of all instances; `usd` None with a `basis` that says why, where the table has no
    price), `tuning`, a line like these, `run_usd` (all that was measured, so what the run itself was billed for),
    `load_test` {instance_seconds, usd}, `storage` {what: {bytes, usd_per_month}}, `endpoint` {per_hour_usd,
    per_month_usd, under_load} while it stands, `lambda` per 1,000 predictions with and without provisioned
    concurrency and the rate at which they break even, `per_1000_predictions_usd` (endpoint and function, at the rate
    that auto-scaling keeps one instance at), `projected`, `price_table_date` and `price_table_region`.
    Raises ConfigError naming prices.json for an instance type that was used and has no price.
    """
    paths = _paths(parts.get("training"), parts.get("ec2_training"))
    tuning = _tuning(parts.get("tuning"))
    load_test = _load_test(parts)
    measured = [each["usd"] for each in [*paths, *([tuning] if tuning else [])] if each["basis"] == MEASURED]
    return {
        "per_path": paths,
        "tuning": tuning,
        "load_test": load_test,
        "run_usd": sum(measured) + (load_test["usd"] if load_test else 0),
        "storage": _storage(stored or {}),
        **_serving(parts),
        "projected": _projected(parts, tuning, paths, load_test),
        "price_table_date": prices.table().date,
        "price_table_region": prices.table().region,
    }


def _line(path: str, instance_type: str, instances: int, seconds: float, usd: float | None, **more: Any) -> dict:
    found = {"path": path, "instance_type": instance_type, "instances": instances, "seconds": round(seconds, 1)}
    return {**found, "usd": usd, "accuracy": more.get("accuracy"), "basis": more.get("basis", MEASURED)}


def _tuning(part: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not part:
        return None
    # Trials on managed Spot say what they are billed for: less than they took, and nothing of their waiting.
    seconds = sum(trial.get("billable_seconds") or trial["seconds"] or 0 for trial in part["trials"])
    usd = prices.training_cost(part["instance_type"], seconds)
    return _line(f"tuning, {len(part['trials'])} trials", part["instance_type"], 1, seconds, usd)


def _paths(training: Mapping[str, Any] | None, ec2: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The same training on one instance, on several, on managed Spot, on EC2 on demand and on EC2 Spot."""
    jobs = sorted((training or {}).get("jobs", []), key=lambda job: (bool(job.get("managed_spot")), job["instances"]))
    lines = [_sagemaker(job) for job in jobs]
    one = next((job for job in jobs if job["instances"] == 1), None)
    if one and not one.get("managed_spot"):
        lines.append(_managed_spot_instead(one))
    elif one:
        lines.insert(0, _on_demand_instead(one))
    if ec2:
        lines += _ec2(ec2)
    elif one:
        lines += _ec2_instead(one)
    return lines


def _sagemaker(job: Mapping[str, Any]) -> dict[str, Any]:
    how = "SageMaker, managed Spot" if job.get("managed_spot") else "SageMaker"
    return _line(
        f"{how}, {_instances(job['instances'])}",
        job["instance_type"],
        job["instances"],
        job["billable_seconds"],
        job["cost_usd"],
        accuracy=job["test_accuracy"],
    )


def _managed_spot_instead(one: Mapping[str, Any]) -> dict[str, Any]:
    """SageMaker publishes no Spot prices: it bills fewer seconds. EC2's Spot discount for the same size stands in."""
    kind, seconds = prices.ec2_type(one["instance_type"]), one["billable_seconds"]
    basis = f"the seconds of one instance, less EC2's Spot discount for {kind}"
    path = "SageMaker, managed Spot, one instance"
    return _derived(path, one["instance_type"], seconds, basis, lambda: one["cost_usd"] * prices.spot_share(kind))


def _on_demand_instead(one: Mapping[str, Any]) -> dict[str, Any]:
    seconds = one.get("training_seconds") or one["billable_seconds"]
    basis = "the training seconds of managed Spot, at the on-demand price"
    usd = prices.training_cost(one["instance_type"], seconds)
    return _line("SageMaker, one instance", one["instance_type"], 1, seconds, usd, basis=basis)


def _ec2_instead(one: Mapping[str, Any]) -> list[dict[str, Any]]:
    kind, seconds = prices.ec2_type(one["instance_type"]), one.get("training_seconds") or one["billable_seconds"]
    basis = "the seconds of one SageMaker instance, at {} of " + kind
    return [
        _derived("EC2 on demand", kind, seconds, basis.format("the EC2 price"), lambda: prices.ec2_cost(kind, seconds)),
        _derived("EC2 Spot", kind, seconds, basis.format("a Spot price"), lambda: prices.ec2_spot_cost(kind, seconds)),
    ]


def _ec2(part: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What ran on EC2 as measured, and the other market from its seconds."""
    kind, markets = part["instance_type"], {each["market"] for each in part["instances"]} or {part["market"]}
    path = {1: _MARKETS[min(markets)]}.get(len(markets), "EC2 Spot and on demand")
    measured = _line(
        path,
        kind,
        len(part["instances"]),
        part["seconds"],
        part["cost_usd"],
        accuracy=part.get("test_accuracy"),
    )
    useful = max(0.0, part["seconds"] - (part.get("seconds_lost") or 0))
    if markets == {prices.ON_DEMAND}:
        basis = "the seconds of EC2 on demand, at a Spot price, never interrupted"
        return [
            measured,
            _derived(
                "EC2 Spot",
                kind,
                part["seconds"],
                basis,
                lambda: prices.ec2_spot_cost(kind, part["seconds"]) + _disk(part, part["seconds"]),
            ),
        ]
    basis = "the seconds of EC2 Spot less those lost to interruptions, at the on-demand price"
    return [
        _derived("EC2 on demand", kind, useful, basis, lambda: prices.ec2_cost(kind, useful) + _disk(part, useful)),
        measured,
    ]


def _disk(part: Mapping[str, Any], seconds: float) -> float:
    """The disks' part of what was measured, for other seconds: what the instances alone do not explain."""
    alone = prices.ec2_training_cost(part["instances"], part["instance_type"])
    return max(0.0, part["cost_usd"] - alone) * seconds / (part["seconds"] or 1)


_MARKETS = {prices.SPOT: "EC2 Spot", prices.ON_DEMAND: "EC2 on demand"}


def _derived(path: str, kind: str, seconds: float, basis: str, price: Callable[[], float]) -> dict[str, Any]:
    """A path that was not run. One without a price keeps its line, without a figure."""
    try:
        usd = price()
    except ConfigError:
        usd, basis = None, f"prices.json has no price for it: {kind}"
    return _line(path, kind, 1, seconds, usd, basis=basis)


def _instances(count: int) -> str:
    return "one instance" if count == 1 else f"{count} instances"


def _load_test(parts: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the endpoint's instances cost while the load test ran, and the calls of the function in it."""
    endpoint, function = parts.get("endpoint"), parts.get("lambda") or {}
    points = (parts.get("autoscaling") or {}).get("timeline") or []
    if not endpoint or len(points) < 2:
        return None
    steps = pairwise(points)
    seconds = sum((after["seconds"] - now["seconds"]) * (now.get("in_service") or 0) for now, after in steps)
    usd = prices.endpoint_cost(endpoint["instance_type"], seconds / 3600)
    calls = sum(phase["succeeded"] or 0 for phase in (parts.get("load_test") or {}).get("phases", []))
    memory = function.get("memory_mb")
    if memory:
        usd += calls / 1000 * prices.lambda_per_1000(_duration(parts), memory)
        hours = (points[-1]["seconds"] - points[0]["seconds"]) / 3600
        usd += prices.provisioned_cost(memory, function["provisioned"], hours)
    return {"instance_seconds": round(seconds, 1), "calls": calls, "usd": usd}


def _duration(parts: Mapping[str, Any]) -> float:
    """Milliseconds of one call of the function where nothing waits for another one."""
    phases = (parts.get("load_test") or {}).get("phases", [])
    within = [phase["p50_ms"] for phase in phases if phase["name"] == WITHIN_PROVISIONED and phase["p50_ms"]]
    return within[0] if within else parts["endpoint"]["capacity"]["p50_ms"]


def _storage(stored: Mapping[str, int]) -> dict[str, Any]:
    return {what: {"bytes": size, "usd_per_month": prices.storage_month(size)} for what, size in stored.items()}


def _serving(parts: Mapping[str, Any]) -> dict[str, Any]:
    endpoint, function, load = parts.get("endpoint"), parts.get("lambda"), parts.get("load_test")
    if not endpoint:
        return {}
    instance_type = endpoint["instance_type"]
    found: dict[str, Any] = {
        "endpoint": {
            "per_hour_usd": prices.endpoint_cost(instance_type),
            "per_month_usd": prices.endpoint_month(instance_type),
            "under_load": _under_load(parts, instance_type),
        }
    }
    if not (function and load):
        return found
    rate, duration, memory = _kept_rate(parts), _duration(parts), function["memory_mb"]
    on_demand = prices.lambda_per_1000(duration, memory)
    provisioned = prices.lambda_per_1000_provisioned(
        duration, memory, provisioned=function["provisioned"], calls_per_second=rate
    )
    endpoint_part = prices.endpoint_per_1000(instance_type, rate)
    found["lambda"] = {
        "duration_ms": duration,
        "memory_mb": memory,
        "provisioned": function["provisioned"],
        "calls_per_second": round(rate, 2),
        "per_1000_usd": on_demand,
        "per_1000_provisioned_usd": provisioned,
        "provisioned_per_hour_usd": prices.provisioned_cost(memory, function["provisioned"]),
        **_break_even(duration, memory, function["provisioned"]),
        "curve": _curve(duration, memory, function["provisioned"]),
    }
    found["per_1000_predictions_usd"] = endpoint_part + provisioned
    return found


def _kept_rate(parts: Mapping[str, Any]) -> float:
    """Calls a second that one instance answers where auto-scaling keeps it; half of what it takes where it does not
    scale, AWS's safety factor."""
    target = (parts.get("autoscaling") or {}).get("target_value")
    return target / 60 if target else parts["endpoint"]["capacity"]["max_rps_per_instance"] / 2


def _under_load(parts: Mapping[str, Any], instance_type: str) -> dict[str, Any] | None:
    """The endpoint as large as the load test made it, if that load stayed."""
    phases = (parts.get("load_test") or {}).get("phases", [])
    rate = next((phase["offered_rps"] for phase in phases if phase["name"] == SCALE_OUT), None)
    counts = [point.get("in_service") or 0 for point in (parts.get("autoscaling") or {}).get("timeline") or []]
    if not rate or not counts:
        return None
    return {
        "calls_per_second": rate,
        "instances": max(counts),
        "per_hour_usd": prices.endpoint_cost(instance_type, instances=max(counts)),
        "per_month_usd": prices.endpoint_month(instance_type, max(counts)),
    }


def _break_even(duration_ms: float, memory_mb: int, provisioned: int) -> dict[str, Any]:
    rate = prices.provisioned_break_even(duration_ms, provisioned)
    most = prices.provisioned_calls_per_second(duration_ms, provisioned) if duration_ms else None
    kept = f"{provisioned} provisioned environment{'' if provisioned == 1 else 's'} of {memory_mb} MB"
    if rate is None:
        sentence = f"{kept} never cost less than none: they only spare callers the cold start."
    else:
        sentence = (
            f"Above {rate:.3g} calls a second of {duration_ms:.3g} ms, {kept} cost less than none "
            f"(they answer {most:.3g} a second at most)."
        )
    return {"break_even_calls_per_second": rate, "break_even": sentence}


def _curve(duration_ms: float, memory_mb: int, provisioned: int) -> list[dict[str, float]]:
    """1,000 calls with provisioned concurrency over the rate, from a hundredth of what it answers to all of that."""
    most = prices.provisioned_calls_per_second(duration_ms, provisioned)
    rates = [most * 10 ** (step / 20 - 2) for step in range(41)]
    return [
        {
            "calls_per_second": rate,
            "per_1000_provisioned_usd": prices.lambda_per_1000_provisioned(
                duration_ms, memory_mb, provisioned=provisioned, calls_per_second=rate
            ),
        }
        for rate in rates
    ]


def _projected(
    parts: Mapping[str, Any],
    tuning: Mapping[str, Any] | None,
    paths: Iterable[Mapping[str, Any]],
    load_test: Mapping[str, Any] | None,
) -> list[dict[str, Any]]:
    """What was projected before anything was launched, beside what was billed: [{what, projected_usd, ...}]."""
    billed = [path for path in paths if path["basis"] == MEASURED]
    on_sagemaker = [each["usd"] for each in [*billed, *([tuning] if tuning else [])] if "EC2" not in each["path"]]
    on_ec2 = [each["usd"] for each in billed if "EC2" in each["path"]]
    actual = {
        "training": sum(on_sagemaker) if on_sagemaker else None,
        "ec2_training": sum(on_ec2) if on_ec2 else None,
        "deployment": load_test["usd"] if load_test else None,
    }
    return [
        {"what": what, **projection, "actual_usd": actual.get(what)}
        for what, projection in (parts.get("projected_costs") or {}).items()
    ]
