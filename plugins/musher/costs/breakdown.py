"""What one run cost and what it leaves behind costs: the run record's `costs`, from its other parts.

Local seconds are priced as if AWS had taken them: the report says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from musher import names
from musher.costs import paths, prices
from musher.load.plan import SCALE_OUT, WITHIN_PROVISIONED
from musher.record import (
    Costs,
    CurvePoint,
    EndpointCost,
    EndpointUnderLoad,
    Function,
    FunctionCost,
    LoadPhase,
    LoadTestCost,
    PathCost,
    ProjectionOutcome,
    RunRecord,
    StorageCost,
    TimelinePoint,
)


def of_run(run: RunRecord, stored: Mapping[str, int] | None = None) -> Costs:
    """The costs of a run from the parts of its record; what was not run, and cannot be worked out, has no line.

    Parameters: `stored` bytes that the run leaves on S3, by what they are (`dataset`, `models`); None: not known.
    Raises ConfigError naming prices.json for an instance type that was used and has no price.
    """
    per_path = paths.of_training(run.training, run.ec2_training)
    tuning = paths.of_tuning(run.tuning)
    load_test = _load_test(run)
    lines = [*per_path, *([tuning] if tuning else [])]
    measured = [each.usd for each in lines if each.basis == paths.MEASURED]
    endpoint = _endpoint(run)
    function = _function(run)
    return Costs(
        per_path=per_path,
        tuning=tuning,
        load_test=load_test,
        run_usd=sum(measured)
        + _ended_early(run)
        + (load_test.usd if load_test else 0)
        + ((run.release and run.release.cost_usd) or 0),
        storage=_storage(stored or {}),
        endpoint=endpoint,
        function=function,
        per_1000_predictions_usd=_per_1000_predictions(run, function),
        projected=_projected(run, lines, load_test),
        price_table_date=prices.table().date,
        price_table_region=prices.table().region,
    )


def _ended_early(run: RunRecord) -> float:
    """Training jobs that did not complete, such as those that a rule has ended: billed like any other."""
    jobs = run.diagnostics.jobs if run.diagnostics else []
    trained = {job.job for job in run.training.jobs} if run.training else set()
    on_sagemaker = [each for each in jobs if each.step in (names.TRAIN_ONE.name, names.TRAIN_MANY.name)]
    return sum(each.cost_usd or 0 for each in on_sagemaker if each.job not in trained)


def _timeline(run: RunRecord) -> list[TimelinePoint]:
    return run.autoscaling.timeline if run.autoscaling else []


def _phases(run: RunRecord) -> list[LoadPhase]:
    return run.load_test.phases if run.load_test else []


def _load_test(run: RunRecord) -> LoadTestCost | None:
    """What the endpoint's instances cost while the load test ran, and the calls of the function in it; of a
    comparison, the instances of both models."""
    if compared := run.model_comparison:
        usd = prices.endpoint_cost(compared.instance_type, compared.instance_seconds / 3600)
        return LoadTestCost(instance_seconds=compared.instance_seconds, calls=compared.calls, usd=usd)
    points, function = _timeline(run), run.function
    if not run.endpoint or len(points) < 2:
        return None
    seconds = sum((after.seconds - now.seconds) * (now.in_service or 0) for now, after in pairwise(points))
    usd = prices.endpoint_cost(run.endpoint.instance_type, seconds / 3600)
    repeated = run.load_test.repeated if run.load_test else []
    calls = sum(phase.succeeded or 0 for phase in (*_phases(run), *repeated))
    if function:
        if duration := _duration(run):
            usd += calls / 1000 * prices.lambda_per_1000(duration, function.memory_mb)
        hours = (points[-1].seconds - points[0].seconds) / 3600
        usd += prices.provisioned_cost(function.memory_mb, function.provisioned, hours)
    return LoadTestCost(instance_seconds=round(seconds, 1), calls=calls, usd=usd)


def _duration(run: RunRecord) -> float | None:
    """Milliseconds of one call of the function where nothing waits for another one; None where nobody measured it."""
    within = [phase.p50_ms for phase in _phases(run) if phase.name == WITHIN_PROVISIONED and phase.p50_ms]
    capacity = run.endpoint and run.endpoint.capacity
    return within[0] if within else capacity and capacity.p50_ms


def _storage(stored: Mapping[str, int]) -> dict[str, StorageCost]:
    return {what: StorageCost(bytes=size, usd_per_month=prices.storage_month(size)) for what, size in stored.items()}


def _endpoint(run: RunRecord) -> EndpointCost | None:
    if not run.endpoint:
        return None
    instance_type = run.endpoint.instance_type
    return EndpointCost(
        per_hour_usd=prices.endpoint_cost(instance_type),
        per_month_usd=prices.endpoint_month(instance_type),
        under_load=_under_load(run, instance_type),
    )


def _function(run: RunRecord) -> FunctionCost | None:
    function, rate, duration = run.function, _kept_rate(run), _duration(run)
    if not (run.endpoint and function and run.load_test and rate and duration):
        return None
    memory, provisioned = function.memory_mb, function.provisioned
    break_even, sentence = _break_even(duration, function)
    return FunctionCost(
        duration_ms=duration,
        memory_mb=memory,
        provisioned=provisioned,
        calls_per_second=round(rate, 2),
        per_1000_usd=prices.lambda_per_1000(duration, memory),
        per_1000_provisioned_usd=prices.lambda_per_1000_provisioned(
            duration, memory, provisioned=provisioned, calls_per_second=rate
        ),
        provisioned_per_hour_usd=prices.provisioned_cost(memory, provisioned),
        break_even_calls_per_second=break_even,
        break_even=sentence,
        curve=_curve(duration, memory, provisioned),
    )


def _per_1000_predictions(run: RunRecord, function: FunctionCost | None) -> float | None:
    if not function:
        return None
    return prices.endpoint_per_1000(run.endpoint.instance_type, _kept_rate(run)) + function.per_1000_provisioned_usd


def _kept_rate(run: RunRecord) -> float | None:
    """Calls a second that one instance answers where auto-scaling keeps it; half of what it takes where it does not
    scale, AWS's safety factor. None where nobody measured it."""
    if run.autoscaling and run.autoscaling.target_value:
        return run.autoscaling.target_value / 60
    capacity = run.endpoint and run.endpoint.capacity
    return capacity and capacity.max_rps_per_instance / 2


def _under_load(run: RunRecord, instance_type: str) -> EndpointUnderLoad | None:
    """The endpoint as large as the load test made it, if that load stayed."""
    rate = next((phase.offered_rps for phase in _phases(run) if phase.name == SCALE_OUT), None)
    counts = [point.in_service or 0 for point in _timeline(run)]
    if not rate or not counts:
        return None
    return EndpointUnderLoad(
        calls_per_second=rate,
        instances=max(counts),
        per_hour_usd=prices.endpoint_cost(instance_type, instances=max(counts)),
        per_month_usd=prices.endpoint_month(instance_type, max(counts)),
    )


def _break_even(duration_ms: float, function: Function) -> tuple[float | None, str]:
    provisioned = function.provisioned
    rate = prices.provisioned_break_even(duration_ms, provisioned)
    kept = f"{provisioned} provisioned environment{'' if provisioned == 1 else 's'} of {function.memory_mb} MB"
    if rate is None:
        return None, f"{kept} never cost less than none: they only spare callers the cold start."
    most = prices.provisioned_calls_per_second(duration_ms, provisioned)
    return rate, (
        f"Above {rate:.3g} calls a second of {duration_ms:.3g} ms, {kept} cost less than none "
        f"(they answer {most:.3g} a second at most)."
    )


def _curve(duration_ms: float, memory_mb: int, provisioned: int) -> list[CurvePoint]:
    """1,000 calls with provisioned concurrency over the rate, from a hundredth of what it answers to all of that."""
    most = prices.provisioned_calls_per_second(duration_ms, provisioned)
    rates = [most * 10 ** (step / 20 - 2) for step in range(41)]
    return [
        CurvePoint(
            calls_per_second=rate,
            per_1000_provisioned_usd=prices.lambda_per_1000_provisioned(
                duration_ms, memory_mb, provisioned=provisioned, calls_per_second=rate
            ),
        )
        for rate in rates
    ]


def _projected(run: RunRecord, lines: Iterable[PathCost], load_test: LoadTestCost | None) -> list[ProjectionOutcome]:
    """What was projected before anything was launched, beside what was billed."""
    billed = [each for each in lines if each.basis == paths.MEASURED]
    on_sagemaker = [each.usd for each in billed if "EC2" not in each.path]
    on_ec2 = [each.usd for each in billed if "EC2" in each.path]
    actual = {
        "training": sum(on_sagemaker) + _ended_early(run) if on_sagemaker else None,
        "ec2_training": sum(on_ec2) if on_ec2 else None,
        "deployment": load_test.usd if load_test else None,
        "comparison": load_test.usd if load_test else None,
    }
    return [
        ProjectionOutcome(what=what, **dict(projection), actual_usd=actual[what])
        for what, projection in (run.projected_costs.given if run.projected_costs else {}).items()
    ]
