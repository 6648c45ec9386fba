"""One tuning job: starts trials, learns from them, ends."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from local_aws.clock import Clock
from local_aws.errors import AwsError
from local_aws.training.job import TrainingJob
from local_aws.tuning import search
from local_aws.tuning.record import TuningRecord, resources_of

if TYPE_CHECKING:
    from local_aws.services.sagemaker_training import SageMakerTraining

log = logging.getLogger(__name__)

DEFAULT_PARALLEL = 10
# What a definition has and a training job's request has not.
NOT_OF_TRIALS = {
    "StaticHyperParameters", "TuningObjective", "DefinitionName", "HyperParameterTuningResourceConfig",
    "HyperParameterRanges",
}  # fmt: skip


class TuningJob(TuningRecord):
    """A tuning job from Create to its end. Parameters: those of the record; `on_state` is called after every change of
    its status.
    """

    def __init__(
        self,
        training: SageMakerTraining,
        request: Mapping[str, Any],
        arn: str,
        on_state: Callable[[TuningJob], None] = lambda job: None,
    ) -> None:
        super().__init__(request, arn)
        self.modified = self.created
        self.training = training
        self.on_state = on_state
        self._learned: set[str] = set()
        self._stopped_early: set[str] = set()
        self._wake = threading.Condition()
        objective, ranges = self.config["HyperParameterTuningJobObjective"], self.config["ParameterRanges"]
        limits = self.config.get("ResourceLimits") or {}
        self.most = limits.get("MaxNumberOfTrainingJobs") or search.grid_size(ranges)
        self.parallel = limits.get("MaxParallelTrainingJobs") or DEFAULT_PARALLEL
        self._search = search.Search(self.config["Strategy"], ranges, objective["Type"], self.config.get("RandomSeed"))

    def start(self) -> None:
        self.on_state(self)
        threading.Thread(target=self._run, name=f"tuning-{self.name}", daemon=True).start()

    def stop(self) -> None:
        """No further trials; those that run are stopped."""
        with self._wake:
            if self.status != "InProgress":
                return
            self.status, self.modified = "Stopping", Clock.now()
            self._wake.notify_all()
        self.on_state(self)
        for trial in list(self.trials):
            trial.stop()

    def _run(self) -> None:
        try:
            self._tune()
        except Exception as error:
            log.exception("tuning job %s", self.name)
            for trial in self.trials:
                trial.stop()
            self._end("Failed", f"InternalServerError: {error}"[:1024])

    def _tune(self) -> None:
        while True:
            running = [job for job in self.trials if job.running]
            self._learn()
            if self.status == "Stopping":
                if not running:
                    return self._end("Stopped")
            elif len(self.trials) < self.most and len(running) < self.parallel:
                self._start_trial()
                continue
            elif not running:
                break
            with self._wake:
                self._wake.wait(0.2)
        if self.best is None:
            reasons = {job.failure_reason for job in self.trials if job.failure_reason}
            self._end(
                "Failed", f"All training jobs failed or had no objective metric. {' '.join(sorted(reasons))}"[:1024]
            )
        else:
            self._end("Completed")

    def _start_trial(self) -> None:
        number = len(self.trials) + 1
        digest = hashlib.sha256(f"{self.arn}{number}".encode()).hexdigest()[:8]
        name = f"{self.name}-{number:03d}-{digest}"
        values = self._search.suggest(name)
        self.values[name] = values
        request = {
            **{key: value for key, value in self.definition.items() if key not in NOT_OF_TRIALS},
            "ResourceConfig": resources_of(self.definition),
            "TrainingJobName": name,
            "HyperParameters": {
                **(self.definition.get("StaticHyperParameters") or {}),
                **values,
                "_tuning_objective_metric": self.metric,
            },
            "Tags": self.request.get("Tags") or [],
        }
        arn = self.arn.replace(f":hyper-parameter-tuning-job/{self.name}", f":training-job/{name}")
        try:
            job = self.training.create(request, arn, extra={"TuningJobArn": self.arn}, on_change=self._trial_changed)
        except AwsError as error:
            self._search.learn(name, None)
            raise RuntimeError(f"the trial {name} was refused: {error.message}") from error
        self.trials.append(job)
        if self.status == "Stopping":  # since this trial was decided on
            job.stop()

    def _trial_changed(self, job: TrainingJob) -> None:
        if self.config.get("TrainingJobEarlyStoppingType") == "Auto" and job.status == "InProgress":
            finished = [each.series.get(self.metric, []) for each in self.trials if each.status == "Completed"]
            series = job.series.get(self.metric, [])
            if series and search.should_stop_early(series, finished, self.minimise):
                self._stopped_early.add(job.name)
                job.stop()
        with self._wake:
            self._wake.notify_all()

    def _learn(self) -> None:
        for job in self.trials:
            if not job.running and job.name not in self._learned:
                self._learned.add(job.name)
                value = job.metrics.get(self.metric)
                self._search.learn(job.name, value[0] if value and job.status != "Failed" else None)

    def _end(self, status: str, reason: str | None = None) -> None:
        with self._wake:
            self.end(status, reason, Clock.now())
        self.on_state(self)
        self.training.aws.saver.changed()
