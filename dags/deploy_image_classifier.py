"""# Deploy the image classifier

Brings a registered model into service without endangering the one that serves.

1. **Rehearsal**, on an endpoint and a function of its own (`...-rehearsal`): predictions of test pictures, held against
   what the model said when it was judged, and in time, also beside what serves; what one instance can take;
   auto-scaling with the target that follows from it; and a load test through the function, with a verdict on cold
   starts, throttles, concurrency, scaling, latency and errors. Where a rehearsal of the same image, code, network,
   instances, function and plan has passed, capacity, scaling and load are taken from there. A first deployment, which
   endangers nobody, is rehearsed where it will serve.
2. **Approval** by a person, where `approval` asks for it: with the figures of both models, under "Required Actions".
3. **Release**: a share of the calls goes to the new model, while a judge compares its answers with those of the old
   one: errors, latency, accuracy and agreement on labelled pictures. Only a pass lets AWS go on; anything else, a
   worker that dies included, brings the old one back.

**A failed verdict or a release that was taken back fails the run**; what served before serves on. What the rehearsal
made is removed in every outcome. Alarms watch what serves from then on (errors, latency, no instance), and tell the
topic of the Variable, as a waiting approval and a release that was taken back do.

**Runs** when `train_image_classifier` releases a model, and by hand with a model package. **Costs** are projected by
`check_projected_cost`, which ends the run when they are above `max_cost_usd`, and go on as long as the endpoint stands:
`remove_deployment` takes everything down, `report_running_costs` says what stands. The report is in the record of the
training run that made the model (`runs/<run>/report.html`).
"""

from __future__ import annotations

from airflow.sdk import Asset, TriggerRule, chain, dag
from musher.config import DeploymentConfig
from musher.operators.account import CheckAccountOperator
from musher.operators.alarms import SetAlarmsOperator
from musher.operators.approval import ApproveReleaseOperator
from musher.operators.costs import CheckProjectedCostOperator
from musher.operators.deployment import (
    ChooseModelOperator,
    DeployFunctionOperator,
    RegisterScalingOperator,
    SmokeTestOperator,
)
from musher.operators.end_deployment import EndDeploymentOperator
from musher.operators.endpoint import DeployEndpointOperator
from musher.operators.load_test import AssertVerdictOperator, LoadTestOperator, MeasureCapacityOperator
from musher.operators.parity import CheckParityOperator
from musher.operators.release import ReleaseEndpointOperator
from musher.operators.release_plan import PlanReleaseOperator
from musher.operators.removal import RemoveDeploymentOperator
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
    account = CheckAccountOperator(task_id="check_account", what="deployment")
    model = ChooseModelOperator(task_id="choose_model")
    plan = PlanReleaseOperator(task_id="plan_release", model=model.output)
    stack, rehearsal = plan.output["stack"], plan.output["rehearsal"]
    check = CheckProjectedCostOperator(task_id="check_projected_cost", what="deployment", rehearsal=rehearsal)

    # The rehearsal. Tasks after one that is left out are left out as well.
    endpoint = DeployEndpointOperator(
        task_id="deploy_endpoint", model=model.output, stack=stack, needed=plan.output["rehearse"]
    )
    smoke = SmokeTestOperator(task_id="smoke_test", endpoint=endpoint.output, model=model.output)
    function = DeployFunctionOperator(
        task_id="deploy_function", endpoint=endpoint.output, stack=stack, rehearsal=rehearsal
    )
    parity = CheckParityOperator(
        task_id="check_parity", model=model.output, function=function.output, stack=stack, rehearsal=rehearsal
    )
    capacity = MeasureCapacityOperator(
        task_id="measure_capacity", endpoint=endpoint.output, model=model.output, rehearsal=rehearsal
    )
    scaling = RegisterScalingOperator(
        task_id="register_scaling",
        endpoint=endpoint.output,
        capacity=capacity.output,
        needed=plan.output["register"],
    )
    load = LoadTestOperator(
        task_id="load_test",
        model=model.output,
        rehearsal=rehearsal,
        endpoint=endpoint.output,
        function=function.output,
        parity=parity.output,
        capacity=capacity.output,
        scaling=scaling.output,
        needed=plan.output["load"],
        # Its answer is the verdict, pass or fail: a second test would not make the first one untrue.
        retries=0,
    )
    remove = RemoveDeploymentOperator(task_id="remove_rehearsal", stack="rehearsal", retries=2).as_teardown()

    # The release, also where the rehearsal was left out; it is skipped where what was rehearsed already serves.
    approve = ApproveReleaseOperator(
        task_id="approve_release",
        model=model.output,
        stack=stack,
        verdict=load.output,
        projected=check.output,
        trigger_rule=TriggerRule.NONE_FAILED,
    )
    release = ReleaseEndpointOperator(
        task_id="release_endpoint",
        model=model.output,
        tried_on=stack,
        verdict=load.output,
        approval=approve.output,
        trigger_rule=TriggerRule.NONE_FAILED,
    )
    scale = RegisterScalingOperator(task_id="release_scaling", endpoint=release.output, capacity=capacity.output)
    publish = DeployFunctionOperator(task_id="release_function", endpoint=release.output)
    alarms = SetAlarmsOperator(
        task_id="set_alarms", stack=stack, endpoint=release.output, trigger_rule=TriggerRule.NONE_FAILED
    )

    report = WriteReportOperator(task_id="report", run_key=model.output["run_key"], trigger_rule=TriggerRule.ALL_DONE)
    verdict = AssertVerdictOperator(
        task_id="verdict", verdict=load.output, rehearsal=rehearsal, trigger_rule=TriggerRule.NONE_FAILED
    )

    chain(account, model, plan, check, endpoint, smoke, function, parity, capacity, scaling, load, approve, release)
    chain(load, remove)
    chain(release, [scale, publish], alarms, report, verdict)
    chain(release, verdict, EndDeploymentOperator(task_id="end_deployment", retries=2).as_teardown())


deploy_image_classifier()
