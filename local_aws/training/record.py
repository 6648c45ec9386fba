"""What is known of a training job, without what runs of it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from local_aws.clock import Clock
from local_aws.errors import validation
from local_aws.instances import Instance
from local_aws.training import spot

MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Interrupted": "The instances were taken back",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Stopped": "Training job stopped",
    "Stopping": "Stopping the training job",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job wait time exceeded MaxWaitTimeInSeconds provided",
    "Failed": "Training job failed",
}


@dataclass(eq=False)
class JobRecord:
    """A training job's record; `describe()` is DescribeTrainingJob's answer. That of a job that runs is a TrainingJob.

    Parameters: `request` CreateTrainingJob's parameters; `arn` its ARN; `extra` further members of the description
    (a tuning job's ARN).
    """

    request: dict[str, Any]
    arn: str
    extra: dict[str, Any] = field(default_factory=dict)
    status: str = "InProgress"
    secondary: str = "Starting"
    created: dt.datetime = field(default_factory=Clock.now)
    modified: dt.datetime = field(default_factory=Clock.now)
    started: dt.datetime | None = None
    ended: dt.datetime | None = None
    failure_reason: str | None = None
    model_uri: str | None = None
    transitions: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, tuple[float, dt.datetime]] = field(default_factory=dict)
    series: dict[str, list[float]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.request["TrainingJobName"]

    @property
    def managed_spot(self) -> bool:
        return bool(self.request.get("EnableManagedSpotTraining"))

    @property
    def running(self) -> bool:
        return self.status in {"InProgress", "Stopping"}

    @property
    def instances(self) -> Iterable[Instance]:
        """What runs of it: nothing."""
        return ()

    def stop(self) -> None:
        """Ask the job to stop: it has ended."""

    def interrupt(self) -> str:
        """Take the job's Spot capacity back. Raises AwsError: it has none any more."""
        raise validation(f"The training job {self.name} is {self.status}: it has no Spot capacity that can be taken.")

    def copy(self) -> JobRecord:
        """The record alone, which no thread changes any more."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(JobRecord)}
        values |= {
            "transitions": [dict(each) for each in self.transitions],
            "metrics": dict(self.metrics),
            "series": {name: list(each) for name, each in self.series.items()},
        }
        return JobRecord(**values)

    def enter(self, secondary: str, at: dt.datetime) -> None:
        """Change its secondary status."""
        if self.transitions:
            self.transitions[-1].setdefault("EndTime", at)
        self.transitions.append({"Status": secondary, "StartTime": at, "StatusMessage": MESSAGES[secondary]})
        self.secondary, self.modified = secondary, at

    def end(self, status: str, reason: str | None, secondary: str | None, at: dt.datetime) -> None:
        """Change its status to one that it keeps."""
        self.enter(secondary or status, at)
        self.ended = at
        self.transitions[-1]["EndTime"] = at
        self.failure_reason = reason
        self.status = status

    def describe(self) -> dict[str, Any]:
        kept = {
            name: value
            for name, value in self.request.items()
            if name not in {"TrainingJobName", "Tags"} and value is not None
        }
        answer: dict[str, Any] = {
            **kept,
            **self.extra,
            "OutputDataConfig": {"KmsKeyId": "", **self.request["OutputDataConfig"]},  # AWS gives it as "", too
            "TrainingJobName": self.name,
            "TrainingJobArn": self.arn,
            "TrainingJobStatus": self.status,
            "SecondaryStatus": self.secondary,
            "CreationTime": self.created,
            "LastModifiedTime": self.modified,
            "SecondaryStatusTransitions": [dict(each) for each in self.transitions],
            "EnableNetworkIsolation": bool(self.request.get("EnableNetworkIsolation")),
            "EnableManagedSpotTraining": self.managed_spot,
            "FinalMetricDataList": [
                {"MetricName": name, "Value": value, "Timestamp": at} for name, (value, at) in self.metrics.items()
            ],
        }
        if self.started:
            answer["TrainingStartTime"] = self.started
            held, billed = spot.seconds(
                self.transitions, self.started, self.ended or Clock.now(), managed_spot=self.managed_spot
            )
            answer["TrainingTimeInSeconds"] = math.ceil(held)
        if self.ended:
            answer["TrainingEndTime"] = self.ended
            answer["BillableTimeInSeconds"] = math.ceil(billed) if self.started else 0
        answer["ModelArtifacts"] = {"S3ModelArtifacts": self.model_uri or self.output_uri("model")}
        if self.failure_reason:
            answer["FailureReason"] = self.failure_reason
        return answer

    @property
    def compressed(self) -> bool:
        """Whether model and output are archives; else they are folders (OutputDataConfig.CompressionType NONE)."""
        return self.request["OutputDataConfig"].get("CompressionType", "GZIP") != "NONE"

    def output_uri(self, name: str) -> str:
        """Where the `model` or the `output` of the job is.

        Without compression the model is below output/model/, as AWS's JumpStart shows it, the other output beside it.
        """
        form = ".tar.gz" if self.compressed else "/"
        return f"{self.request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{self.name}/output/{name}{form}"
