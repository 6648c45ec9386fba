"""What the rules of a run's trainings found, what was done about it, and what that saved."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from musher.record.part import Entry, Part


class RuleOutcome(Entry):
    """What became of one rule in one job.

    `status` one of AWS's RuleEvaluationStatus, and `status_details` why; `action` what the job was told to do (report,
    stop, end) and `on_issue` what the run was told to (report, stop, notify, retry). `step`, `value` and `threshold`
    are of what it found; a value that is no finite number is None. `last_modified_time` is in Unix seconds. `taken`
    says what was done, empty where nothing was to be done.
    """

    rule: str
    status: str
    status_details: str = ""
    action: str = "report"
    on_issue: str = "report"
    parameters: dict[str, Any] = {}
    step: int | None = None
    value: float | None = None
    threshold: float | None = None
    last_modified_time: float | None = None
    taken: str = ""

    @property
    def fired(self) -> bool:
        return self.status == "IssuesFound"


class DiagnosedEpoch(Entry):
    """An epoch as history.json has it; `seconds` of one instance."""

    epoch: int
    train_loss: float | None = None
    valid_loss: float | None = None
    valid_accuracy: float | None = None
    seconds: float | None = None


class DiagnosedStep(Entry):
    """A sampled step: the loss of its batch, the mean gradient, the largest ratio of an update to its weight."""

    step: int
    epoch: int
    loss: float | None = None
    gradient_mean: float | None = None
    update_ratio: float | None = None


class Remedy(Entry):
    """What was changed for the job that came next, and why: hyperparameter to its value before and after."""

    rule: str
    changed: dict[str, tuple[str, str]]
    sentence: str


class Saving(Entry):
    """What a job that ended early did not take.

    `seconds` (of all instances together) and `usd` are estimates: the epochs that were left, at the mean of those that
    were finished; None where none was. `at_most_seconds` is what the job's own limit would still have allowed.
    """

    seconds: float | None = None
    usd: float | None = None
    at_most_seconds: float | None = None
    basis: str = ""


class DiagnosedJob(Entry):
    """One training job, the first one of its step or a later attempt.

    `step` the step of the run (`train-one`, `train-many`, `tune`, `train-on-ec2`); `attempt` counts from 1; `remedy`
    is what made it another job than the one before. `fired` is the rule that ended it. `billable_seconds` of all
    instances together. Curves are kept of training jobs, not of trials.
    """

    job: str
    step: str
    status: str
    attempt: int = 1
    instances: int = 1
    instance_type: str | None = None
    billable_seconds: float | None = None
    cost_usd: float | None = None
    reason: str = ""
    fired: str | None = None
    remedy: Remedy | None = None
    saved: Saving | None = None
    trained: str | None = None
    planned_epochs: int | None = None
    steps_per_epoch: int | None = None
    valid_accuracy: float | None = None
    rules: list[RuleOutcome] = []
    epochs: list[DiagnosedEpoch] = []
    steps: list[DiagnosedStep] = []


class Diagnostics(Part):
    """The diagnostics of all training jobs of a run, in the order in which they ran."""

    NAME: ClassVar[str] = "diagnostics"

    jobs: list[DiagnosedJob] = Field(default_factory=list)

    def with_jobs(self, jobs: list[DiagnosedJob]) -> Diagnostics:
        """The same with these jobs: each in the place of what was known of it before, new ones at the end."""
        new = {each.job: each for each in jobs}
        kept = [new.pop(each.job, each) for each in self.jobs]
        return Diagnostics(jobs=[*kept, *new.values()])
