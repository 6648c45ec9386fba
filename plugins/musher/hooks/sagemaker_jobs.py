"""SageMaker jobs that a retry re-attaches to and a kill stops.

The Amazon provider's operators start a second, paid job on a retry and leave the job of a killed task running; this
hook is what ours do instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from musher import names
from musher.hooks.aws import AwsHook
from musher.names import attempt_names
from musher.record import Trial


@dataclass(frozen=True)
class JobKind:
    """How the API names one kind of job: `operation` and `listing` as boto3 does, `type` as in the API's fields."""

    noun: str
    type: str
    operation: str
    listing: str

    @property
    def name_field(self) -> str:
        return f"{self.type}Name"

    @property
    def status_field(self) -> str:
        return f"{self.type}Status"


TRAINING = JobKind(names.TRAINING_JOB, "TrainingJob", "training_job", "list_training_jobs")
TUNING = JobKind(
    names.TUNING_JOB,
    "HyperParameterTuningJob",
    "hyper_parameter_tuning_job",
    "list_hyper_parameter_tuning_jobs",
)
# What is stopped first starts nothing more: a tuning job before its trials.
KINDS = {kind.noun: kind for kind in (TUNING, TRAINING)}

RUNNING = {"InProgress", "Stopping"}
_MISSING = ("not found", "could not find", "does not exist")
COMPLETED = "Completed"


class SageMakerJobHook(AwsHook):
    """Starts, finds, describes and stops SageMaker jobs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["client_type"] = "sagemaker"
        super().__init__(*args, **kwargs)

    def describe(self, kind: JobKind, name: str) -> dict[str, Any] | None:
        """The API's description of a job; None when there is no job of that name."""
        try:
            return getattr(self.conn, f"describe_{kind.operation}")(**{kind.name_field: name})
        except ClientError as error:
            if is_missing(error):
                return None
            raise

    def start_or_attach(
        self, kind: JobKind, base: str, request: Callable[[str], Mapping[str, Any]]
    ) -> tuple[str, dict[str, Any]]:
        """The job of a step: the one that runs, else the one that completed, else a new one.

        Parameters: `base` the step's name in this DAG run, `request` makes the Create request for a name. A name whose
        job failed or was stopped is used up, since AWS keeps it for ever: the next attempt's name follows.
        Returns the job's name and its description.
        """
        for name in attempt_names(base):
            found = self.describe(kind, name)
            if found is None:
                try:
                    getattr(self.conn, f"create_{kind.operation}")(**request(name))
                    self.log.info("Started the %s %s", kind.noun, name)
                except ClientError as error:
                    if error.response["Error"]["Code"] != "ResourceInUse":
                        raise
                    self.log.info("Another try has just started the %s %s; attaching to it", kind.noun, name)
                return name, self.describe(kind, name) or {}
            status = found[kind.status_field]
            if status in {"InProgress", COMPLETED}:
                verb = "Attaching to" if status == "InProgress" else "Taking the result of"
                self.log.info("%s the %s %s of an earlier try", verb, kind.noun, name)
                return name, found
            self.log.info("The %s %s of an earlier try is %s: starting anew", kind.noun, name, status)
        raise RuntimeError(f"every attempt's name of the {kind.noun} {base} is used up")

    def attempts(self, kind: JobKind, base: str) -> list[dict[str, Any]]:
        """The descriptions of a step's jobs in the order in which they were started."""
        found = []
        for name in attempt_names(base):
            if (description := self.describe(kind, name)) is None:
                break
            found.append(description)
        return found

    def stop(self, kind: JobKind, name: str) -> bool:
        """Stop a job if it runs; whether there was anything to stop."""
        found = self.describe(kind, name)
        return found is not None and found[kind.status_field] == "InProgress" and self._stop(kind, name)

    def _stop(self, kind: JobKind, name: str) -> bool:
        try:
            getattr(self.conn, f"stop_{kind.operation}")(**{kind.name_field: name})
        except ClientError as error:
            # It has ended meanwhile.
            if error.response["Error"]["Code"] == "ValidationException" or is_missing(error):
                return False
            raise
        self.log.info("Stopped the %s %s", kind.noun, name)
        return True

    def stop_tagged(self, tags: Mapping[str, str]) -> list[str]:
        """Stop every job that runs and has all these tags, whatever its name; the names of those."""
        stopped = []
        for kind in KINDS.values():
            for job in running(self.conn, kind):
                if tags.items() <= job.tags.items() and self._stop(kind, job.name):
                    stopped.append(job.name)
        return stopped

    def trials(self, tuning_job: str) -> list[Trial]:
        """The training jobs of a tuning job in the order they were created, as the run record lists them."""
        pages = self.conn.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
            HyperParameterTuningJobName=tuning_job, SortBy="CreationTime", SortOrder="Ascending"
        )
        return [trial(summary) for page in pages for summary in page["TrainingJobSummaries"]]


@dataclass(frozen=True)
class RunningJob:
    """A job that runs, whoever started it."""

    name: str
    arn: str
    created: datetime
    tags: Mapping[str, str]


def running(sagemaker: Any, kind: JobKind) -> Iterator[RunningJob]:
    """Every job of a kind that is in progress in the account, with its tags."""
    summaries = sagemaker.get_paginator(kind.listing).paginate(StatusEquals="InProgress")
    for each in (job for page in summaries for job in page[f"{kind.type}Summaries"]):
        arn = each[f"{kind.type}Arn"]
        yield RunningJob(each[kind.name_field], arn, each["CreationTime"], tags_of(sagemaker, arn))


def tags_of(sagemaker: Any, arn: str) -> dict[str, str]:
    """Tags of a SageMaker resource; none when it has gone meanwhile."""
    pages = sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn)
    try:
        return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}
    except ClientError as error:
        if is_missing(error):
            return {}
        raise


def trial(summary: Mapping[str, Any]) -> Trial:
    """One trial as the run record has it, from a HyperParameterTrainingJobSummary."""
    objective = summary.get("FinalHyperParameterTuningJobObjectiveMetric") or {}
    start, end = summary.get("TrainingStartTime"), summary.get("TrainingEndTime")
    return Trial(
        job=summary["TrainingJobName"],
        hyperparameters=dict(summary.get("TunedHyperParameters") or {}),
        objective=objective.get("Value"),
        status=summary["TrainingJobStatus"],
        seconds=round((end - start).total_seconds(), 1) if start and end else None,
    )


def is_missing(error: ClientError) -> bool:
    """Whether SageMaker (or Application Auto Scaling, or Lambda) says that a thing does not exist."""
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    if code in {"ResourceNotFound", "NoSuchKey"} or code.endswith("NotFoundException"):
        return True
    # SageMaker answers a missing name with a plain ValidationException: "Could not find model ...", "Requested resource
    # not found.", and the registry's "ModelPackage ... does not exist."
    lowered = message.lower()
    return code == "ValidationException" and any(each in lowered for each in _MISSING)
