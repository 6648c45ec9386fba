"""What is kept of a run in its DAG's history."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from musher.load.plan import SCALE_OUT
from musher.names import PRODUCTION
from musher.record import PastRun, RunRecord
from musher.report.summary import RunOutcome, outcome

DEPLOY = "deploy_image_classifier"


def past_run(run: RunRecord, *, dag: str, run_id: str, began: dt.datetime | None, told: Mapping[str, Any]) -> PastRun:
    """A run's line in the history, now that its report is written.

    Parameters: `run` the record that it wrote or added to; `began` when it started, aware; `told` what it was started
    with.
    """
    now, ended = dt.datetime.now(dt.UTC), outcome(run)
    if ended.state == "open" and dag != DEPLOY and run.model and run.model.status == "Approved":
        ended = RunOutcome("passed", "Model registered", run.model.reason or "")  # what deploys it may not have begun
    chosen = next((job for job in run.training.jobs if job.job == run.training.chosen), None) if run.training else None
    best = run.tuning.best if run.tuning else None
    phases = run.load_test.phases if run.load_test else ()
    capacity = run.endpoint.capacity if run.endpoint else None
    return PastRun(
        dag=dag,
        run_id=run_id,
        run=run.run,
        at=now.isoformat(timespec="seconds"),
        seconds=round((now - began).total_seconds(), 1) if began else None,
        state=ended.state,
        headline=ended.headline,
        because=ended.because,
        told=dict(told),
        dataset_version=run.dataset.version if run.dataset else None,
        images=run.dataset.images if run.dataset else {},
        hyperparameters=best.hyperparameters if best else {},
        accuracy=run.evaluation.accuracy if run.evaluation else None,
        test_images=run.evaluation.images if run.evaluation else None,
        loss=run.evaluation.loss if run.evaluation else None,
        package_arn=run.model.package_arn if run.model else None,
        cost_usd=run.costs.run_usd if run.costs else None,
        instance_type=run.endpoint.instance_type if run.endpoint else chosen.instance_type if chosen else None,
        capacity_rps=capacity.max_rps_per_instance if capacity else None,
        p99_ms=next((each.p99_ms for each in phases if each.name == SCALE_OUT), None),
        **_released(run, dag),
    )


def _released(run: RunRecord, dag: str) -> dict[str, Any]:
    """What became of what serves; a first deployment is tried out where it serves, and has no release."""
    if dag != DEPLOY:
        return {}
    if run.release:
        went = run.release.outcome == "released"
        return {"released": run.release.outcome, "config": run.release.config if went else run.release.previous_config}
    if run.endpoint and run.parity and run.parity.passed and run.rehearsal and run.rehearsal.stack == PRODUCTION:
        return {"released": "released", "config": run.endpoint.config}
    return {}
