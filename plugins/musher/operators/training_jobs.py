"""Training as SageMaker jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from musher import names, record, request_parameters
from musher.config import TrainingConfig
from musher.costs.prices import training_cost
from musher.diagnostics import outcome, remedies
from musher.diagnostics.rules import RETRY
from musher.hooks.sagemaker_jobs import SageMakerJobHook
from musher.names import Run
from musher.operators.base import MusherOperator, plainly, run_of, training_config
from musher.operators.diagnosing import output_of
from musher.operators.sagemaker_job import SageMakerJobOperator
from musher.request_parameters import Inputs

if TYPE_CHECKING:
    from airflow.sdk import Context


class TrainOperator(SageMakerJobOperator):
    """Train on one instance, or on several that share the work; returns one entry of the run record's `training`.

    A job that a rule has ended is run again with the rule's remedy where `on_issue` says so: at most `max_remedies`
    times and within `max_cost_usd`; else the task fails with the rule's sentence, and is not tried again. What rules
    found in each attempt is in the run record's `diagnostics`.

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
        return self.start(context)

    def start(self, context: Context) -> Any:
        self.ended = self._attempts(context)
        return super().start(context)

    def request(self, config: TrainingConfig, run: Run, name: str) -> dict[str, Any]:
        return request_parameters.training(
            config,
            self.environment,
            self._course(config, self.ended).values,
            instances=self._instances(config),
            name=name,
            run=run,
            inputs=Inputs(**self.inputs),
        )

    def finish(self, context: Context, config: TrainingConfig, found: Mapping[str, Any]) -> dict[str, Any]:
        ended = self._attempts(context)
        self._record(context, self._diagnosed(config, ended), self._course(config, ended), again=False)
        return described(found).to_json()

    def act(self, context: Context, found: Mapping[str, Any]) -> None:
        """Run a job again that a rule has ended, with its remedy.

        Raises AirflowFailException with the rule's sentence where that is not to be.
        """
        config, ended = training_config(context), self._attempts(context)
        jobs, course = self._diagnosed(config, ended), self._course(config, ended)
        fired = remedies.fired(found.get("FailureReason")) if found.get("TrainingJobStatus") == "Failed" else None
        if fired is None:
            return self._record(context, jobs, course, again=False)
        why_not = self._why_no_remedy(context, config, fired, jobs[-1], course)
        self._record(context, jobs, course, again=why_not is None)
        if why_not is None:
            self.start(context)
        raise AirflowFailException(f"{fired.sentence}. {why_not}" if why_not else fired.sentence)

    def _attempts(self, context: Context) -> list[dict[str, Any]]:
        return self.hook.attempts(self.kind, self.base(context))

    def _instances(self, config: TrainingConfig) -> int:
        return config.instance_count if self.several else 1

    def _course(self, config: TrainingConfig, ended: Sequence[Mapping[str, Any]]) -> remedies.Course:
        best = record.Tuning.from_json(self.tuning).best.hyperparameters
        values = request_parameters.hyperparameters(config, best=best)
        return remedies.course(values, ended, config.on_issue, config.max_remedies, self._instances(config))

    def _why_no_remedy(
        self,
        context: Context,
        config: TrainingConfig,
        fired: remedies.Fired,
        last: record.DiagnosedJob,
        course: remedies.Course,
    ) -> str | None:
        """Why the job is not run again, "" where nobody asked for it; None where it is to be."""
        if config.on_issue.get(fired.rule) != RETRY:
            return ""
        if last.job not in course.remedies:
            return remedies.why_no_more(course, config.max_remedies)
        seconds = outcome.expected_seconds(last, config.max_runtime_seconds)
        expected = training_cost(config.training_instance_type, seconds, self._instances(config))
        return remedies.why_too_dear(self._spent(context), expected, config.max_cost_usd)

    def _spent(self, context: Context) -> float:
        """What the run's trials and training jobs have cost so far, in USD."""
        tuning = record.Tuning.from_json(self.tuning)
        trials = training_cost(tuning.instance_type, sum(each.seconds or 0 for each in tuning.trials))
        steps = (names.TRAIN_ONE, names.TRAIN_MANY)
        jobs = [job for step in steps for job in self.hook.attempts(self.kind, self.base(context, step))]
        return trials + sum(
            training_cost(
                job["ResourceConfig"]["InstanceType"],
                job.get("BillableTimeInSeconds") or 0,
                job["ResourceConfig"]["InstanceCount"],
            )
            for job in jobs
        )

    def _record(
        self, context: Context, jobs: Sequence[record.DiagnosedJob], course: remedies.Course, *, again: bool
    ) -> None:
        """Write what is known of all attempts, and tell of the last one.

        Parameters: `again` whether the newest one is followed by another, and so is not the last one.
        """
        run, made = run_of(context), list(jobs)
        for place, job in enumerate(jobs):
            if (remedy := course.remedies.get(job.job)) and (again or place < len(jobs) - 1):
                made[place] = outcome.with_taken(job, remedy.rule, f"it was run again with {remedies.words(remedy)}")
        if made and not again:
            made[-1] = self.with_told(run, made[-1])
        self.write_diagnosed(run.key, made)

    def _diagnosed(self, config: TrainingConfig, ended: Sequence[Mapping[str, Any]]) -> list[record.DiagnosedJob]:
        taken = self._course(config, ended).remedies
        before = [None, *(taken.get(found["TrainingJobName"]) for found in ended)]
        return [
            outcome.diagnosed(
                found,
                self.written(output_of(found)),
                step=self.step.name,
                attempt=number,
                on_issue=config.on_issue,
                remedy=before[number - 1],
                max_runtime_seconds=config.max_runtime_seconds,
            )
            for number, found in enumerate(ended, 1)
        ]


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
