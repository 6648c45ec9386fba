"""Tuning as a SageMaker job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from musher import names, record, request_parameters
from musher.config import TrainingConfig
from musher.diagnostics import outcome
from musher.hooks.sagemaker_jobs import TRAINING
from musher.names import Run
from musher.operators.base import run_of, training_config
from musher.operators.diagnosing import output_of
from musher.operators.sagemaker_job import START_SECONDS, SageMakerJobOperator
from musher.operators.training_jobs import spot
from musher.request_parameters import Inputs

if TYPE_CHECKING:
    from airflow.sdk import Context


class TuneOperator(SageMakerJobOperator):
    """Search for good hyperparameters; returns the run record's `tuning`.

    A rule that is to stop a trial ends it early, with the best objective it had; one that fires before there is any
    fails it. What rules found in the trials is in the run record's `diagnostics`.
    """

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
        known = self.diagnose(context, trials)
        if config.managed_spot:
            trials = [each.replace(**spot(known[each.job])) for each in trials]
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

    def act(self, context: Context, found: Mapping[str, Any]) -> None:
        self.diagnose(context, self.hook.trials(self.job))

    def diagnose(self, context: Context, trials: Sequence[record.Trial]) -> dict[str, Mapping[str, Any]]:
        """Record what rules found in the trials, and tell of it; their descriptions.

        Raises AirflowFailException with a rule's sentence where rules have failed every trial: others would fail, too.
        """
        config, run = training_config(context), run_of(context)
        known = {each.job: self.hook.describe(TRAINING, each.job) or {} for each in trials}
        jobs = [
            outcome.diagnosed(
                found,
                self.written(output_of(found)),
                step=self.step.name,
                attempt=number,
                on_issue=config.on_issue,
                max_runtime_seconds=config.max_runtime_seconds,
                curves=False,
            )
            for number, found in enumerate(known.values(), 1)
            if found
        ]
        if jobs:
            # The topic is told of a rule once, however many trials it has found something in.
            self.write_diagnosed(run.key, [self.with_told(run, each, about=self.job) for each in jobs])
        if jobs and all(each.status == "Failed" and each.fired for each in jobs):
            raise AirflowFailException(jobs[0].reason)
        return known
