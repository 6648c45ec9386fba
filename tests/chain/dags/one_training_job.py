"""# One training job

For tests of what happens to a job when its task is killed, cleared or marked: the real operators, and a task process
that stays alive after it has started the job when the run's id says `linger`.

**Runs** by hand only.
"""

from __future__ import annotations

import time

from airflow.sdk import chain, dag
from musher.config import TrainingConfig
from musher.operators.data import StageInputsOperator, SyncDatasetOperator
from musher.operators.training_jobs import StopJobsOperator, TrainOperator

BEST = {"job": "a-trial", "hyperparameters": {"lr": "0.01", "batch-size": "8"}, "objective": 0.1}
VALUES = {
    "job": "a-tuning-job",
    "strategy": "Bayesian",
    "instance_type": "ml.m5.xlarge",
    "trials": [{**BEST, "status": "Completed", "seconds": 1.0}],
    "best": BEST,
}


class LingeringTrainOperator(TrainOperator):
    """On its first try the task's process lingers after it has started the job, so that a test can kill it."""

    linger = False

    def execute(self, context):
        self.linger = "linger" in context["run_id"] and context["ti"].try_number == 1
        return super().execute(context)

    def defer(self, **kwargs):
        if self.linger:
            time.sleep(600)
        super().defer(**kwargs)


@dag(
    schedule=None,
    params=TrainingConfig.params(),
    catchup=False,
    default_args={"owner": "musher", "retries": 1, "retry_delay": 1},
)
def one_training_job():
    dataset = SyncDatasetOperator(task_id="sync_dataset")
    staged = StageInputsOperator(task_id="stage_inputs")
    inputs = {
        "dataset": dataset.output["uri"],
        "code": staged.output["code"],
        "pretrained": staged.output["pretrained"],
    }
    train = LingeringTrainOperator(task_id="train", inputs=inputs, tuning=VALUES, several=False)
    chain([dataset, staged], train, StopJobsOperator(task_id="stop_jobs").as_teardown())


one_training_job()
