"""# Roll back the deployment

Brings back what served before the last release: the model, with the instances that there are, in one blue/green update,
its auto-scaling, and the version of the function that stood in front of it. While a release is under way, that is
stopped instead: AWS gives all calls back to the model before. Run once more, it brings back what it rolled back.

**Runs** by hand only. **Costs** a second set of instances for the minutes of the update: the log says what an hour of
them costs before it begins, and the run's record (`runs/<run>/roll_back.json`) what it came to.
"""

from __future__ import annotations

from airflow.sdk import chain, dag
from musher.operators.account import CheckAccountOperator
from musher.operators.roll_back import RollBackDeploymentOperator


@dag(
    schedule=None,
    max_active_runs=1,
    catchup=False,
    default_args={"owner": "musher", "retries": 1, "retry_delay": 10},
    doc_md=__doc__,
    tags=["musher", "deployment"],
)
def roll_back_deployment():
    account = CheckAccountOperator(task_id="check_account", what="nothing")
    chain(account, RollBackDeploymentOperator(task_id="roll_back_deployment"))


roll_back_deployment()
