"""A SageMaker job as a task: attached to on a retry, waited for without a worker, stopped when the task is killed."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowException

from musher import names
from musher.config import TrainingConfig
from musher.diagnostics.told import FoundIssue
from musher.hooks.sagemaker_jobs import COMPLETED, KINDS, JobKind, SageMakerJobHook
from musher.names import Run
from musher.operators.base import plainly, run_of, training_config
from musher.operators.diagnosing import DiagnosingOperator
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


class SageMakerJobOperator(DiagnosingOperator):
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
        return self.start(context)

    def base(self, context: Context, step: names.Step | None = None) -> str:
        """The name of a step's first job in this run; this operator's step when left out."""
        map_index = context["ti"].map_index
        return run_of(context).name(
            self.environment.project, step or self.step, map_index=-1 if map_index is None else map_index
        )

    def start(self, context: Context) -> Any:
        """Start the step's job or attach to it, and wait for it, or take the result of one that has completed."""
        config, run, base = training_config(context), run_of(context), self.base(context)
        self.job, found = self.hook.start_or_attach(self.kind, base, lambda name: self.request(config, run, name))
        if found.get(self.kind.status_field) == COMPLETED:
            return self.finish(context, config, found)
        return self._wait(time.time() + self.longest_seconds(config), self.rules_to_tell(config.on_issue))

    def _wait(self, deadline: float, rules: Sequence[str]) -> None:
        """Wait until the job has ended, or one of `rules` has found something in it."""
        self.defer(
            trigger=SageMakerJobTrigger(
                kind=self.kind.noun,
                name=self.job,
                rules=list(rules),
                poll_seconds=self.environment.poll_seconds,
                deadline=deadline,
                aws_conn_id=self.aws_conn_id,
                region_name=self.environment.region,
            ),
            method_name="resume",
            kwargs={"rules": list(rules)},
        )

    @plainly
    def resume(self, context: Context, event: Mapping[str, Any], rules: Sequence[str] = ()) -> Any:
        """A rule has found something: tell of it, and wait on; or the job has ended: take its result, or fail with its
        reason.

        Parameters: `rules` those that were waited for.
        """
        self.job = event["name"]
        if "issues" in event:
            issues = [FoundIssue(**each) for each in event["issues"]]
            for each in issues:
                self.tell(run_of(context), each, about=self.job, when=" while the job ran")
            return self._wait(event["deadline"], sorted(set(rules) - {each.rule for each in issues}))
        found = self.hook.describe(self.kind, self.job) or {}
        if event["status"] == COMPLETED:
            return self.finish(context, training_config(context), found)
        self.act(context, found)
        return self.failed(f"The {self.kind.noun} {self.job} is {event['status']}: {_why(context, event, found)}")

    def act(self, context: Context, found: Mapping[str, Any]) -> None:
        """Do what is to be done about a job that did not complete, before that fails the task."""

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
