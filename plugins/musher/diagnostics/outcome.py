"""What the record has of a training job's diagnostics: what it wrote, why it ended, what was done, what that saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import mean
from typing import Any, ClassVar

from pydantic import Field

from musher import record
from musher.costs.prices import training_cost
from musher.diagnostics import remedies
from musher.diagnostics.rules import NOTIFY, OUT_OF_MEMORY, REPORT

FAILED = "Failed"


class FoundIssue(record.Entry):
    """What a rule found; what is no finite number is null."""

    step: int | None = None
    value: float | None = None
    threshold: float | None = None


class FoundRule(record.Entry):
    rule: str
    status: str
    status_details: str = ""
    last_modified_time: float | None = None
    action: str = REPORT
    parameters: dict[str, Any] = {}
    issue: FoundIssue | None = None


class JobDiagnostics(record.Part):
    """diagnostics.json of a job's output, as ml_scripts/diagnostics/session.py writes it."""

    NAME: ClassVar[str] = "diagnostics of a job"

    rules: list[FoundRule] = []
    trained: str | None = None
    planned_epochs: int | None = None
    steps_per_epoch: int | None = None
    ended_by: str | None = None
    epochs: list[record.DiagnosedEpoch] = Field(default_factory=list)
    steps: list[record.DiagnosedStep] = Field(default_factory=list)


def diagnosed(
    found: Mapping[str, Any],
    written: JobDiagnostics | None,
    *,
    step: str,
    attempt: int,
    on_issue: Mapping[str, str],
    remedy: record.Remedy | None = None,
    max_runtime_seconds: float | None = None,
    curves: bool = True,
    cost: Callable[[float], float] | None = None,
) -> record.DiagnosedJob:
    """One job of the record.

    Parameters: `found` its DescribeTrainingJob; `written` its diagnostics.json, None where it left none; `remedy` what
    makes it another job than the attempt before it. Without `curves` only rules are kept. `cost` gives the USD of so
    many seconds of all its instances; SageMaker's price on demand when left out.
    """
    known = written or JobDiagnostics()
    resources = found["ResourceConfig"]
    instances, instance_type = resources["InstanceCount"], resources["InstanceType"]
    billable, status = found.get("BillableTimeInSeconds"), found["TrainingJobStatus"]
    cost = cost or (lambda seconds: training_cost(instance_type, seconds))
    failed = remedies.fired(found.get("FailureReason")) if status == FAILED else None
    fired = failed.rule if failed else known.ended_by
    rules = [_outcome(each, on_issue) for each in known.rules]
    if failed and all(each.rule != failed.rule for each in rules):
        # Memory that is not enough is no rule of the script's, and a job may have lost what it had written.
        rules.append(
            record.RuleOutcome(
                rule=failed.rule,
                status="IssuesFound",
                status_details=failed.sentence,
                action="stop",
                on_issue=on_issue.get(failed.rule, REPORT),
                step=failed.step,
            )
        )
    best = min(
        (each for each in known.epochs if each.valid_loss is not None), key=lambda each: each.valid_loss, default=None
    )
    return record.DiagnosedJob(
        job=found["TrainingJobName"],
        step=step,
        status=status,
        attempt=attempt,
        instances=instances,
        instance_type=instance_type,
        billable_seconds=None if billable is None else billable * instances,
        cost_usd=None if billable is None else cost(billable * instances),
        reason=failed.sentence if failed else (found.get("FailureReason") or ""),
        fired=fired,
        remedy=remedy,
        saved=saving(known, instances, billable, max_runtime_seconds, cost) if fired else None,
        trained=known.trained,
        planned_epochs=known.planned_epochs,
        steps_per_epoch=known.steps_per_epoch,
        valid_accuracy=best.valid_accuracy if best else None,
        rules=[each.replace(taken=_taken(each, fired, known, status)) for each in rules],
        epochs=known.epochs if curves else [],
        steps=known.steps if curves else [],
    )


def saving(
    known: JobDiagnostics,
    instances: int,
    billable: float | None,
    max_runtime_seconds: float | None,
    cost: Callable[[float], float],
) -> record.Saving:
    """What was not taken because a rule ended the job.

    The epochs that were planned and not trained, each as long as those that were; nobody knows how long they would have
    been where none was finished.
    """
    at_most = None
    if max_runtime_seconds is not None and billable is not None:
        at_most = round(max(0.0, max_runtime_seconds - billable) * instances, 2)
    took = [each.seconds for each in known.epochs if each.seconds is not None]
    if not took or known.planned_epochs is None:
        return record.Saving(at_most_seconds=at_most, basis="no epoch was finished to go by")
    left = max(0, known.planned_epochs - len(known.epochs))
    seconds = left * mean(took)
    return record.Saving(
        seconds=round(seconds * instances, 2),
        usd=cost(seconds * instances),
        at_most_seconds=at_most,
        basis=f"{left} of {known.planned_epochs} epochs were not trained; those that were took {mean(took):.3g} s each",
    )


def expected_seconds(job: record.DiagnosedJob, max_runtime_seconds: float) -> float:
    """How long the same job would have been in all, of one instance: as long as it may be, where that is not known."""
    if job.billable_seconds is None or not job.saved or job.saved.seconds is None:
        return max_runtime_seconds
    return min(max_runtime_seconds, (job.billable_seconds + job.saved.seconds) / job.instances)


def _outcome(found: FoundRule, on_issue: Mapping[str, str]) -> record.RuleOutcome:
    issue = found.issue or FoundIssue()
    return record.RuleOutcome(
        rule=found.rule,
        status=found.status,
        status_details=found.status_details,
        action=found.action,
        on_issue=on_issue.get(found.rule, REPORT),
        parameters=found.parameters,
        last_modified_time=found.last_modified_time,
        **dict(issue),
    )


def _taken(rule: record.RuleOutcome, fired: str | None, known: JobDiagnostics, status: str) -> str:
    if not rule.fired or rule.rule != fired:
        return ""
    if status == FAILED:
        return "the job could not go on" if rule.rule == OUT_OF_MEMORY else "the job was stopped"
    epochs = len(known.epochs)
    return f"the training was ended after {epochs} epoch{'' if epochs == 1 else 's'}, and its best one kept"


def to_be_told(job: record.DiagnosedJob) -> list[record.RuleOutcome]:
    """The rules that found something and of which the topic is to be told."""
    return [each for each in job.rules if each.fired and each.on_issue == NOTIFY]


def with_taken(job: record.DiagnosedJob, rule: str, taken: str) -> record.DiagnosedJob:
    """The same with what was done about a rule, after what was before."""
    rules = [
        each.replace(taken=f"{each.taken}; {taken}" if each.taken else taken) if each.rule == rule else each
        for each in job.rules
    ]
    return job.replace(rules=rules)
