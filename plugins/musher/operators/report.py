"""Costs and report of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk import BaseOperatorLink
from botocore.exceptions import BotoCoreError, ClientError

from musher import record
from musher.costs import breakdown, storage
from musher.operators.base import MusherOperator, plainly, run_of
from musher.report.files import write_report
from musher.report.past import past_run

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReportLink(BaseOperatorLink):
    """From the task to the tab "Report" of its run (`plugins/musher_page.py`)."""

    name = "Report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        from airflow.sdk.configuration import conf

        base = (conf.get("api", "base_url", fallback="") or "").rstrip("/")
        return f"{base}/dags/{quote(ti_key.dag_id, safe='')}/runs/{quote(ti_key.run_id, safe='')}/plugin/report"


class WriteReportOperator(MusherOperator):
    """Join what the run wrote into report.json and report.html, with what it cost.

    Parameters: `run_key` the run record's folder under runs/; this run's own when left out. What this run projected
    for itself joins the record that it adds to. A part that cannot be read is a sentence on the report, and a warning
    here. Returns the record's prefix.
    """

    template_fields = aws_template_fields("run_key")
    operator_extra_links = (ReportLink(),)

    def __init__(self, *, run_key: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.run_key = run_key

    @plainly
    def execute(self, context: Context) -> str:
        env, s3, this = self.environment, self.client("s3"), run_of(context)
        key = self.run_key or this.key
        run = record.read_run(s3, env.bucket, key)
        unreadable = {name: why for name, why in run.unreadable.items() if name != record.Costs.NAME}  # worked out anew
        for sentence in unreadable.values():
            self.log.warning("The report is without what cannot be read: %s", sentence)
        if key != this.key and record.ProjectedCosts.NAME not in unreadable:
            ours = record.read(s3, env.bucket, this.key, record.ProjectedCosts) or record.ProjectedCosts()
            theirs = run.projected_costs or record.ProjectedCosts()
            run = run.replace(projected_costs=theirs.replace(**ours.given))
            self.write_part(key, run.projected_costs)
        run = run.replace(
            costs=breakdown.of_run(run, storage.of_run(s3, env.bucket, run)),
            environment=env.kind,
            dag=this.dag_id,
            run_id=this.run_id,
            region=env.region,
            unreadable=unreadable,
        )
        self.write_part(key, run.costs)
        written = write_report(s3, env.bucket, run)
        self.log.info("The report is at %s", written["html"])
        self._remember(s3, run, context)
        return record.prefix(key)

    def _remember(self, s3: Any, run: record.RunRecord, context: Context) -> None:
        """Add the run to its DAG's history. A report that is written is one, with or without that."""
        dag_run, this = context["dag_run"], run_of(context)
        began, told = getattr(dag_run, "start_date", None), getattr(dag_run, "conf", None) or {}
        try:
            past = past_run(run, dag=this.dag_id, run_id=this.run_id, began=began, told=told)
            record.remember(s3, self.environment.bucket, past)
        except (record.RecordError, BotoCoreError, ClientError) as error:
            self.log.warning("The history is without this run: %s", error)
