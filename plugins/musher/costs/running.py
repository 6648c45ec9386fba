"""What of this project costs money at this moment, whether anybody uses it, and how much.

Everything that a run bills for is tagged with `project`, `dag` and `run` (names.Run.tags); what carries the project's
tag is listed, service by service. An entry's cost so far is its age at what it costs now: an endpoint that was larger
yesterday cost more. A type without a price has no figure, and the entry says so.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from musher import names
from musher.costs import prices, storage
from musher.errors import ConfigError
from musher.hooks import sagemaker_jobs
from musher.hooks.alarms import alarms_on
from musher.hooks.serving import found, metric_sum, pairs

ENDPOINT, FUNCTION, PROVISIONED = "endpoint", "function", "provisioned concurrency"
TRAINING_JOB, TUNING_JOB = sagemaker_jobs.TRAINING.noun, sagemaker_jobs.TUNING.noun
INSTANCE, STORAGE, ALARMS = "EC2 instance", "S3 storage", "CloudWatch alarms"

# CloudWatch keeps hours for 455 days, minutes only for 15. Source: CloudWatch user guide, "Metrics retention".
METRIC_PERIOD_SECONDS = 3600

Client = Callable[[str], Any]


@dataclass(frozen=True)
class Running:
    """One thing that costs money: `since` as ISO 8601, `run` and `dag` from its tags, costs in USD.

    `unused` says why, where nobody used it for as long as was asked; empty otherwise. `expires` from when on a
    rehearsal's or a comparison's is nobody's any more (names.Run.tags); empty for everything else.
    """

    what: str
    name: str
    detail: str
    since: str | None = None
    age_hours: float | None = None
    dag: str = ""
    run: str = ""
    per_month_usd: float | None = None
    so_far_usd: float | None = None
    unused: str = ""
    expires: str = ""

    def expired(self, now: dt.datetime) -> bool:
        """Whether the rehearsal or comparison that made this has ended, or should have. Not so for a date that cannot
        be read."""
        try:
            return bool(self.expires) and dt.datetime.fromisoformat(self.expires) < now
        except (TypeError, ValueError):
            return False


class RunningCosts:
    """Lists what costs money.

    Parameters: `client` makes a boto3 client of a service; `unused_days` after how many days without use a thing counts
    as unused; `now` aware.
    """

    def __init__(self, client: Client, *, project: str, bucket: str, unused_days: float, now: dt.datetime) -> None:
        self.client, self.project, self.bucket = client, project, bucket
        self.unused = dt.timedelta(days=unused_days)
        self.now = now

    def listed(self) -> list[dict[str, Any]]:
        """Everything, as plain dicts, the dearest first."""
        listed = [*self.running(), self.storage()]
        listed.sort(key=lambda each: -(each.per_month_usd or 0))
        return [asdict(each) for each in listed]

    def running(self) -> Iterator[Running]:
        """Everything that costs by the hour, and not by what is stored."""
        yield from self._endpoints()
        yield from self._functions()
        yield from self._jobs()
        yield from self._instances()

    def _entry(
        self,
        what: str,
        name: str,
        detail: str,
        *,
        since: dt.datetime | None = None,
        tags: Mapping[str, str] | None = None,
        per_hour: Callable[[], float] = lambda: 0.0,
        unused: str = "",
    ) -> Running:
        tags = tags or {}
        age = max(0.0, (self.now - since).total_seconds() / 3600) if since else None
        try:
            hour = per_hour()
        except ConfigError:
            hour, detail = None, f"{detail}, which has no price in prices.json"
        return Running(
            what=what,
            name=name,
            detail=detail,
            since=since.isoformat(timespec="seconds") if since else None,
            age_hours=None if age is None else round(age, 2),
            dag=tags.get("dag", ""),
            run=tags.get("run", ""),
            per_month_usd=None if hour is None else hour * prices.HOURS_PER_MONTH,
            so_far_usd=None if hour is None or age is None else hour * age,
            unused=unused,
            expires=tags.get(names.EXPIRES, ""),
        )

    def _endpoints(self) -> Iterator[Running]:
        """Endpoints, each with its alarms; and alarms on an endpoint of ours that there is not."""
        sagemaker, seen = self.client("sagemaker"), set()
        for page in sagemaker.get_paginator("list_endpoints").paginate():
            for each in page["Endpoints"]:
                tags, name = sagemaker_jobs.tags_of(sagemaker, each["EndpointArn"]), each["EndpointName"]
                endpoint = found(lambda name=name: sagemaker.describe_endpoint(EndpointName=name))
                if endpoint and tags.get("project") == self.project:
                    seen.add(name)
                    yield self._endpoint(sagemaker, endpoint, tags)
                    yield from self._alarms(name, tags)
        for stack in (names.Stack(self.project), names.Stack(self.project, rehearsal=True)):
            if stack.endpoint not in seen:
                yield from self._alarms(stack.endpoint, unused="the endpoint that they watch does not exist")

    def _endpoint(self, sagemaker: Any, endpoint: Mapping[str, Any], tags: Mapping[str, str]) -> Running:
        name, since = endpoint["EndpointName"], endpoint["CreationTime"]
        config = found(
            lambda: sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
        ) or {"ProductionVariants": []}
        types = {each["VariantName"]: each.get("InstanceType") for each in config["ProductionVariants"]}
        counts = [
            (types.get(each["VariantName"]), each.get("CurrentInstanceCount") or 0)
            for each in endpoint.get("ProductionVariants") or []
        ]
        variants = [{"EndpointName": name, "VariantName": variant} for variant in types]
        return self._entry(
            ENDPOINT,
            name,
            ", ".join(f"{count} x {kind or 'serverless'}" for kind, count in counts) or endpoint["EndpointStatus"],
            since=since,
            tags=tags,
            per_hour=lambda: sum(prices.endpoint_cost(kind, instances=count) for kind, count in counts if kind),
            unused=self._uncalled("AWS/SageMaker", variants, since),
        )

    def _alarms(self, endpoint: str, tags: Mapping[str, str] | None = None, unused: str = "") -> Iterator[Running]:
        """An endpoint's alarms, those of its auto-scaling among them."""
        number = len(alarms_on(self.client("cloudwatch"), endpoint, with_scaling=True))
        if number:
            yield self._entry(
                ALARMS,
                endpoint,
                f"{number} alarms",
                tags=tags,
                per_hour=lambda: prices.alarms_month(number) / prices.HOURS_PER_MONTH,
                unused=unused,
            )

    def _functions(self) -> Iterator[Running]:
        """Provisioned concurrency: a function without it costs nothing while nobody calls it. A rehearsal's function is
        listed all the same, so that it goes when it expires."""
        client = self.client("lambda")
        for page in client.get_paginator("list_functions").paginate():
            for function in page["Functions"]:
                name, arn = function["FunctionName"], function["FunctionArn"]
                tags = (found(lambda arn=arn: client.list_tags(Resource=arn)) or {}).get("Tags", {})
                if tags.get("project") != self.project:
                    continue
                if names.EXPIRES in tags:
                    yield self._entry(FUNCTION, name, "on demand", since=_moment(function["LastModified"]), tags=tags)
                kept = client.get_paginator("list_provisioned_concurrency_configs").paginate(FunctionName=name)
                for config in (each for found_page in kept for each in found_page["ProvisionedConcurrencyConfigs"]):
                    yield self._provisioned(function, config, tags)

    def _provisioned(self, function: Mapping[str, Any], config: Mapping[str, Any], tags: Mapping[str, str]) -> Running:
        number, memory = config["RequestedProvisionedConcurrentExecutions"], function["MemorySize"]
        since = _moment(config["LastModified"])
        name = function["FunctionName"]
        return self._entry(
            PROVISIONED,
            f"{name}:{config['FunctionArn'].rsplit(':', 1)[-1]}",
            f"{number} x {memory} MB",
            since=since,
            tags=tags,
            per_hour=lambda: prices.provisioned_cost(memory, number),
            unused=self._uncalled("AWS/Lambda", [{"FunctionName": name}], since),
        )

    def _jobs(self) -> Iterator[Running]:
        """Training jobs with their instances, and tuning jobs, whose trials are training jobs of their own."""
        sagemaker = self.client("sagemaker")
        tuning = {job.arn: job for job in sagemaker_jobs.running(sagemaker, sagemaker_jobs.TUNING)}
        for job in tuning.values():
            if job.tags.get("project") == self.project:
                detail = "its trials are listed as training jobs"
                yield self._entry(TUNING_JOB, job.name, detail, since=job.created, tags=job.tags)
        for job in sagemaker_jobs.running(sagemaker, sagemaker_jobs.TRAINING):
            known = found(lambda name=job.name: sagemaker.describe_training_job(TrainingJobName=name))
            if known is None:
                continue
            tuned_by = tuning.get(known.get("TuningJobArn", ""))
            tags = job.tags or (tuned_by.tags if tuned_by else {})
            if tags.get("project") == self.project:
                kind, count = known["ResourceConfig"]["InstanceType"], known["ResourceConfig"]["InstanceCount"]
                yield self._entry(
                    TRAINING_JOB,
                    job.name,
                    f"{count} x {kind}",
                    since=known.get("TrainingStartTime") or job.created,
                    tags=tags,
                    per_hour=lambda kind=kind, count=count: prices.training_cost(kind, 3600, count),
                )

    def _instances(self) -> Iterator[Running]:
        filters = [
            {"Name": "tag:project", "Values": [self.project]},
            {"Name": "instance-state-name", "Values": ["pending", "running"]},
        ]
        for page in self.client("ec2").get_paginator("describe_instances").paginate(Filters=filters):
            for instance in (each for reservation in page["Reservations"] for each in reservation["Instances"]):
                kind, since = instance["InstanceType"], instance["LaunchTime"]
                spot = instance.get("InstanceLifecycle") == "spot"
                price = prices.ec2_spot_cost if spot else prices.ec2_cost
                old = self.now - since > self.unused
                yield self._entry(
                    INSTANCE,
                    instance["InstanceId"],
                    f"{kind}, {'Spot' if spot else 'on demand'}",
                    since=since,
                    tags=pairs(instance.get("Tags") or []),
                    per_hour=lambda kind=kind, price=price: price(kind, 3600),
                    unused=f"older than {self._days}: no training takes that long" if old else "",
                )

    def storage(self) -> Running:
        """What lies in the bucket: every object is counted."""
        size = storage.size(self.client("s3"), self.bucket)
        detail = f"{size / 2**30:.3g} GB"
        return self._entry(
            STORAGE, self.bucket, detail, per_hour=lambda: prices.storage_month(size) / prices.HOURS_PER_MONTH
        )

    @property
    def _days(self) -> str:
        days = self.unused.total_seconds() / 86_400
        return f"{days:.3g} day{'' if days == 1 else 's'}"

    def _uncalled(self, namespace: str, dimensions: list[dict[str, str]], since: dt.datetime) -> str:
        """Why a thing counts as unused, from its invocations; empty when it was called, or is too young to say."""
        if self.now - since < self.unused:
            return ""
        start = self.now - self.unused
        hour = start.replace(minute=0, second=0, microsecond=0)
        client = self.client("cloudwatch")
        for each in dimensions:
            if metric_sum(client, namespace, "Invocations", each, hour, self.now, period=METRIC_PERIOD_SECONDS):
                return ""
        return f"not called for {self._days}"


def total(listed: list[dict[str, Any]], field: str) -> float:
    """The sum of `per_month_usd` or `so_far_usd`; what has no figure counts nothing."""
    return sum(each[field] or 0 for each in listed)


def line(each: Mapping[str, Any]) -> str:
    """One entry as a line of the log's table."""
    month, so_far = (_usd(each[field]) for field in ("per_month_usd", "so_far_usd"))
    age = "" if each["age_hours"] is None else f"{each['age_hours']:.1f} h"
    owner = " / ".join(part for part in (each["dag"], each["run"]) if part)
    text = f"{each['what']:<24}{each['name']:<40}{each['detail']:<24}{age:>10}{so_far:>12}{month:>14}  {owner}"
    if each.get("expires"):
        text += f"  EXPIRES {each['expires']}"
    return f"{text}  UNUSED: {each['unused']}" if each["unused"] else text.rstrip()


HEADING = f"{'what':<24}{'name':<40}{'detail':<24}{'age':>10}{'so far':>12}{'a month':>14}  dag / run"


def _usd(amount: float | None) -> str:
    return "-" if amount is None else f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.3g}"


def _moment(text: str) -> dt.datetime:
    """Lambda's LastModified, e.g. `2026-11-20T21:00:00+0000`."""
    return dt.datetime.fromisoformat(text)
