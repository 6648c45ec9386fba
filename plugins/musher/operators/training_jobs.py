"""Tuning and training as SageMaker jobs."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from musher import names, record, request_parameters
from musher.config import TrainingConfig
from musher.costs.prices import training_cost
from musher.hooks.sagemaker_jobs import COMPLETED, KINDS, TRAINING, JobKind, SageMakerJobHook
from musher.names import Run
from musher.operators.base import MusherOperator, plainly, run_of, training_config
from musher.request_parameters import Inputs
from musher.triggers.sagemaker_jobs import SageMakerJobTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

# Queueing for capacity and starting instances come before the job's own limit begins to count.
START_SECONDS = 1800

# Why a job was stopped at a limit, by its SecondaryStatus.
_LIMITS = {
    "MaxRuntimeExceeded": "it ran longer than max_runtime_seconds allows, which is {config.max_runtime_seconds}",
    "MaxWaitTimeExceeded": (
        "with its waiting for Spot capacity it took longer than max_wait_seconds allows, which is "
        "{config.max_wait_seconds}; allow more, or turn managed_spot off"
    ),
}


class SageMakerJobOperator(MusherOperator):
    """Run a SageMaker job: attach to it when it is already running, stop it when the task is killed.

    Parameters: `inputs` the S3 prefixes the job reads (`musher.request_parameters.Inputs` as a dict).
    """

    aws_hook_class = SageMakerJobHook
    template_fields = aws_template_fields("inputs")
    step: names.Step

    def __init__(self, *, inputs: Mapping[str, str] | Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inputs = inputs
        self.job: str | None = None

    @property
    def kind(self) -> JobKind:
        """The kind of job that the step makes."""
        return KINDS[self.step.makes]

    @plainly
    def execute(self, context: Context) -> Any:
        config, run = training_config(context), run_of(context)
        map_index = context["ti"].map_index
        base = run.name(self.environment.project, self.step, map_index=-1 if map_index is None else map_index)
        self.job, found = self.hook.start_or_attach(self.kind, base, lambda name: self.request(config, run, name))
        if found.get(self.kind.status_field) == COMPLETED:
            return self.finish(context, config, found)
        self.defer(
            trigger=SageMakerJobTrigger(
                kind=self.kind.noun,
                name=self.job,
                poll_seconds=self.environment.poll_seconds,
                deadline=time.time() + self.longest_seconds(config),
                aws_conn_id=self.aws_conn_id,
                region_name=self.environment.region,
            ),
            method_name="resume",
        )

    @plainly
    def resume(self, context: Context, event: Mapping[str, Any]) -> Any:
        """The job has ended: take its result, or fail with its reason."""
        self.job = event["name"]
        found = self.hook.describe(self.kind, self.job) or {}
        if event["status"] == COMPLETED:
            return self.finish(context, training_config(context), found)
        return self.failed(f"The {self.kind.noun} {self.job} is {event['status']}: {_why(context, event, found)}")

    def failed(self, sentence: str) -> Any:
        """What becomes of the task when its job did not complete: it fails, and is tried again."""
        raise AirflowException(sentence)

    def on_kill(self) -> None:
        if self.job:
            self.hook.stop(self.kind, self.job)

    def longest_seconds(self, config: TrainingConfig) -> float:
        return config.longest_job_seconds + START_SECONDS

    @abstractmethod
    def request(self, config: TrainingConfig, run: Run, name: str) -> dict[str, Any]:
        """The Create request for a job of this name."""

    @abstractmethod
    def finish(self, context: Context, config: TrainingConfig, found: Mapping[str, Any]) -> Any:
        """What goes into XCom, from the description of the completed job."""


def _why(context: Context, event: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Why a job did not complete."""
    if event["status"] == "TimedOut":
        return "it took longer than the limits allow and was stopped"
    reason = found.get("FailureReason") or found.get("SecondaryStatus") or event["status"]
    return _LIMITS[reason].format(config=training_config(context)) if reason in _LIMITS else reason


class TuneOperator(SageMakerJobOperator):
    """Search for good hyperparameters; returns the run record's `tuning`."""

    step = names.TUNE

    def request(self, config: TrainingConfig, run: Run, name: str) -> dict[str, Any]:
        values = request_parameters.hyperparameters(config)
        return request_parameters.tuning(
            config, self.environment, values, name=name, run=run, inputs=Inputs(**self.inputs)
        )

    def longest_seconds(self, config: TrainingConfig) -> float:
        waves = -(-config.max_jobs // config.max_parallel_jobs)
        return waves * (config.longest_job_seconds + START_SECONDS)

    def finish(self, context: Context, config: TrainingConfig, found: Mapping[str, Any]) -> dict[str, Any]:
        best = found.get("BestTrainingJob")
        trials = self.hook.trials(self.job)
        if config.managed_spot:
            trials = [each.replace(**spot(self.hook.describe(TRAINING, each.job) or {})) for each in trials]
        if not best:
            states = ", ".join(f"{each.job} {each.status}" for each in trials) or "none was started"
            raise AirflowException(f"The tuning job {self.job} has no best trial: {states}")
        chosen = next(each for each in trials if each.job == best["TrainingJobName"])
        part = record.Tuning(
            job=self.job,
            strategy=config.strategy,
            instance_type=config.training_instance_type,
            trials=trials,
            best=record.BestTrial(job=chosen.job, hyperparameters=chosen.hyperparameters, objective=chosen.objective),
        )
        self.write_part(run_of(context).key, part)
        return part.to_json()


class TrainOperator(SageMakerJobOperator):
    """Train on one instance, or on several that share the work; returns one entry of the run record's `training`.

    Parameters: `tuning` what TuneOperator returned; `several` whether to use `instance_count` instances. Skipped where
    `paths` does not ask for it.
    """

    template_fields = aws_template_fields("inputs", "tuning")

    def __init__(self, *, tuning: Mapping[str, Any] | Any, several: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tuning = tuning
        self.several = several
        self.step = names.TRAIN_MANY if several else names.TRAIN_ONE

    @plainly
    def execute(self, context: Context) -> Any:
        paths = training_config(context).paths
        if paths not in ("several" if self.several else "one", "both"):
            raise AirflowSkipException(f"Not trained: paths is {paths}")
        return super().execute(context)

    def request(self, config: TrainingConfig, run: Run, name: str) -> dict[str, Any]:
        values = request_parameters.hyperparameters(
            config, best=record.Tuning.from_json(self.tuning).best.hyperparameters
        )
        return request_parameters.training(
            config,
            self.environment,
            values,
            instances=config.instance_count if self.several else 1,
            name=name,
            run=run,
            inputs=Inputs(**self.inputs),
        )

    def finish(self, context: Context, config: TrainingConfig, found: Mapping[str, Any]) -> dict[str, Any]:
        return described(found).to_json()


class StopJobsOperator(MusherOperator):
    """Stop every job with this run's tags that still runs, whatever its name and what became of its task; a teardown.

    A task's own way to stop its job does not reach every case: a trigger that no triggerer has taken up yet, for one,
    is never told that its task was marked as failed.
    """

    aws_hook_class = SageMakerJobHook

    def execute(self, context: Context) -> list[str]:
        return self.hook.stop_tagged(run_of(context).tags(self.environment.project))


def metric(found: Mapping[str, Any], name: str) -> float | None:
    """The last value of a metric, from a training job's description."""
    return next(
        (float(each["Value"]) for each in found.get("FinalMetricDataList") or () if each["MetricName"] == name), None
    )


def described(found: Mapping[str, Any]) -> record.TrainingJob:
    """A completed training job as the run record has it.

    `billable_seconds` counts every instance: AWS's BillableTimeInSeconds is that of one of them (SageMaker API
    reference, DescribeTrainingJob). So is `training_seconds`, which is as long as they ran.
    """
    resources = found["ResourceConfig"]
    instances, instance_type = resources["InstanceCount"], resources["InstanceType"]
    billable = found["BillableTimeInSeconds"]
    model = found["ModelArtifacts"]["S3ModelArtifacts"]
    return record.TrainingJob(
        job=found["TrainingJobName"],
        instances=instances,
        instance_type=instance_type,
        wall_seconds=round((found["TrainingEndTime"] - found["TrainingStartTime"]).total_seconds(), 2),
        **{**spot(found), "billable_seconds": billable * instances},
        test_accuracy=metric(found, "test:accuracy"),
        test_loss=metric(found, "test:loss"),
        cost_usd=training_cost(instance_type, billable, instances),
        model_data=model,
        output_data=model.rsplit("/", 1)[0] + "/output.tar.gz",
    )


def spot(found: Mapping[str, Any]) -> dict[str, Any]:
    """What a training job's description says of managed Spot.

    `interruptions` is how often AWS took its instances back; `spot_savings` is the share of the training seconds that
    AWS does not bill, None on demand. Seconds are those of one instance.
    Source: SageMaker developer guide, "Managed Spot Training in Amazon SageMaker AI".
    """
    managed_spot = bool(found.get("EnableManagedSpotTraining"))
    training, billable = found.get("TrainingTimeInSeconds"), found.get("BillableTimeInSeconds")
    return {
        "managed_spot": managed_spot,
        "training_seconds": training,
        "billable_seconds": billable,
        "interruptions": sum(each["Status"] == "Interrupted" for each in found.get("SecondaryStatusTransitions") or ()),
        "spot_savings": round(1 - billable / training, 4) if managed_spot and training and billable else None,
    }
