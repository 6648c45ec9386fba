"""What a run and what it leaves behind costs, from measured seconds and the dated table in prices.json.

All amounts are USD, without free tier, savings plans, data transfer or tax; on demand unless a name says Spot. A month
has 730 hours, as in AWS's own calculator.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from musher.errors import ConfigError
from musher.record import Ec2Instance

TABLE = Path(__file__).with_name("prices.json")

HOURS_PER_MONTH = 730

SPOT, ON_DEMAND = "spot", "on-demand"  # an EC2 instance's market
INTERRUPTION = "interruption"  # how an instance ended that AWS took back
LEAST_EC2_SECONDS = 60
FREE_INTERRUPTION_SECONDS = 3600


@dataclass(frozen=True)
class Prices:
    """The price table: where it applies, when it was made, and its entries by group and name."""

    region: str
    date: str
    entries: dict[str, dict[str, dict[str, Any]]]
    path: Path = TABLE

    @classmethod
    def read(cls, path: Path = TABLE) -> Prices:
        """The table in a file like prices.json.

        Raises ConfigError when it is missing or not laid out like it.
        """
        try:
            table = json.loads(path.read_text())
            entries = {name: group for name, group in table.items() if isinstance(group, dict)}
            return cls(table["region"], table["date"], entries, path)
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise ConfigError(f"the price table {path} cannot be read: {error}.") from None

    def usd(self, group: str, name: str) -> float:
        """One price. Raises ConfigError naming the file when the table has none for it."""
        known = self.entries.get(group, {})
        if name not in known:
            raise ConfigError(
                f"{name} has no price in {self.path} ({group}: {', '.join(sorted(known)) or 'nothing'}): "
                "add it there, with its date and source."
            )
        return float(known[name]["usd"])


@cache
def table() -> Prices:
    """The project's own table."""
    return Prices.read()


def training_cost(instance_type: str, billable_seconds: float, instances: int = 1) -> float:
    """A SageMaker job. `billable_seconds` as DescribeTrainingJob has it: wall-clock time, not times the instances.

    Source: SageMaker API reference, DescribeTrainingJob, BillableTimeInSeconds.
    """
    return table().usd("sagemaker_per_hour", instance_type) * instances * billable_seconds / 3600


def endpoint_cost(instance_type: str, hours: float = 1, instances: float = 1) -> float:
    """An endpoint for some hours, busy or idle; `instances` may be an average."""
    return table().usd("sagemaker_per_hour", instance_type) * instances * hours


def endpoint_cost_if_known(instance_type: str, seconds: float, instances: float = 1) -> float | None:
    """USD of an endpoint's instances for some seconds; None for a type that has no price."""
    try:
        return endpoint_cost(instance_type, seconds / 3600, instances)
    except ConfigError:
        return None


def endpoint_month(instance_type: str, instances: float = 1) -> float:
    """An endpoint that stays for a month."""
    return endpoint_cost(instance_type, HOURS_PER_MONTH, instances)


def endpoint_per_1000(instance_type: str, requests_per_second: float, instances: float = 1) -> float:
    """The endpoint's part of 1,000 predictions while it answers `requests_per_second` in all.

    Raises ValueError when that is not above 0: an idle endpoint has no price per prediction.
    """
    if requests_per_second <= 0:
        raise ValueError(f"requests_per_second is {requests_per_second}; it has to be above 0.")
    return endpoint_cost(instance_type, instances=instances) / (requests_per_second * 3600) * 1000


def lambda_per_1000(duration_ms: float, memory_mb: int) -> float:
    """1,000 calls of the function without provisioned concurrency. `duration_ms` of one call, as billed."""
    return 1000 * (_per_request() + _gb_seconds(duration_ms, memory_mb) * _lambda("per_gb_second"))


def lambda_per_1000_provisioned(
    duration_ms: float, memory_mb: int, *, provisioned: int, calls_per_second: float
) -> float:
    """1,000 calls while `provisioned` environments are kept ready, with their share of what that costs.

    What is called beyond what those environments can answer is billed as without provisioned concurrency.
    Raises ValueError when `calls_per_second` is not above 0.
    """
    if calls_per_second <= 0:
        raise ValueError(f"calls_per_second is {calls_per_second}; it has to be above 0.")
    answered = min(1.0, provisioned_calls_per_second(duration_ms, provisioned) / calls_per_second)
    a_gb_second = answered * _lambda("provisioned_duration_per_gb_second") + (1 - answered) * _lambda("per_gb_second")
    running = _per_request() + _gb_seconds(duration_ms, memory_mb) * a_gb_second
    return 1000 * running + provisioned_cost(memory_mb, provisioned, hours=1000 / calls_per_second / 3600)


def provisioned_cost(memory_mb: int, provisioned: int, hours: float = 1) -> float:
    """Keeping `provisioned` environments ready for some hours, called or not."""
    return provisioned * memory_mb / 1024 * hours * 3600 * _lambda("provisioned_per_gb_second")


def provisioned_calls_per_second(duration_ms: float, provisioned: int) -> float:
    """How many calls a second `provisioned` environments answer at most: each takes one call at a time."""
    return provisioned * 1000 / duration_ms


def provisioned_break_even(duration_ms: float, provisioned: int) -> float | None:
    """Calls a second above which provisioned concurrency is cheaper than none; None when it never is.

    Keeping n environments of G GB ready costs n G w a second; each call of t seconds then saves G t (d - p), where w is
    the price of readiness, p that of running provisioned and d that of running without. The two are equal at
    n w / (t (d - p)) calls a second, whatever the memory. Never cheaper: where p is not below d, or where that is more
    than n environments can answer, because every further call is billed as without them.
    """
    saved = _lambda("per_gb_second") - _lambda("provisioned_duration_per_gb_second")
    if saved <= 0 or duration_ms <= 0:
        return None
    rate = provisioned * _lambda("provisioned_per_gb_second") / (duration_ms / 1000 * saved)
    return rate if rate <= provisioned_calls_per_second(duration_ms, provisioned) else None


def ec2_type(instance_type: str) -> str:
    """The EC2 type of the same size as a SageMaker type: `m5.xlarge` for `ml.m5.xlarge`."""
    return instance_type.removeprefix("ml.")


def ec2_cost(instance_type: str, seconds: float, instances: int = 1) -> float:
    """EC2 instances on demand: Linux is billed by the second, at least 60 of each instance.

    Source: Amazon EC2 pricing, "On-Demand Pricing": per second, with a minimum of 60 seconds.
    """
    return table().usd("ec2_per_hour", instance_type) * instances * max(seconds, LEAST_EC2_SECONDS) / 3600


def free_of_charge(market: str, seconds: float, ended_by: str | None) -> bool:
    """Whether AWS charges nothing for an instance: a Spot instance that it takes back within the first hour.

    Whoever ends a Spot instance himself pays for the seconds used.
    Source: Amazon EC2 user guide, "Billing for interrupted Spot Instances": Linux (excluding SUSE), interrupted by
    Amazon EC2 in the first hour: no charge; in any hour after: charged for the seconds used.
    """
    return market == SPOT and ended_by == INTERRUPTION and seconds < FREE_INTERRUPTION_SECONDS


def ec2_spot_cost(instance_type: str, seconds: float, *, ended_by: str | None = None) -> float:
    """A Spot instance at the table's Spot price, which on AWS changes by the hour.

    Parameters: `ended_by` INTERRUPTION when AWS took it back (see `free_of_charge`); anything else is charged.
    """
    price = table().usd("ec2_spot_per_hour", instance_type)
    if free_of_charge(SPOT, seconds, ended_by):
        return 0.0
    return price * max(seconds, LEAST_EC2_SECONDS) / 3600


def ebs_cost(volume_gb: float, seconds: float) -> float:
    """A gp3 volume while its instance is there; billed by the second, at least 60.

    Source: Amazon EBS pricing, "General Purpose SSD (gp3)".
    """
    hours = max(seconds, LEAST_EC2_SECONDS) / 3600
    return table().usd("ebs_gp3", "per_gb_month") * volume_gb * hours / HOURS_PER_MONTH


def ec2_training_cost(instances: Iterable[Ec2Instance], instance_type: str, volume_gb: float = 0) -> float:
    """What the instances of a training on EC2 cost together, each by its own market, with their volumes."""
    return sum(
        ec2_instance_cost(each.market, instance_type, each.seconds or 0, ended_by=each.ended_by, volume_gb=volume_gb)
        for each in instances
    )


def ec2_instance_cost(
    market: str, instance_type: str, seconds: float, *, ended_by: str | None = None, volume_gb: float = 0
) -> float:
    """What one instance costs.

    Parameters: `market` SPOT or ON_DEMAND; `ended_by` INTERRUPTION when AWS took it back; `volume_gb` its volume, which
    is billed also where the instance is not.
    Raises ValueError for an unknown market.
    """
    if market not in (SPOT, ON_DEMAND):
        raise ValueError(f"market is {market!r}; it has to be {SPOT} or {ON_DEMAND}.")
    volume = ebs_cost(volume_gb, seconds) if volume_gb else 0.0
    if market == SPOT:
        return ec2_spot_cost(instance_type, seconds, ended_by=ended_by) + volume
    return ec2_cost(instance_type, seconds) + volume


def spot_share(instance_type: str) -> float:
    """The Spot price as a share of the on-demand price: 0.3 is a discount of 70 %."""
    return table().usd("ec2_spot_per_hour", instance_type) / table().usd("ec2_per_hour", instance_type)


def alarms_month(number: int) -> float:
    """CloudWatch alarms on one metric each, at standard resolution, for a month."""
    return number * table().usd("cloudwatch", "per_alarm_month")


def storage_month(size_bytes: float) -> float:
    """What lies on S3 (standard) for a month. AWS's GB has 2^30 bytes."""
    return table().usd("s3_standard", "per_gb_month") * size_bytes / 2**30


def _lambda(name: str) -> float:
    return table().usd("lambda_x86", name)


def _per_request() -> float:
    return _lambda("per_million_requests") / 1_000_000


def _gb_seconds(duration_ms: float, memory_mb: int) -> float:
    return memory_mb / 1024 * duration_ms / 1000
