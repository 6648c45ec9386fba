"""Costs and report of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from musher.costs import breakdown, storage
from musher.operators.base import MusherOperator, plainly, run_of
from musher.report import record

if TYPE_CHECKING:
    from airflow.sdk import Context


class WriteReportOperator(MusherOperator):
    """Join what the run wrote into report.json and report.html, with what it cost.

    Parameters: `run_key` the run record's folder under runs/; this run's own when left out. What this run projected
    for itself joins the record that it adds to. Returns the record's prefix.
    """

    template_fields = aws_template_fields("run_key")

    def __init__(self, *, run_key: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.run_key = run_key

    @plainly
    def execute(self, context: Context) -> str:
        env, s3 = self.environment, self.client("s3")
        own = run_of(context).key
        key = self.run_key or own
        parts = record.read_parts(s3, env.bucket, key)
        if key != own:
            ours = record.read_parts(s3, env.bucket, own, ["projected_costs"]).get("projected_costs") or {}
            parts["projected_costs"] = {**parts.get("projected_costs", {}), **ours}
            self.write_part(key, "projected_costs", parts["projected_costs"])
        parts["costs"] = breakdown.of_run(parts, storage.of_run(s3, env.bucket, parts))
        self.write_part(key, "costs", parts["costs"])
        joined = record.join(
            parts,
            run=key,
            environment=env.kind,
            about={"dag": run_of(context).dag_id, "run_id": run_of(context).run_id, "region": env.region},
        )
        written = record.write_report(s3, env.bucket, joined)
        self.log.info("The report is at %s", written["html"])
        return record.prefix(key)
