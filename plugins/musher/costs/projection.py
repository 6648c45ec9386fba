"""What a run will cost, before anything is launched: what is expected, and what it is at worst.

Expected seconds are those of the newest earlier run of the same kind; without one,
the longest that the configuration allows, so that the first run is never cheaper in the projection than in the bill.
A worst case is every job and wait at its limit, and each once: what retries of failed jobs cost comes on top.
"""

from __future__ import annotations

from typing import Any

from musher import names, record
from musher.config import ComparisonConfig, DeploymentConfig, TrainingConfig
from musher.costs import prices
from musher.errors import CostError
from musher.load.capacity import LEAST_RPS, REQUESTS_OF_A_P99
from musher.record import Projection, Rehearsal, RunRecord, TrainingJob
from musher.release.plan import LEAST_FOR_A_CANARY
from musher.request_parameters.alarms import SCALING_ALARMS, WATCHED

# What decides how long a training run takes; an earlier run with the same values is one to go by.
TRAINING_FACTS = (
    "dataset_name",
    "backbone",
    "finetune",
    "head",
    "epochs",
    "tuning_epochs",
    "augment_views",
    "training_instance_type",
)
DEPLOYMENT_FACTS = (
    "instance_type",
    "max_instances",
    "bursts",
    "burst_interval_seconds",
    "scale_in_cooldown_seconds",
    "scale_out_cooldown_seconds",
)
MOST_EARLIER_RUNS = 20

# Waiting for the endpoint and for the function, beyond the load test: the limits of those tasks.
DEPLOYMENT_WAITS_SECONDS = 3600 + 900
# An endpoint as a rule, and with its removal at its longest.
STARTING_SECONDS, COMPARISON_WAITS_SECONDS = 600, 3600 + 1800


def training(config: TrainingConfig, earlier: RunRecord | None = None) -> Projection:
    """The trials, the training on the paths that are taken, and the evaluation of the model in service.

    Parameters: `earlier` an earlier run's record (see `earlier_run`).
    Raises ConfigError naming prices.json for an instance type without a price.
    """
    kind = config.training_instance_type
    jobs = config.max_jobs + sum(config.instance_counts)
    longest = (jobs + 1) * config.max_runtime_seconds  # and the evaluation, where a model is in service
    seconds, basis = float(longest), "no earlier run to go by: every job at its longest"
    if earlier:
        trials = [trial.seconds for trial in earlier.tuning.trials if trial.seconds]
        by_instances = {job.instances: _instance_seconds(job) for job in earlier.training.jobs}
        most = max(by_instances)
        trained = [by_instances[1] if n == 1 else by_instances[most] * n / most for n in config.instance_counts]
        seconds = config.max_jobs * sum(trials) / len(trials) + sum(trained)
        basis = f"the seconds of the run {earlier.run}"
    return Projection(
        projected_usd=prices.training_cost(kind, seconds),
        worst_case_usd=prices.training_cost(kind, longest),
        basis=basis,
        instance_seconds=round(seconds, 1),
        jobs=jobs,
        facts=_facts(config, TRAINING_FACTS),
    )


def _instance_seconds(job: TrainingJob) -> float:
    """Seconds of all instances of a training job; on managed Spot the unbilled ones too: nobody promises them."""
    return job.training_seconds * job.instances if job.training_seconds else job.billable_seconds


def deployment(
    config: DeploymentConfig, earlier: RunRecord | None = None, rehearsal: Rehearsal | None = None
) -> Projection:
    """The endpoint and the provisioned environments while they are measured and tested, the second fleet of a release,
    and what stands afterwards.

    Parameters: `earlier` an earlier run's record (see `earlier_run`); `rehearsal` how much of one there will be, None:
    a full one beside what serves.
    Raises ConfigError naming prices.json for an instance type without a price.
    """
    planned = rehearsal or Rehearsal(stack=names.REHEARSAL, extent="full", why="")
    provisioned = config.provisioned_concurrency if planned.concurrency else 0
    seconds, instances, basis, longest = _rehearsed(config, earlier, planned)
    # What was rehearsed where it serves needs no release.
    released = [0.0, 0.0]
    if planned.stack == names.REHEARSAL:
        released = [_released(config, count) for count in (config.min_instances, config.max_instances)]
    return Projection(
        projected_usd=_served(config, seconds, instances, provisioned) + released[0],
        worst_case_usd=_served(config, longest, config.max_instances, provisioned) + released[1],
        basis=basis,
        seconds=round(seconds, 1),
        afterwards_per_month_usd=_served(
            config, prices.HOURS_PER_MONTH * 3600, config.min_instances, config.provisioned_concurrency
        )
        + prices.alarms_month(len(WATCHED) + (SCALING_ALARMS if config.scales else 0)),
        facts=_facts(config, DEPLOYMENT_FACTS),
    )


def _rehearsed(
    config: DeploymentConfig, earlier: RunRecord | None, planned: Rehearsal
) -> tuple[float, float, str, float]:
    """Expected seconds and instances of a rehearsal, how that is known, and the seconds at worst."""
    if planned.extent == "none":
        return 0.0, 0.0, "no rehearsal", 0.0
    if planned.extent == "short":
        seconds = REQUESTS_OF_A_P99 / LEAST_RPS
        basis = f"a short rehearsal of {REQUESTS_OF_A_P99} calls at their slowest"
        return seconds, float(config.min_instances), basis, seconds + DEPLOYMENT_WAITS_SECONDS
    test_seconds = 3 * config.bursts * config.burst_interval_seconds if planned.concurrency else 0.0
    if config.scales:
        test_seconds += config.scale_out_limit_seconds + config.scale_in_limit_seconds
    settling = config.scale_in_limit_seconds if config.scales else 0
    longest = test_seconds + settling + DEPLOYMENT_WAITS_SECONDS
    if not earlier:
        basis = "no earlier run to go by: the load test at its longest, with the most instances"
        return test_seconds, float(config.max_instances), basis, longest
    points = earlier.autoscaling.timeline
    most = max(point.in_service or 1 for point in points)
    return points[-1].seconds - points[0].seconds, float(most), f"the load test of the run {earlier.run}", longest


def _served(config: DeploymentConfig, seconds: float, instances: float, provisioned: int) -> float:
    """Endpoint and provisioned environments for some seconds; single calls cost too little to matter here."""
    hours = seconds / 3600
    return prices.endpoint_cost(config.instance_type, hours, instances) + prices.provisioned_cost(
        config.function_memory_mb, provisioned, hours
    )


def _released(config: DeploymentConfig, instances: int) -> float:
    """A release's second fleet for as long as both bake; a canary takes two instances at least, of the old as well."""
    extra = max(instances, LEAST_FOR_A_CANARY) + max(0, LEAST_FOR_A_CANARY - instances)
    return prices.endpoint_cost(config.instance_type, (config.bake_seconds + config.final_bake_seconds) / 3600, extra)


def comparison(config: ComparisonConfig) -> Projection:
    """An instance for each of two models, while they start, are put under load, and are removed.

    Raises ConfigError naming prices.json for an instance type without a price.
    """
    seconds, longest = (
        STARTING_SECONDS + config.load_seconds,
        COMPARISON_WAITS_SECONDS + config.load_limit_seconds,
    )
    return Projection(
        projected_usd=prices.endpoint_cost(config.instance_type, seconds / 3600, 2),
        worst_case_usd=prices.endpoint_cost(config.instance_type, longest / 3600, 2),
        basis=f"{config.rounds} rounds of the load, and ten minutes to start",
        instance_seconds=round(2 * seconds, 1),
        seconds=round(config.load_seconds, 1),
    )


def ec2_training(
    instance_type: str,
    market: str,
    seconds: float | None,
    max_life_seconds: float,
    *,
    volume_gb: float = 0,
) -> Projection:
    """A training on one EC2 instance.

    Parameters: `market` prices.SPOT or prices.ON_DEMAND; `seconds` expected, None: as long as the instance may live.
    At worst a Spot instance costs as much as one on demand: without a price limit of one's own, that is the most AWS
    asks. Source: AWS whitepaper "Overview of Amazon EC2 Spot Instances", "How Spot Instances Work".
    Raises ConfigError naming prices.json for an instance type without a price.
    """
    expected = max_life_seconds if seconds is None else seconds
    known = "the instance's longest life" if seconds is None else f"{expected:.0f} expected seconds"
    return Projection(
        projected_usd=prices.ec2_instance_cost(market, instance_type, expected, volume_gb=volume_gb),
        worst_case_usd=prices.ec2_instance_cost(prices.ON_DEMAND, instance_type, max_life_seconds, volume_gb=volume_gb),
        basis=known,
        instance_seconds=expected,
    )


def check(projection: Projection, max_cost_usd: float, what: str) -> None:
    """Raise CostError, with both figures in one sentence, when the projected cost is above what is allowed."""
    if projection.projected_usd > max_cost_usd:
        raise CostError(
            f"max_cost_usd is {_usd(max_cost_usd)}, and {what} is projected to cost "
            f"{_usd(projection.projected_usd)} USD (at worst {_usd(projection.worst_case_usd)}; "
            f"{projection.basis}): nothing was launched."
        )


def _usd(amount: float) -> str:
    return f"{amount:.2f}" if amount >= 1 else f"{amount:.3g}"


def earlier_run(s3: Any, bucket: str, config: TrainingConfig | DeploymentConfig) -> RunRecord | None:
    """The record of the newest run whose projection has the same facts and that was measured.

    For a training, one that has trained on every path that `config` takes. At most the newest MOST_EARLIER_RUNS runs
    are looked at.
    """
    what, facts = "training" if isinstance(config, TrainingConfig) else "deployment", facts_of(config)
    measured_by = {"training": record.Training, "deployment": record.Autoscaling}[what]
    for run in record.runs_with(s3, bucket, measured_by)[:MOST_EARLIER_RUNS]:
        try:
            known = record.read(s3, bucket, run, record.ProjectedCosts)
        except record.RecordError:  # nothing to go by; its own report says what is wrong with it
            continue
        if known and what in known.given and known.given[what].facts == facts:
            found = record.read_run(s3, bucket, run)
            if _measured(config, found):
                return found
    return None


def facts_of(config: TrainingConfig | DeploymentConfig) -> dict[str, Any]:
    """What an earlier run has to have in common with this configuration to go by its seconds."""
    return _facts(config, TRAINING_FACTS if isinstance(config, TrainingConfig) else DEPLOYMENT_FACTS)


def _facts(config: TrainingConfig | DeploymentConfig, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(config, name) for name in names}


def _measured(config: TrainingConfig | DeploymentConfig, run: RunRecord) -> bool:
    if isinstance(config, DeploymentConfig):
        return bool(run.autoscaling) and len(run.autoscaling.timeline) > 1
    if not (run.tuning and run.training):
        return False
    wanted, trained = {n > 1 for n in config.instance_counts}, {job.instances > 1 for job in run.training.jobs}
    return any(trial.seconds for trial in run.tuning.trials) and wanted <= trained
