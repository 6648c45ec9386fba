"""# Train on an EC2 instance

Repeats a training run (the newest one, if none is named) on one EC2 instance: the same `ml_scripts/train.py`, pictures,
pretrained weights and hyperparameters. The instance is a Spot instance unless the form
says otherwise; when AWS takes it back, another one goes on from the checkpoint.

**Access** is by SSH with a key pair that is made for each connection, lives in memory and is let in for a minute by EC2
Instance Connect; the host key has to be the one on the instance's console. **Runs** by hand. **Costs** are projected
before anything is launched (above `max_cost_usd` nothing is) and stand beside SageMaker's on the report of the training
run it repeats. **Safe to retry**: a task attaches to the run's instance. **The instance ends** with the training, with
the task, and by itself after `max_life_minutes`.
"""

from __future__ import annotations

from airflow.sdk import chain, dag
from musher.config import Ec2TrainingConfig
from musher.operators.account import CheckAccountOperator
from musher.operators.ec2_choosing import ChooseTrainingOperator, ResolveHostOperator
from musher.operators.ec2_training import TerminateInstancesOperator, TrainOnEc2Operator
from musher.operators.report import WriteReportOperator


@dag(
    schedule=None,
    params=Ec2TrainingConfig.params(),
    max_active_runs=1,
    catchup=False,
    default_args={"owner": "musher", "retries": 2, "retry_delay": 10},
    doc_md=__doc__,
    tags=["musher", "training"],
)
def train_on_ec2():
    account = CheckAccountOperator(task_id="check_account", what="ec2_training")
    training = ChooseTrainingOperator(task_id="choose_training")
    host = ResolveHostOperator(task_id="resolve_host")
    train = TrainOnEc2Operator(task_id="train", training=training.output, host=host.output)
    report = WriteReportOperator(task_id="report", run_key=training.output["run"])
    chain(account, [training, host])
    chain(train, report, TerminateInstancesOperator(task_id="terminate_instances").as_teardown())


train_on_ec2()
