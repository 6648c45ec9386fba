"""What serves, and how it fares: from SageMaker, the registry, CloudWatch and the price table. Runs in the reader."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from musher import names
from musher.costs import prices, running
from musher.errors import ConfigError
from musher.hooks import registry
from musher.hooks.in_service import NotToBeTold, in_service
from musher.hooks.served_before import ServedBefore
from musher.hooks.serving import found
from musher.page.aws import Aws
from musher.release.registered import Accuracy, known

LOOK_BACK_MINUTES = 60
STORAGE_EVERY = dt.timedelta(minutes=30)


@dataclass(frozen=True)
class Serving:
    """An endpoint that is there. `since` when its configuration was made; `before` the configuration that a roll-back
    goes to; `untold` why its model is not known. `month_usd` all its instances, None without a price."""

    endpoint: str
    status: str
    config: str
    instances: int
    instance_type: str
    since: dt.datetime
    before: str | None
    package_arn: str | None = None
    accuracy: Accuracy | None = None
    interval: tuple[float, float] | None = None
    dataset_version: str | None = None
    run_key: str | None = None
    dag_run: tuple[str, str] | None = None
    untold: str = ""
    month_usd: float | None = None

    @property
    def model(self) -> str:
        """The package's group and version: `musher-image-classifier/3`."""
        return "/".join((self.package_arn or "").rsplit(":", 1)[-1].split("/")[1:])


def read(aws: Aws) -> Serving | None:
    """What serves now; None where nothing is deployed."""
    env, sagemaker = aws.environment, aws.client("sagemaker")
    name = names.Stack(env.project).endpoint
    now = found(lambda: sagemaker.describe_endpoint(EndpointName=name))
    if now is None:
        return None
    config = found(lambda: sagemaker.describe_endpoint_config(EndpointConfigName=now["EndpointConfigName"])) or {}
    variants = now.get("ProductionVariants") or []
    kind = (config.get("ProductionVariants") or [{}])[0].get("InstanceType", "")
    instances = sum(each.get("CurrentInstanceCount") or 0 for each in variants)
    told = _model(aws, name)
    return Serving(
        endpoint=name,
        status=now["EndpointStatus"],
        config=now["EndpointConfigName"],
        instances=instances,
        instance_type=kind,
        since=config.get("CreationTime") or now["CreationTime"],
        before=ServedBefore.of(sagemaker, now["EndpointArn"]).config,
        month_usd=_month(kind, instances),
        **told,
    )


def _model(aws: Aws, endpoint: str) -> dict[str, Any]:
    try:
        model = in_service(aws.client("sagemaker"), endpoint)
    except NotToBeTold as reason:
        return {"untold": f"Which model serves is not known: {reason}."}
    if model is None or model.package is None:
        return {"untold": "The model that serves comes from no model package." if model else ""}
    accuracy = known(model.package, registry.evaluation(aws.client("s3"), model.package))
    properties = model.properties
    return {
        "package_arn": model.arn,
        "accuracy": accuracy,
        "interval": accuracy.interval if accuracy else None,
        "dataset_version": properties.get("dataset_version"),
        "run_key": properties.get("run_key"),
        "dag_run": (properties["dag"], properties["run"]) if {"dag", "run"} <= properties.keys() else None,
    }


def _month(kind: str, instances: int) -> float | None:
    try:
        return prices.endpoint_cost(kind, instances=instances) * prices.HOURS_PER_MONTH if kind else None
    except ConfigError:
        return None


@dataclass(frozen=True)
class Traffic:
    """The last hour of the endpoint, oldest minute first; a minute without a call has no latency.

    `at` seconds since 1970; `calls` and `errors` a minute (4xx and 5xx), `p99_ms` of the model's answers.
    """

    at: list[int] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    p99_ms: list[float | None] = field(default_factory=list)

    @property
    def last_minute(self) -> float | None:
        """Calls in the last whole minute."""
        return self.calls[-2] if len(self.calls) > 1 else None

    @property
    def last_p99(self) -> tuple[int, float] | None:
        """The last minute in which there were answers, and their p99."""
        known = [(at, value) for at, value in zip(self.at, self.p99_ms, strict=True) if value is not None]
        return known[-1] if known else None

    @property
    def error_share(self) -> float | None:
        """Errors of all calls of the hour; None without calls."""
        calls = sum(self.calls)
        return sum(self.errors) / calls if calls else None


_METRICS = {
    "calls": ("Invocations", "Sum"),
    "client": ("Invocation4XXErrors", "Sum"),
    "server": ("Invocation5XXErrors", "Sum"),
    "p99": ("ModelLatency", "p99"),
}


def traffic(aws: Aws) -> Traffic:
    """How the endpoint has fared in the last hour."""
    env = aws.environment
    end = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0) + dt.timedelta(minutes=1)
    dimensions = {"EndpointName": names.Stack(env.project).endpoint, "VariantName": names.VARIANT}
    queries = [
        {
            "Id": name,
            "MetricStat": {
                "Metric": {
                    "Namespace": "AWS/SageMaker",
                    "MetricName": metric,
                    "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
                },
                "Period": 60,
                "Stat": statistic,
            },
        }
        for name, (metric, statistic) in _METRICS.items()
    ]
    start = end - dt.timedelta(minutes=LOOK_BACK_MINUTES)
    values: dict[str, dict[int, float]] = {name: {} for name in _METRICS}
    pages = aws.client("cloudwatch").get_paginator("get_metric_data")
    for page in pages.paginate(MetricDataQueries=queries, StartTime=start, EndTime=end):
        for result in page["MetricDataResults"]:
            of_minutes, slowest = values[result["Id"]], result["Id"] == "p99"
            for at, value in zip(result["Timestamps"], result["Values"], strict=True):
                # The local AWS may have shorter minutes, and so more points than one in one of ours.
                minute = int(at.timestamp()) // 60 * 60
                before = of_minutes.get(minute, 0.0)
                of_minutes[minute] = max(before, value) if slowest else before + value
    at = [int(start.timestamp()) + 60 * minute for minute in range(LOOK_BACK_MINUTES)]
    return Traffic(
        at=at,
        calls=[values["calls"].get(each, 0.0) for each in at],
        errors=[values["client"].get(each, 0.0) + values["server"].get(each, 0.0) for each in at],
        p99_ms=[values["p99"][each] / 1000 if each in values["p99"] else None for each in at],
    )


@dataclass(frozen=True)
class Costs:
    """What costs money now, the dearest first; what is stored is counted every half an hour only."""

    running: tuple[running.Running, ...]
    storage: running.Running
    stored_at: dt.datetime

    @property
    def listed(self) -> list[running.Running]:
        return sorted([*self.running, self.storage], key=lambda each: -(each.per_month_usd or 0))

    @property
    def month_usd(self) -> float:
        return sum(each.per_month_usd or 0 for each in self.listed)


def costs(aws: Aws, before: Costs | None) -> Costs:
    """What costs money now, given what did the time before."""
    env, now = aws.environment, dt.datetime.now(dt.UTC)
    lister = running.RunningCosts(aws.client, project=env.project, bucket=env.bucket, unused_days=7, now=now)
    stored = before if before and now - before.stored_at < STORAGE_EVERY else None
    return Costs(
        running=tuple(lister.running()),
        storage=stored.storage if stored else lister.storage(),
        stored_at=stored.stored_at if stored else now,
    )
