"""# Report the running costs

Lists everything with the project's tag that costs money at this moment: endpoints, provisioned concurrency, training
and tuning jobs, EC2 instances, and what lies in the bucket; each with its age, the run that made it, its cost so far
and a month. What nobody used for `unused_days` is named, and removed when `remove_unused` says so; what a rehearsal or
a comparison left behind is removed once it has expired. The list is the task's result, and a page in the bucket
(`runs/running-costs/<date>.html`).

**Runs** every day at 06:00 UTC, and by hand. **Costs** nothing but its calls.
"""

from __future__ import annotations

from airflow.sdk import CronTriggerTimetable, chain, dag
from musher.config import RunningCostsConfig
from musher.operators.account import CheckAccountOperator
from musher.operators.running_costs import ReportRunningCostsOperator

DAILY = CronTriggerTimetable("0 6 * * *", timezone="UTC")


@dag(
    schedule=DAILY,
    params=RunningCostsConfig.params(),
    max_active_runs=1,
    catchup=False,
    default_args={"owner": "musher", "retries": 2, "retry_delay": 10},
    doc_md=__doc__,
    tags=["musher", "costs"],
)
def report_running_costs():
    account = CheckAccountOperator(task_id="check_account", what="nothing")
    chain(account, ReportRunningCostsOperator(task_id="report_running_costs"))


report_running_costs()
