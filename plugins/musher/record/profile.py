"""Where the time of a run's training jobs went, as their profile.json says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from musher.record.part import Entry, Part


class ProfileVerdict(Entry):
    """What holds a training up: `share` of its time is lost to what `rule` found; without a rule nothing does."""

    sentence: str
    share: float = 0.0
    rule: str | None = None
    next_step: str | None = None


class ProfilerRule(Entry):
    """What became of one rule; `status` one of AWS's RuleEvaluationStatus, `issue` {step, value, threshold}."""

    rule: str
    status: str
    status_details: str = ""
    parameters: dict[str, Any] = {}
    issue: dict[str, float | None] | None = None

    @property
    def fired(self) -> bool:
        return self.status == "IssuesFound"


class StepTimes(Entry):
    """Training steps, in seconds; p50 and p95 are percentiles."""

    count: int = 0
    mean: float | None = None
    p50: float | None = None
    p95: float | None = None
    longest: float | None = None


class ProfiledRank(Entry):
    """One process: seconds by phase, of all its time and of its training steps."""

    rank: int
    host: str
    device: str = "cpu"
    workers: int = 0
    pictures: int = 0
    peak_memory_mb: float | None = None
    phases: dict[str, float] = {}
    in_steps: dict[str, float] = {}
    steps: StepTimes = StepTimes()


class ProfiledHost(Entry):
    """One instance: means of its samples, `interval` seconds each, and what 95 % of all `count` samples are at most.

    Percent for cpu, io_wait, process, memory, gpu and gpu_memory; megabytes a second for disks and network.
    """

    name: str
    interval: float
    cores: int = 1
    gpus: int = 0
    count: int = 0
    p95: dict[str, float] = {}
    samples: dict[str, list[float]] = {}


class JobProfile(Part):
    """What profile.json of one job says; `missing` are processes that could not be asked."""

    NAME: ClassVar[str] = "job_profile"

    job: str = ""
    version: Literal[1] = 1
    complete: bool
    trained: str
    batch_size: int
    world: int = 1
    missing: list[int] = []
    verdict: ProfileVerdict
    rules: list[ProfilerRule] = []
    ranks: list[ProfiledRank] = []
    hosts: list[ProfiledHost] = []
    not_sampled: str = ""


class Profile(Part):
    """The profiles of a run's completed trainings that wrote one, that of `train_on_ec2` among them."""

    NAME: ClassVar[str] = "profile"

    jobs: list[JobProfile] = []

    def with_jobs(self, jobs: Iterable[JobProfile]) -> Profile:
        """The same with these jobs: each in the place of what was known of it before, new ones at the end."""
        return Profile(jobs=list({each.job: each for each in (*self.jobs, *jobs)}.values()))
