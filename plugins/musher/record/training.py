"""Tuning and training as SageMaker jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from musher.record.part import Entry, Part


class Trial(Entry):
    """One training job of a tuning job.

    `objective` the validation loss, None where it reported none; `seconds` from its start to its end; the rest is what
    managed Spot says (see TrainingJob), for one instance.
    """

    job: str
    hyperparameters: dict[str, str]
    objective: float | None
    status: str
    seconds: float | None
    managed_spot: bool = False
    training_seconds: float | None = None
    billable_seconds: float | None = None
    interruptions: int = 0
    spot_savings: float | None = None


class BestTrial(Entry):
    job: str
    hyperparameters: dict[str, str]
    objective: float | None


class Tuning(Part):
    """A search for good hyperparameters; `best` is one of its `trials`."""

    NAME: ClassVar[str] = "tuning"

    job: str
    strategy: str
    instance_type: str
    trials: list[Trial]
    best: BestTrial | None


class TrainingJob(Entry):
    """One completed training job.

    `wall_seconds` from its start to its end; `training_seconds` those of one instance while it ran, without waiting for
    Spot capacity; `billable_seconds` those of all instances; `spot_savings` the share of the training seconds that is
    not billed, None on demand; `interruptions` how often AWS took its instances back. `model_data` and `output_data`
    are S3 URIs; `valid_loss` and `valid_accuracy` those of the epoch that was kept.
    """

    job: str
    instances: int
    instance_type: str
    wall_seconds: float | None
    billable_seconds: float
    test_accuracy: float | None
    test_loss: float | None
    cost_usd: float
    managed_spot: bool = False
    training_seconds: float | None = None
    interruptions: int = 0
    spot_savings: float | None = None
    model_data: str | None = None
    output_data: str | None = None
    valid_loss: float | None = None
    valid_accuracy: float | None = None


class Training(Part):
    """The same training on one instance, on several, or on both; `chosen` is the job whose model goes on.

    `instance_count` is how many instances the training on several has, or would have had.

    `speed_up` is the wall time on one instance divided by that on the most; `scaling_efficiency` is that divided by
    their number. Both follow from the jobs where they are not given, and are None without a job on one and on several.
    """

    NAME: ClassVar[str] = "training"
    VERSION: ClassVar[int] = 2

    jobs: list[TrainingJob]
    chosen: str | None = None
    instance_count: int | None = None
    speed_up: float | None = Field(default_factory=lambda training: _speed_up(training.get("jobs", ())))
    scaling_efficiency: float | None = Field(default_factory=lambda training: _efficiency(training))

    @classmethod
    def older(cls, content: Any, version: int) -> Any:
        """Version 1 may be the bare list of jobs."""
        return content if isinstance(content, Mapping) else {"jobs": content}


def _speed_up(jobs: Sequence[TrainingJob]) -> float | None:
    by_instances = sorted(jobs, key=lambda job: job.instances)
    if len(jobs) < 2 or by_instances[0].instances != 1:
        return None
    one, most = by_instances[0].wall_seconds, by_instances[-1].wall_seconds
    return one / most if one and most else None


def _efficiency(training: Mapping[str, Any]) -> float | None:
    speed_up, jobs = training.get("speed_up"), training.get("jobs")
    return speed_up / max(job.instances for job in jobs) if speed_up and jobs else None
