"""What costs money now: listed, reported, and removed where nobody uses it."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from musher.config import RunningCostsConfig
from musher.costs import prices, running
from musher.operators.base import plainly
from musher.operators.removal import RemovalOperator
from musher.report import running_costs

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReportRunningCostsOperator(RemovalOperator):
    """List what of this project costs money now, and write it to `runs/running-costs/<date>.json` and `.html`.

    Removes what a rehearsal or a comparison left behind once it has expired, and what is unused when the run's params
    say so. Returns the list (`musher.costs.running.Running` as dicts).
    """

    @plainly
    def execute(self, context: Context) -> list[dict[str, Any]]:
        config, env, now = RunningCostsConfig.from_params(dict(context["params"])), self.environment, _now()
        # Everything is asked about at once: a client waits and asks again when AWS throttles it.
        patient = functools.cache(
            lambda service: self.client(service, retries={"mode": "standard", "max_attempts": 10})
        )
        listed = running.RunningCosts(
            patient,
            project=env.project,
            bucket=env.bucket,
            unused_days=config.unused_days,
            now=now,
        ).listed()
        self.log.info("%s", "\n".join([running.HEADING, *map(running.line, listed)]))
        self.log.info("In all %.2f USD a month", running.total(listed, "per_month_usd"))
        expired = [each for each in listed if running.Running(**each).expired(now)]
        unused = [each for each in listed if each["unused"] and each not in expired] if config.remove_unused else []
        gone = [f"{name}, which had expired" for each in expired for name in self._remove_one(each)]
        not_notified = self._told(gone)
        gone += [name for each in unused for name in self._remove_one(each)]
        for name in gone:
            self.log.info("Removed the %s", name)
        record = {
            "at": now.isoformat(timespec="seconds"),
            "project": env.project,
            "environment": env.kind,
            "region": env.region,
            "unused_days": config.unused_days,
            "running": listed,
            "removed": gone,
            "not_notified": not_notified,
            "per_month_usd": running.total(listed, "per_month_usd"),
            "so_far_usd": running.total(listed, "so_far_usd"),
            "price_table_date": prices.table().date,
        }
        self.log.info("The report is at %s", running_costs.write(self.client("s3"), env.bucket, record)["html"])
        return listed

    def _told(self, gone: list[str]) -> str:
        """Tell the topic of the Variable what a lost rehearsal or comparison had left; why that was not possible, if it
        was not."""
        if not gone:
            return ""
        lines = "\n".join(f"- {name}" for name in gone)
        return self.notify("what had expired was removed", f"report_running_costs removed:\n{lines}")

    def _remove_one(self, each: Mapping[str, Any]) -> Iterator[str]:
        if each["what"] in (running.ENDPOINT, running.ALARMS):
            yield from self.remove_alarms(each["name"])
            yield from self.remove_endpoint(each["name"])
            yield from self.remove_alarms(each["name"], with_scaling=True)  # of a target that was gone already
        elif each["what"] == running.FUNCTION:
            yield from self.remove_function(each["name"])
        elif each["what"] == running.PROVISIONED:
            function, qualifier = each["name"].rsplit(":", 1)
            yield from self.remove_provisioned_concurrency(function, qualifier)
        elif each["what"] == running.INSTANCE:
            self.client("ec2").terminate_instances(InstanceIds=[each["name"]])
            yield f"EC2 instance {each['name']}"


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
