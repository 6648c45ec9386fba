"""The profile of one training, from its start to ``profile.json``.

Every process has a clock, the first one of each instance samples it. At the end they give what they have to the first
process, which evaluates the rules and writes. Where a training fails or is interrupted nobody can be asked: then the
first process writes what it knows itself, and each other one a file of its own.
"""

import os
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from diagnostics.choice import Chosen
from diagnostics.outcome import Outcome, described
from diagnostics.rule import Issue, NotApplicable, counted
from distributed import Group
from errors import PeerLost
from evaluation import write_json

from profiling.choice import Recorded
from profiling.clock import CLOCK, DEVICE_EVERY, named
from profiling.recorded import Host, Profile, Rank, SlowStep
from profiling.rule import percentile
from profiling.system import Sampler, host_name
from profiling.trace import Trace
from profiling.verdict import Verdict, verdict

FILE, VERSION = "profile.json", 1
PREFIX = "ProfilerRule"
# So many points of each instance are enough for a chart; the file beside has every sample.
POINTS = 240


class Profiler:
    """Records while its block lasts.

    Args:
        before: nanoseconds that this process had taken when the block began.
    """

    def __init__(self, chosen: Recorded, folder: Path, trained: str, batch_size: int, before: int = 0) -> None:
        self.chosen, self.folder = chosen, folder
        self.rank, self.world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        first_here = os.environ.get("LOCAL_RANK", "0") == "0"
        self.trained, self.batch_size, self.before = trained, batch_size, before
        self.workers, self.cached, self.device = 0, True, "cpu"
        self.sampler = Sampler(chosen.system, folder) if chosen.system and first_here else None
        self.trace = Trace(chosen.trace, folder, self.rank) if chosen.trace else None
        self._written = not chosen.on

    def __enter__(self) -> "Profiler":
        CLOCK.begin(self.before, on=self.chosen.steps or bool(self.trace))
        CLOCK.on_step = self._stepped if self.trace or torch.cuda.is_available() else None
        if self.sampler:
            self.sampler.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.write()
        CLOCK.begin(on=False)

    def prepared(self, device: str, workers: int, cached: bool) -> None:
        """How pictures come into the training: by so many threads, or as features that are computed once."""
        self.device, self.workers, self.cached = device, workers, cached

    def finish(self, group: Group) -> None:
        """The training is done; all processes together."""
        if self._written:
            return
        self._stop()
        try:
            parts = group.gather_objects(self._part(), "the profile")
        except PeerLost:  # it has done its work, and has gone since
            self.write()
            return
        if group.leads:
            self._leave(parts, complete=True)
        self._written = True

    def write(self) -> None:
        """Leave what this process has recorded, unless that was done; may be called from any thread."""
        if self._written:
            return
        self._written = True
        self._stop()
        if self.rank == 0:
            self._leave([self._part()], complete=False)
        else:
            self._leave([self._part()], complete=False, file=f"profile-{self.rank}.json")

    def _stepped(self, number: int) -> None:
        if self.trace:
            self.trace.step()
        if number % DEVICE_EVERY == 0 and torch.cuda.is_available():
            CLOCK.ask_device()

    def _stop(self) -> None:
        if self.trace:
            self.trace.stop()
        if self.sampler:
            self.sampler.stop()

    def _part(self) -> tuple[Rank, Host | None]:
        pictures, read, decode = CLOCK.decoded
        rank = Rank(
            self.rank,
            host_name(),
            self.device,
            torch.get_num_threads(),
            self.workers,
            CLOCK.spent() if self.chosen.steps else {},
            CLOCK.in_steps(),
            CLOCK.durations,
            CLOCK.first_step,
            [
                SlowStep(number, took * 1e-9, named(spent, 1e-9))
                for took, number, spent in sorted(CLOCK.slow, reverse=True)
            ],
            CLOCK.on_device(),
            CLOCK.device_steps,
            CLOCK.pictures + pictures,
            read * 1e-9,
            decode * 1e-9,
            _peak_memory_mb(),
        )
        return rank, self.sampler.host() if self.sampler else None

    def _leave(self, parts: list[tuple[Rank, Host | None]], complete: bool, file: str = FILE) -> None:
        profile = Profile(
            self.trained,
            self.batch_size,
            [rank for rank, _ in parts],
            [host for _, host in parts if host],
            self.world,
            complete,
            self.cached,
        )
        outcomes = evaluate(self.chosen.rules, profile)
        said = verdict(profile, {name: each.issue for name, each in outcomes.items() if each.issue})
        if self.rank == 0:
            for name, outcome in outcomes.items():
                if outcome.issue:
                    print(f"{PREFIX} {name}: IssuesFound: {outcome.details}", flush=True)
            print(f"profile: {said.sentence}{': ' + said.next_step if said.next_step else ''}", flush=True)
        rules = [described(each, outcomes[each.rule.name]) for each in self.chosen.rules]
        try:
            write_json(self.folder / file, content(profile, rules, said, self.sampler))
        except OSError as error:  # what ended the training, if something did, says more
            print(f"{self.folder / file} could not be written: {error.strerror}", flush=True)


def evaluate(chosen: list[Chosen], profile: Profile) -> dict[str, Outcome]:
    """What becomes of each rule on a profile."""
    outcomes = {}
    steps, samples = (
        sum(len(rank.durations) for rank in profile.ranks),
        sum(len(h.column("cpu")) for h in profile.hosts),
    )
    for each in chosen:
        outcome = Outcome(
            "NoIssuesFound", f"looked at {counted(steps, 'step')} and {counted(samples, 'sample')}", None, time.time()
        )
        try:
            issue: Issue | None = each.rule.check(profile, **each.parameters)
        except NotApplicable as why:
            outcome.status, outcome.details = "Stopped", str(why)
        except Exception as error:  # a rule that breaks must not end the training that it watches
            outcome.status, outcome.details = "Error", f"{type(error).__name__}: {error}"
        else:
            if issue:
                outcome.status, outcome.issue = "IssuesFound", issue
                outcome.details = f"{issue.sentence}: {each.rule.advice}"
        outcomes[each.rule.name] = outcome
    return outcomes


def content(profile: Profile, rules: list[dict], said: Verdict, sampler: Sampler | None) -> dict[str, Any]:
    """What profile.json holds; times are seconds."""
    return {
        "version": VERSION,
        "complete": profile.complete,
        "trained": profile.trained,
        "batch_size": profile.batch_size,
        "world": profile.world,
        "missing": profile.missing,
        "verdict": asdict(said),
        "rules": rules,
        "ranks": [_rank(rank) for rank in profile.ranks],
        "hosts": [_host(host) for host in profile.hosts],
        "not_sampled": sampler.why_not if sampler else "",
    }


def _rank(rank: Rank) -> dict[str, Any]:
    durations = list(rank.durations)
    # Not asdict, which copies every number that there is.
    written = {each.name: getattr(rank, each.name) for each in fields(rank) if each.name not in ("durations", "slow")}
    steps: dict[str, Any] = {"count": len(durations), "first": rank.first_step}
    if durations:
        steps |= {
            "mean": sum(durations) / len(durations),
            "p50": percentile(durations, 50),
            "p95": percentile(durations, 95),
            "longest": max(durations),
        }
    return written | {"steps": _rounded(steps), "slow": [_rounded(vars(each)) for each in rank.slow]}


def _host(host: Host) -> dict[str, Any]:
    """An instance with at most POINTS means of its samples, and what 95 % of all samples are at most."""
    count = len(host.column("seconds"))
    each = -(-count // POINTS) or 1
    points = {
        name: [round(sum(some) / len(some), 2) for some in (values[at : at + each] for at in range(0, count, each))]
        for name, values in host.samples.items()
    }
    high = {name: round(percentile(values, 95), 2) for name, values in host.samples.items() if name != "seconds"}
    return {
        "name": host.name,
        "interval": host.interval * each,
        "cores": host.cores,
        "gpus": host.gpus,
        "count": count,
        "p95": high if count else {},
        "samples": points,
    }


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in values.items()}


def _peak_memory_mb() -> float:
    try:
        import resource
    except ImportError:  # not on Windows
        return 0.0
    # Linux counts in kilobytes, macOS in bytes.
    kilobyte = 1024 if os.uname().sysname == "Linux" else 1
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilobyte / 1e6, 1)
