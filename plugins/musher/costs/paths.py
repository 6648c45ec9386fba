"""What the same training costs on each path: SageMaker on demand and on managed Spot, EC2 on demand and Spot.

A path that was not run is worked out from the seconds of one that was, and its `basis` says from which; nothing else in
it pretends to be measured. A line of SageMaker is without the disks of its instances; one of EC2 that was run has them.
"""

from __future__ import annotations

from collections.abc import Callable

from musher.costs import prices
from musher.errors import ConfigError
from musher.record import Ec2Training, PathCost, Training, TrainingJob, Tuning

MEASURED = "measured"


def _line(
    path: str,
    instance_type: str,
    instances: int,
    seconds: float,
    usd: float | None,
    *,
    accuracy: float | None = None,
    basis: str = MEASURED,
) -> PathCost:
    return PathCost(
        path=path,
        instance_type=instance_type,
        instances=instances,
        seconds=round(seconds, 1),
        usd=usd,
        accuracy=accuracy,
        basis=basis,
    )


def of_tuning(part: Tuning | None) -> PathCost | None:
    if not part:
        return None
    # Trials on managed Spot say what they are billed for: less than they took, and nothing of their waiting.
    seconds = sum(trial.billable_seconds or trial.seconds or 0 for trial in part.trials)
    usd = prices.training_cost(part.instance_type, seconds)
    return _line(f"tuning, {len(part.trials)} trials", part.instance_type, 1, seconds, usd)


def of_training(training: Training | None, ec2: Ec2Training | None) -> list[PathCost]:
    """The same training on one instance, on several, on managed Spot, on EC2 on demand and on EC2 Spot."""
    jobs = sorted(training.jobs if training else [], key=lambda job: (job.managed_spot, job.instances))
    lines = [_sagemaker(job) for job in jobs]
    one, ran = next((job for job in jobs if job.instances == 1), None), 1
    if one and len(jobs) == 1 and training.instance_count:
        lines.append(_several_instead(one, training.instance_count))
    elif jobs and not one:
        one, ran = _one_instead(jobs[-1]), jobs[-1].instances
        lines.append(_sagemaker(one, f"the seconds of {_together(ran)}: it costs less than this"))
    if one and not one.managed_spot:
        lines.append(_managed_spot_instead(one, ran))
    elif one:
        lines.insert(0, _on_demand_instead(one))
    if ec2:
        lines += _ec2(ec2)
    elif one:
        lines += _ec2_instead(one, ran)
    return lines


def _sagemaker(job: TrainingJob, basis: str = MEASURED) -> PathCost:
    how = "SageMaker, managed Spot" if job.managed_spot else "SageMaker"
    path = f"{how}, {_instances(job.instances)}"
    accuracy = job.test_accuracy if basis == MEASURED else None
    usd, seconds = job.cost_usd, job.billable_seconds
    return _line(path, job.instance_type, job.instances, seconds, usd, accuracy=accuracy, basis=basis)


def _several_instead(one: TrainingJob, count: int) -> PathCost:
    """Several instances that share the work of one lose some of it to waiting for each other: nobody knows how much."""
    basis = f"the seconds of one instance, shared by {count} without loss: it costs more than this"
    return _sagemaker(one.replace(instances=count), basis)


def _one_instead(several: TrainingJob) -> TrainingJob:
    """A training job on one instance, as far as it can be told from one on several; the other paths follow from it."""
    trained = several.training_seconds
    return several.replace(instances=1, training_seconds=trained and trained * several.instances)


def _managed_spot_instead(one: TrainingJob, ran: int) -> PathCost:
    """SageMaker publishes no Spot prices: it bills fewer seconds. EC2's Spot discount for the same size stands in."""
    kind, seconds = prices.ec2_type(one.instance_type), one.billable_seconds
    basis = f"the seconds of {_together(ran)}, less EC2's Spot discount for {kind}"
    path = "SageMaker, managed Spot, one instance"
    return _derived(path, one.instance_type, seconds, basis, lambda: one.cost_usd * prices.spot_share(kind))


def _on_demand_instead(one: TrainingJob) -> PathCost:
    seconds = one.training_seconds or one.billable_seconds
    basis = "the training seconds of managed Spot, at the on-demand price"
    usd = prices.training_cost(one.instance_type, seconds)
    return _line("SageMaker, one instance", one.instance_type, 1, seconds, usd, basis=basis)


def _ec2_instead(one: TrainingJob, ran: int) -> list[PathCost]:
    kind, seconds = prices.ec2_type(one.instance_type), one.training_seconds or one.billable_seconds
    basis = f"the seconds of {_together(ran, 'SageMaker ')}, at {{}} of {kind}"
    return [
        _derived("EC2 on demand", kind, seconds, basis.format("the EC2 price"), lambda: prices.ec2_cost(kind, seconds)),
        _derived("EC2 Spot", kind, seconds, basis.format("a Spot price"), lambda: prices.ec2_spot_cost(kind, seconds)),
    ]


def _ec2(part: Ec2Training) -> list[PathCost]:
    """What ran on EC2 as measured, and the other market from its seconds."""
    kind, markets = part.instance_type, {each.market for each in part.instances} or {part.market}
    path = {1: _MARKETS[min(markets)]}.get(len(markets), "EC2 Spot and on demand")
    measured = _line(path, kind, len(part.instances), part.seconds, part.cost_usd, accuracy=part.test_accuracy)
    useful = max(0.0, part.seconds - (part.seconds_lost or 0))
    if markets == {prices.ON_DEMAND}:
        basis = "the seconds of EC2 on demand, at a Spot price, never interrupted"
        return [
            measured,
            _derived(
                "EC2 Spot",
                kind,
                part.seconds,
                basis,
                lambda: prices.ec2_spot_cost(kind, part.seconds) + _disk(part, part.seconds),
            ),
        ]
    basis = "the seconds of EC2 Spot less those lost to interruptions, at the on-demand price"
    return [
        _derived("EC2 on demand", kind, useful, basis, lambda: prices.ec2_cost(kind, useful) + _disk(part, useful)),
        measured,
    ]


def _disk(part: Ec2Training, seconds: float) -> float:
    """The disks' part of what was measured, for other seconds: what the instances alone do not explain."""
    alone = prices.ec2_training_cost(part.instances, part.instance_type)
    return max(0.0, part.cost_usd - alone) * seconds / (part.seconds or 1)


_MARKETS = {prices.SPOT: "EC2 Spot", prices.ON_DEMAND: "EC2 on demand"}


def _derived(path: str, kind: str, seconds: float, basis: str, price: Callable[[], float]) -> PathCost:
    """A path that was not run. One without a price keeps its line, without a figure."""
    try:
        usd = price()
    except ConfigError:
        usd, basis = None, f"prices.json has no price for it: {kind}"
    return _line(path, kind, 1, seconds, usd, basis=basis)


def _together(count: int, whose: str = "") -> str:
    return f"one {whose}instance" if count == 1 else f"{count} {whose}instances together"


def _instances(count: int) -> str:
    return "one instance" if count == 1 else f"{count} instances"
