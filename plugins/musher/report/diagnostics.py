"""The section of the report about the rules of a run's trainings: what its template shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from musher import names
from musher.record import DiagnosedJob, Diagnostics, RuleOutcome
from musher.report import diagnostics_charts

# Trials are told in a sentence: there may be hundreds, and none of them has curves.
_TRIALS = names.TUNE.name


@dataclass(frozen=True)
class Attempt:
    """A training job with its chart, the rules that found something or broke, and the others in short.

    `unfit` are those that had nothing to look at, by why that is.
    """

    job: DiagnosedJob
    chart: Any
    rules: list[RuleOutcome]
    healthy: list[str]
    unfit: dict[str, list[str]]
    when: dict[str, str]


def section(part: Diagnostics | None, *, drawn: bool = True) -> dict[str, Any]:
    """Attempts at training, with their charts if these are to be drawn, and what was found in trials."""
    from markupsafe import Markup

    jobs = part.jobs if part else []
    trials = [each for each in jobs if each.step == _TRIALS]
    counts = Counter(rule.rule for job in trials for rule in job.rules if rule.fired)
    attempts = []
    for job in jobs:
        if job.step == _TRIALS:
            continue
        chart = diagnostics_charts.curves(job) if drawn else None
        shown = [each for each in job.rules if each.status not in ("NoIssuesFound", "Stopped")]
        unfit: dict[str, list[str]] = {}
        for each in job.rules:
            if each.status == "Stopped":
                unfit.setdefault(each.status_details, []).append(each.rule)
        attempts.append(
            Attempt(
                job=job,
                chart=Markup(chart) if chart else None,
                rules=sorted(shown, key=lambda each: (not each.fired, each.status, each.step or 0, each.rule)),
                unfit=unfit,
                healthy=[each.rule for each in job.rules if each.status == "NoIssuesFound"],
                when={each.rule: _when(each, job) for each in shown},
            )
        )
    return {
        "attempts": attempts,
        "trials": len(trials),
        "ended_trials": sum(each.fired is not None for each in trials),
        "in_trials": sorted(counts.items()),
        "saved_seconds": sum(each.saved.seconds or 0 for each in jobs if each.saved),
        "saved_usd": sum(each.saved.usd or 0 for each in jobs if each.saved),
        "saved_any": any(each.saved and each.saved.seconds is not None for each in jobs),
    }


def _when(rule: RuleOutcome, job: DiagnosedJob) -> str:
    """`step 12, epoch 2`; a rule that looks at the pictures alone finds its issue before the first step."""
    if not rule.fired or rule.step is None:
        return ""
    if rule.step == 0:
        return "before the first step"
    if not job.steps_per_epoch:
        return f"step {rule.step}"
    return f"step {rule.step}, epoch {-(-rule.step // job.steps_per_epoch)}"
