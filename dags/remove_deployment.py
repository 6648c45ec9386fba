"""# Remove the deployment

Takes down what `deploy_image_classifier` made: scalable target, endpoint, its configurations and models, the function
with its versions and concurrency, and what a rehearsal of a release or a comparison of models left of the same.
Afterwards nothing of it costs money; the list of what was removed is the task's result. Registered models stay, so that
the next deployment is one run away.

**Runs** by hand only. Can be repeated: what is gone already is no error.
"""

from __future__ import annotations

from airflow.sdk import chain, dag
from musher.operators.account import CheckAccountOperator
from musher.operators.removal import RemoveDeploymentOperator


@dag(
    schedule=None,
    max_active_runs=1,
    catchup=False,
    default_args={"owner": "musher", "retries": 2, "retry_delay": 10},
    doc_md=__doc__,
    tags=["musher", "deployment"],
)
def remove_deployment():
    account = CheckAccountOperator(task_id="check_account", what="nothing")
    chain(account, RemoveDeploymentOperator(task_id="remove_deployment"))


remove_deployment()
