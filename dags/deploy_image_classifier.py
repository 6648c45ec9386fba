"""# Deploy the image classifier

Puts a registered model behind an endpoint (created, or updated without a gap in service), measures what one instance
can take, registers auto-scaling with the target that follows from it, publishes the function with reserved and
provisioned concurrency, and drives a load test through it. The last task is the verdict: cold starts, throttles,
concurrency, scaling, latency and errors, each as measured and as required. **A failed verdict fails the run.**

**Runs** when `train_image_classifier` releases a model, and by hand with a model package. **Costs** are projected by
the first task, which ends the run when they are above `max_cost_usd`, and go on as long as the endpoint stands:
`remove_deployment` takes everything down, `report_running_costs` says what stands. The report is in the record of the
training run that made the model (`runs/<run>/report.html`).
"""

from __future__ import annotations

from airflow.sdk import Asset, chain, dag
from musher.config import DeploymentConfig
from musher.operators.costs import CheckProjectedCostOperator
from musher.operators.deployment import (
    ChooseModelOperator,
    DeployFunctionOperator,
    RegisterScalingOperator,
    SmokeTestOperator,
)
from musher.operators.endpoint import DeployEndpointOperator
from musher.operators.load_test import AssertVerdictOperator, LoadTestOperator, MeasureCapacityOperator
from musher.operators.report import WriteReportOperator


@dag(
    schedule=[Asset("registered_model")],
    params=DeploymentConfig.params(),
    max_active_runs=1,
    catchup=False,
    default_args={"owner": "musher", "retries": 1, "retry_delay": 10},
    doc_md=__doc__,
    tags=["musher", "deployment"],
)
def deploy_image_classifier():
    check = CheckProjectedCostOperator(task_id="check_projected_cost", what="deployment")
    model = ChooseModelOperator(task_id="choose_model")
    endpoint = DeployEndpointOperator(task_id="deploy_endpoint", model=model.output)
    smoke = SmokeTestOperator(task_id="smoke_test", endpoint=endpoint.output, model=model.output)
    capacity = MeasureCapacityOperator(task_id="measure_capacity", endpoint=endpoint.output, model=model.output)
    scaling = RegisterScalingOperator(task_id="register_scaling", endpoint=endpoint.output, capacity=capacity.output)
    function = DeployFunctionOperator(task_id="deploy_function", endpoint=endpoint.output)
    load = LoadTestOperator(
        task_id="load_test",
        model=model.output,
        endpoint=endpoint.output,
        function=function.output,
        scaling=scaling.output,
        capacity=capacity.output,
        # Its answer is the verdict, pass or fail: a second test would not make the first one untrue.
        retries=0,
    )
    report = WriteReportOperator(task_id="report", run_key=model.output["run_key"])
    verdict = AssertVerdictOperator(task_id="verdict", verdict=load.output, model=model.output)

    chain(check, endpoint, smoke, capacity, scaling, function, load, report, verdict)


deploy_image_classifier()
