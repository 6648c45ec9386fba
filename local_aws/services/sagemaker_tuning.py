"""SageMaker's hyperparameter tuning jobs."""

from __future__ import annotations

import datetime as dt
import threading
from typing import Any

from local_aws.errors import AwsError, validation
from local_aws.events import sagemaker
from local_aws.services.base import RESTARTED, Call, Service, page
from local_aws.services.listing import chosen
from local_aws.services.sagemaker_training import SageMakerTraining
from local_aws.tags import check_tags
from local_aws.tuning import search
from local_aws.tuning.job import TuningJob
from local_aws.tuning.record import TuningRecord, resources_of

STRATEGIES = ("Bayesian", "Random", "Grid")


class SageMakerTuning(Service):
    """Tuning jobs whose trials are training jobs of this AWS.

    Source: SageMaker API reference, CreateHyperParameterTuningJob; developer guide, "How Hyperparameter Tuning Works".
    """

    name = "sagemaker"

    def __init__(self, aws) -> None:
        super().__init__(aws)
        self.jobs: dict[str, TuningRecord] = {}
        self._lock = threading.RLock()

    def remember(self) -> list[TuningRecord]:
        with self._lock:
            return [job.copy() for job in self.jobs.values()]

    def restore(self, kept: list[TuningRecord], saved_at: dt.datetime) -> None:
        jobs = self.aws.service(SageMakerTraining).jobs
        self.jobs = {job.name: job for job in kept}
        for job in kept:
            # A trial that was deleted, or had only just begun, is known to its tuning job alone.
            job.trials = [jobs.get(trial.name, trial) for trial in job.trials]
            for trial in job.trials:
                if trial.running:
                    trial.end("Failed", RESTARTED, None, saved_at)
                    jobs[trial.name] = trial
            if job.status in {"InProgress", "Stopping"}:
                job.end("Failed", RESTARTED, saved_at)

    def create_hyper_parameter_tuning_job(self, call: Call) -> dict[str, Any]:
        params, name = call.params, call.params["HyperParameterTuningJobName"]
        arn = call.arn(f"hyper-parameter-tuning-job/{name}")
        with self._lock:
            if name in self.jobs:
                raise AwsError(
                    "ResourceInUse", f"Hyperparameter tuning job names must be unique: {arn} already exists."
                )
            self._check(params)
            check_tags(params.get("Tags"))
            job = TuningJob(self.aws.service(SageMakerTraining), params, arn, self._announce)
            self.jobs[name] = job
        self.aws.service(SageMakerTraining).tags.add(arn, params.get("Tags"))
        job.start()
        return {"HyperParameterTuningJobArn": arn}

    def _announce(self, job: TuningJob) -> None:
        tags = self.aws.service(SageMakerTraining).tags.of(job.arn)
        self.aws.events.send(
            sagemaker.TUNING_JOB,
            job.arn,
            lambda: sagemaker.detail(sagemaker.TUNING_JOB, job.describe(), tags),
            sagemaker.SOURCE,
        )

    def _check(self, params: dict[str, Any]) -> None:
        config = params["HyperParameterTuningJobConfig"]
        if config["Strategy"] not in STRATEGIES:
            raise validation(f"The local AWS searches {', '.join(STRATEGIES)}, not {config['Strategy']}.")
        if params.get("WarmStartConfig") or params.get("TrainingJobDefinitions"):
            raise validation("The local AWS supports one TrainingJobDefinition and no WarmStartConfig.")
        definition = params.get("TrainingJobDefinition")
        ranges, objective = config.get("ParameterRanges"), config.get("HyperParameterTuningJobObjective")
        if not definition or not ranges or not objective:
            raise validation(
                "A tuning job needs TrainingJobDefinition, ParameterRanges and HyperParameterTuningJobObjective."
            )
        search.check(config["Strategy"], ranges)
        limits = config.get("ResourceLimits") or {}
        most, parallel = limits.get("MaxNumberOfTrainingJobs"), limits.get("MaxParallelTrainingJobs")
        if most is not None and parallel is not None and parallel > most:
            raise validation(
                f"ResourceLimits.MaxParallelTrainingJobs must not be greater than MaxNumberOfTrainingJobs, {most}; it "
                f"is {parallel}."
            )
        if config["Strategy"] == "Grid":
            size = search.grid_size(ranges)
            if most is not None and most != size:
                raise validation(
                    f"A grid of {size} combinations needs MaxNumberOfTrainingJobs {size} or none, not {most}."
                )
        elif most is None:
            raise validation("ResourceLimits.MaxNumberOfTrainingJobs is missing.")
        metrics = [each["Name"] for each in definition["AlgorithmSpecification"].get("MetricDefinitions") or ()]
        if objective["MetricName"] not in metrics:
            raise validation(
                f"The objective metric {objective['MetricName']!r} is not among the MetricDefinitions {metrics}."
            )
        overlap = set(definition.get("StaticHyperParameters") or {}) & {
            each["Name"] for found in ranges.values() if isinstance(found, list) for each in found
        }
        if overlap:
            raise validation(f"{', '.join(sorted(overlap))} cannot be both static and tuned.")
        training = self.aws.service(SageMakerTraining)
        trial = {**definition, "ResourceConfig": resources_of(definition)}
        training.check(trial)
        training.check_quota(trial, parallel or 1)

    def delete_hyper_parameter_tuning_job(self, call: Call) -> None:
        """AWS: API reference: deletes the entry alone, none of its training jobs."""
        job = self._job(call)
        if job.status in {"InProgress", "Stopping"}:
            raise validation(f"The hyperparameter tuning job {job.name} is {job.status}: stop it first.")
        with self._lock:
            del self.jobs[job.name]
        self.aws.service(SageMakerTraining).tags.forget(job.arn)

    def describe_hyper_parameter_tuning_job(self, call: Call) -> dict[str, Any]:
        return self._job(call).describe()

    def stop_hyper_parameter_tuning_job(self, call: Call) -> None:
        job = self._job(call)
        if job.status not in {"InProgress", "Stopping"}:
            raise validation(f"The hyperparameter tuning job {job.name} is {job.status} and cannot be stopped.")
        job.stop()

    def list_hyper_parameter_tuning_jobs(self, call: Call) -> dict[str, Any]:
        jobs = chosen(
            list(self.jobs.values()),
            call.params,
            name=lambda job: job.name,
            created=lambda job: job.created,
            modified=lambda job: job.modified,
            status=lambda job: job.status,
        )
        return page([self._summary(job) for job in jobs], call, key="HyperParameterTuningJobSummaries")

    def list_training_jobs_for_hyper_parameter_tuning_job(self, call: Call) -> dict[str, Any]:
        tuning, asked = self._job(call), call.params
        jobs = [job for job in list(tuning.trials) if asked.get("StatusEquals") in (None, job.status)]
        order = asked.get("SortBy") or "Name"
        if order == "FinalObjectiveMetricValue":
            jobs = [job for job in jobs if tuning.metric in job.metrics]
            jobs.sort(key=lambda job: job.metrics[tuning.metric][0])
        else:
            keys = {
                "Name": lambda job: job.name,
                "CreationTime": lambda job: job.created,
                "Status": lambda job: job.status,
            }
            jobs.sort(key=keys[order])
        if asked.get("SortOrder") == "Descending":
            jobs.reverse()
        return page([tuning.summary(job) for job in jobs], call, key="TrainingJobSummaries")

    def _job(self, call: Call) -> TuningRecord:
        name = call.params["HyperParameterTuningJobName"]
        job = self.jobs.get(name)
        if job is None:
            raise AwsError("ResourceNotFound", f"Amazon SageMaker can't find a tuning job with the name {name}.")
        return job

    @staticmethod
    def _summary(job: TuningRecord) -> dict[str, Any]:
        described = job.describe()
        names = (
            "HyperParameterTuningJobName", "HyperParameterTuningJobArn", "HyperParameterTuningJobStatus",
            "CreationTime", "LastModifiedTime", "HyperParameterTuningEndTime",
            "TrainingJobStatusCounters", "ObjectiveStatusCounters",
        )  # fmt: skip
        return {
            **{name: described[name] for name in names if name in described},
            "Strategy": job.config["Strategy"],
            "ResourceLimits": job.config.get("ResourceLimits") or {},
        }
