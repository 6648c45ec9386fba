"""The section of the report about where the time of training went: what its template shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from musher.record import JobProfile, Profile, ProfilerRule
from musher.report import profile_charts


@dataclass(frozen=True)
class Profiled:
    """A job's profile with its charts, its rules in the order in which they matter, and those that found nothing."""

    profile: JobProfile
    times: Any
    use: Any
    rules: list[ProfilerRule]
    healthy: list[str]


def section(part: Profile | None, *, drawn: bool = True) -> list[Profiled]:
    """The jobs that were profiled, with their charts if these are to be drawn."""
    from markupsafe import Markup

    return [
        Profiled(
            profile=job,
            times=Markup((profile_charts.times(job) if drawn else None) or ""),
            use=Markup((profile_charts.use(job) if drawn else None) or ""),
            rules=sorted(
                (each for each in job.rules if each.status != "NoIssuesFound"),
                key=lambda each: (not each.fired, each.status, each.rule),
            ),
            healthy=[each.rule for each in job.rules if each.status == "NoIssuesFound"],
        )
        for job in (part.jobs if part else ())
    ]
