"""# Train the image classifier

Syncs the pictures to the bucket, finds good hyperparameters, and trains with them: on one instance, on several, or on
both to compare them (`paths`). The model with the lowest validation loss is judged once on the test pictures, beside
the model that the endpoint serves, and registered: as *Approved* if it passes the quality gate, else as *Rejected*
with the reason, which ends the run green but deploys nothing. An approved model starts `deploy_image_classifier`.
Rules watch every training; `on_issue` says what is done about what they find: a job may be stopped, and run again with
a remedy.

**Runs** every Monday at 04:00 UTC on what is in the bucket, whenever the asset `image_data_set` is updated, and by
hand. `check_account` says first what the account lacks. **Costs** are projected before anything is launched, which ends
the run when they are above `max_cost_usd`, and stand on the report of the run (`runs/<run>/report.html` in the bucket).
**Safe to retry**: a task attaches to the job that an earlier try started; marking a task failed stops its job.
"""

from __future__ import annotations

from airflow.sdk import Asset, AssetOrTimeSchedule, CronTriggerTimetable, TriggerRule, chain, dag
from musher.config import TrainingConfig
from musher.operators.acceptance import EvaluateCandidatesOperator, RegisterModelOperator, ReleaseModelOperator
from musher.operators.account import CheckAccountOperator
from musher.operators.costs import CheckProjectedCostOperator
from musher.operators.data import StageInputsOperator, SyncDatasetOperator
from musher.operators.evaluation import EvaluateInServiceOperator
from musher.operators.report import WriteReportOperator
from musher.operators.training_jobs import StopJobsOperator, TrainOperator
from musher.operators.tuning import TuneOperator

WEEKLY = CronTriggerTimetable("0 4 * * MON", timezone="UTC")
DATA_SET = Asset("image_data_set")
REGISTERED_MODEL = Asset("registered_model")


@dag(
    schedule=AssetOrTimeSchedule(timetable=WEEKLY, assets=[DATA_SET]),
    params=TrainingConfig.params(),
    max_active_runs=1,
    catchup=False,
    default_args={"owner": "musher", "retries": 2, "retry_delay": 10},
    doc_md=__doc__,
    tags=["musher", "training"],
)
def train_image_classifier():
    account = CheckAccountOperator(task_id="check_account", what="training")
    check = CheckProjectedCostOperator(task_id="check_projected_cost", what="training")
    dataset = SyncDatasetOperator(task_id="sync_dataset")
    staged = StageInputsOperator(task_id="stage_inputs")
    inputs = {
        "dataset": dataset.output["uri"],
        "code": staged.output["code"],
        "pretrained": staged.output["pretrained"],
    }

    tune = TuneOperator(task_id="tune", inputs=inputs)
    one = TrainOperator(task_id="train_on_one_instance", inputs=inputs, tuning=tune.output, several=False)
    # What comes after a path that `paths` leaves out, and that is skipped therefore, goes on without it.
    several = TrainOperator(
        task_id="train_on_several_instances",
        inputs=inputs,
        tuning=tune.output,
        several=True,
        trigger_rule=TriggerRule.NONE_FAILED,
    )
    candidate = EvaluateCandidatesOperator(
        task_id="evaluate_candidates",
        candidates=[one.output, several.output],
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
    )
    in_service = EvaluateInServiceOperator(
        task_id="evaluate_model_in_service",
        inputs=inputs,
        dataset=dataset.output,
        trigger_rule=TriggerRule.NONE_FAILED,
    )
    register = RegisterModelOperator(
        task_id="register_model", candidate=candidate.output, in_service=in_service.output, dataset=dataset.output
    )
    # Also of a run that a rule has ended: what it found, and what that saved.
    report = WriteReportOperator(task_id="report", trigger_rule=TriggerRule.ALL_DONE)
    release = ReleaseModelOperator(task_id="release_model", registered=register.output, outlets=[REGISTERED_MODEL])

    # One after the other, so that the two wall times can be compared wherever instances share a machine.
    chain(account, [check, dataset, staged])
    chain(check, tune, one, several, [candidate, in_service])
    chain(register, report, release, StopJobsOperator(task_id="stop_jobs").as_teardown())


train_image_classifier()
