"""# Compare two models under load

Puts two registered models behind one endpoint, each on an instance of its own, under the same load, and says which is
better at what, or that the difference is noise: latency at growing rates, the highest rate within the latency limit,
the cost of 1,000 predictions, errors, accuracy and agreement on labelled pictures. Each difference comes with its
confidence interval and with the smallest difference that the samples could have shown.

Both get the same pictures at the same rates, one right after the other and each first in turn, so that what slows the
machine down slows both. What serves is not touched: the endpoint, `...-image-classifier-comparison`, is made for this
and removed in every outcome.

**Runs** by hand only: without a choice it compares the model in service with the newest other approved one. **Costs**
two instances for about half an hour, projected before, and the run ends when that is above
`max_cost_usd`. The report is in the run's own record (`runs/<run>/report.html`).
"""

from __future__ import annotations

from airflow.sdk import chain, dag
from musher.config import ComparisonConfig
from musher.operators.account import CheckAccountOperator
from musher.operators.comparison import (
    ChooseModelsOperator,
    CompareUnderLoadOperator,
    DeployVariantsOperator,
    RemoveComparisonOperator,
)
from musher.operators.costs import CheckProjectedCostOperator
from musher.operators.report import WriteReportOperator


@dag(
    schedule=None,
    params=ComparisonConfig.params(),
    max_active_runs=1,
    catchup=False,
    default_args={"owner": "musher", "retries": 1, "retry_delay": 10},
    doc_md=__doc__,
    tags=["musher", "deployment"],
)
def compare_models():
    account = CheckAccountOperator(task_id="check_account", what="comparison")
    check = CheckProjectedCostOperator(task_id="check_projected_cost", what="comparison")
    models = ChooseModelsOperator(task_id="choose_models")
    endpoint = DeployVariantsOperator(task_id="deploy_variants", models=models.output)
    compare = CompareUnderLoadOperator(task_id="compare_under_load", models=models.output, endpoint=endpoint.output)
    remove = RemoveComparisonOperator(task_id="remove_comparison", retries=2).as_teardown()
    report = WriteReportOperator(task_id="report")

    chain(account, check, models, endpoint, compare, [remove, report])


compare_models()
