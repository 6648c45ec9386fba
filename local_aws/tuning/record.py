"""What is known of a tuning job, without what runs of it."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from local_aws.clock import Clock
from local_aws.errors import validation
from local_aws.training.record import JobRecord


def resources_of(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The ResourceConfig of a definition's training jobs. Raises AwsError.

    HyperParameterTuningResourceConfig is its successor, which the tuners of SageMaker's SDK 2 send. AWS: API reference:
    of InstanceConfigs the first that there is capacity of is taken, and here there always is.
    """
    older, newer = definition.get("ResourceConfig"), definition.get("HyperParameterTuningResourceConfig")
    if bool(older) == bool(newer):
        raise validation(
            "TrainingJobDefinition needs ResourceConfig or HyperParameterTuningResourceConfig, one of the two."
        )
    if older:
        return dict(older)
    names = ("InstanceType", "InstanceCount", "VolumeSizeInGB")
    several = newer.get("InstanceConfigs")
    if several and any(newer.get(name) for name in names):
        raise validation(f"HyperParameterTuningResourceConfig has InstanceConfigs or {', '.join(names)}, not both.")
    if several and newer.get("AllocationStrategy") not in (None, "Prioritized"):
        raise validation("HyperParameterTuningResourceConfig.AllocationStrategy must be Prioritized.")
    chosen = {**newer, **several[0]} if several else newer
    return {name: chosen[name] for name in (*names, "VolumeKmsKeyId") if chosen.get(name) is not None}


@dataclass(eq=False)
class TuningRecord:
    """A tuning job's record; `describe()` is DescribeHyperParameterTuningJob's answer.

    That of a job that runs is a TuningJob. Parameters: `request` CreateHyperParameterTuningJob's; `arn` its ARN;
    `values` the hyperparameters that each trial got.
    """

    request: Mapping[str, Any]
    arn: str
    status: str = "InProgress"
    created: dt.datetime = field(default_factory=Clock.now)
    modified: dt.datetime = field(default_factory=Clock.now)
    ended: dt.datetime | None = None
    failure_reason: str | None = None
    trials: list[JobRecord] = field(default_factory=list)
    values: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.request["HyperParameterTuningJobName"]

    @property
    def config(self) -> Mapping[str, Any]:
        return self.request["HyperParameterTuningJobConfig"]

    @property
    def definition(self) -> Mapping[str, Any]:
        return self.request["TrainingJobDefinition"]

    @property
    def metric(self) -> str:
        return self.config["HyperParameterTuningJobObjective"]["MetricName"]

    @property
    def minimise(self) -> bool:
        return self.config["HyperParameterTuningJobObjective"]["Type"] == "Minimize"

    @property
    def best(self) -> JobRecord | None:
        """The completed (or early stopped) trial with the best objective."""
        found = [job for job in self.trials if job.status in {"Completed", "Stopped"} and self.metric in job.metrics]
        key = lambda job: job.metrics[self.metric][0]  # noqa: E731
        return (min if self.minimise else max)(found, key=key) if found else None

    def stop(self) -> None:
        """No further trials: it has ended."""

    def copy(self) -> TuningRecord:
        """The record alone, which no thread changes any more; its trials are copies, too."""
        # In this order: a trial's values are there before it is, and whatever has ended says so last.
        trials = [each.copy() for each in list(self.trials)]
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(TuningRecord)}
        return TuningRecord(**values | {"trials": trials, "values": dict(self.values)})

    def end(self, status: str, reason: str | None, at: dt.datetime) -> None:
        """Change its status to one that it keeps."""
        self.failure_reason = reason
        self.ended = self.modified = at
        self.status = status

    def describe(self) -> dict[str, Any]:
        statuses = [job.status for job in self.trials]
        best = self.best
        with_value = sum(self.metric in job.metrics for job in self.trials if not job.running)
        answer: dict[str, Any] = {
            "HyperParameterTuningJobName": self.name,
            "HyperParameterTuningJobArn": self.arn,
            "HyperParameterTuningJobConfig": self.config,
            "TrainingJobDefinition": {
                **self.definition,
                "StaticHyperParameters": {
                    **(self.definition.get("StaticHyperParameters") or {}), "_tuning_objective_metric": self.metric,
                },
            },
            "HyperParameterTuningJobStatus": self.status,
            "CreationTime": self.created,
            "LastModifiedTime": self.modified,
            "TrainingJobStatusCounters": {
                "Completed": statuses.count("Completed"),
                "InProgress": statuses.count("InProgress") + statuses.count("Stopping"),
                "RetryableError": 0,
                "NonRetryableError": statuses.count("Failed"),
                "Stopped": statuses.count("Stopped"),
            },
            "ObjectiveStatusCounters": {
                "Succeeded": with_value,
                "Pending": sum(job.running for job in self.trials),
                "Failed": sum(not job.running for job in self.trials) - with_value,
            },
        }  # fmt: skip
        if best:
            answer["BestTrainingJob"] = self.summary(best)
        if self.ended:
            answer["HyperParameterTuningEndTime"] = self.ended
        if self.failure_reason:
            answer["FailureReason"] = self.failure_reason
        return answer

    def summary(self, job: JobRecord) -> dict[str, Any]:
        """One HyperParameterTrainingJobSummary."""
        value = job.metrics.get(self.metric)
        found: dict[str, Any] = {
            "TrainingJobName": job.name,
            "TrainingJobArn": job.arn,
            "TuningJobName": self.name,
            "CreationTime": job.created,
            "TrainingStartTime": job.started,
            "TrainingEndTime": job.ended,
            "TrainingJobStatus": job.status,
            "TunedHyperParameters": self.values[job.name],
            "FailureReason": job.failure_reason,
            "ObjectiveStatus": "Pending" if job.running else "Succeeded" if value else "Failed",
        }
        if value:
            found["FinalHyperParameterTuningJobObjectiveMetric"] = {
                "Type": "Minimize" if self.minimise else "Maximize", "MetricName": self.metric, "Value": value[0],
            }  # fmt: skip
        return {name: each for name, each in found.items() if each is not None}
