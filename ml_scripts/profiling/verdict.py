"""One sentence on what holds a training up, with its evidence and the next step."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

from diagnostics.rule import Issue

from profiling.recorded import COMPUTING, DATA, Profile, Rank
from profiling.rules import batch_size, dataloader, io_bottleneck, load_balancing, max_initialization_time, step_outlier

# Threads that only wait for files may be more than the cores.
MOST_READERS_A_CORE = 4
# Above which use of the CPUs more threads that decode find nothing to run on.
BUSY_PERCENT = 85.0
# Of what StepOutlier calls an outlier by default.
DEVIATIONS = 3.0


@dataclass(frozen=True)
class Verdict:
    """``share`` of the time is lost to what ``rule`` found; ``next_step`` is what to try. Without a rule none is."""

    sentence: str
    share: float
    rule: str | None = None
    next_step: str | None = None


def verdict(seen: Profile, issues: dict[str, Issue]) -> Verdict:
    """What costs most of what the rules found; without an issue what the time goes into."""
    if not any(rank.work for rank in seen.ranks):
        return Verdict("the training did not come to its first picture", 0.0)
    found = [
        Verdict(issues[name].sentence, round(min(1.0, lost(seen, issues[name])), 4), name, step(seen, issues[name]))
        for name, (lost, step) in _CAUSES.items()
        if name in issues
    ]
    if found:
        return max(found, key=lambda each: each.share)
    rank = max(seen.ranks, key=lambda each: each.work)
    computes, data = rank.of(*COMPUTING) / rank.work, rank.of(*DATA) / rank.work
    return Verdict(
        f"nothing holds the training up: process {rank.rank} on {rank.host} computes {computes:.0%} of its time and "
        f"waits for data {data:.0%} of it",
        0.0,
    )


def _slowest_at(seen: Profile, cost: Callable[[Rank], float]) -> Rank:
    return max((rank for rank in seen.ranks if rank.work), key=cost)


def _decoding(rank: Rank) -> float:
    return rank.of(*DATA) * (1 - rank.reading_share) / rank.work


def _reading(rank: Rank) -> float:
    return rank.of(*DATA) * rank.reading_share / rank.work


def _threads(rank: Rank) -> int:
    """So many threads keep up with the rest of the work, if each gets on as fast as those that there were."""
    beside = rank.worker_read + rank.worker_decode + rank.of("read", "decode")
    return max(2, math.ceil(beside / max(rank.work - rank.of(*DATA), 1e-9)))


def _decode_elsewhere(seen: Profile, issue: Issue) -> str:
    rank = _slowest_at(seen, _decoding)
    host = next((each for each in seen.hosts if each.name == rank.host), None)
    cores = host.cores if host else rank.threads
    workers = min(_threads(rank), cores)
    if seen.cached:
        return "store the pictures smaller: the features of each are computed once, and decoding it takes longer"
    if host and host.column("cpu") and fmean(host.column("cpu")) > BUSY_PERCENT:
        return "store the pictures smaller, or take an instance with more cores: those that there are have no time left"
    if workers <= rank.workers:
        return "store the pictures smaller, or take an instance with more cores"
    return f"set workers to {workers}; now it is {rank.workers}"


def _read_elsewhere(seen: Profile, issue: Issue) -> str:
    rank = _slowest_at(seen, _reading)
    workers = min(_threads(rank), MOST_READERS_A_CORE * max(rank.threads, 1))
    if seen.cached or workers <= rank.workers:
        return "put the pictures on faster storage"
    return f"set workers to {workers}, since they wait at the same time; now it is {rank.workers}"


def _balance(seen: Profile, issue: Issue) -> str:
    slowest = max(seen.ranks, key=load_balancing.own)
    return f"look at what else runs on {slowest.host}, and whether all instances are of one type"


def _larger(seen: Profile, issue: Issue) -> str:
    return f"set batch_size to {2 * seen.batch_size}; now it is {seen.batch_size}"


def _outliers(seen: Profile, issue: Issue) -> str:
    slow = [each for rank in seen.ranks for each in rank.slow if each.phases]
    if not slow:
        return "look at what else runs on the instance"
    phases: dict[str, float] = {}
    for each in slow:
        for name, seconds in each.phases.items():
            phases[name] = phases.get(name, 0.0) + seconds
    longest = max(phases, key=lambda name: phases[name])
    return f"look at '{longest}', which the slowest steps spend most of their time in"


def _lost_in_steps(seen: Profile, issue: Issue) -> float:
    return max(step_outlier.outliers(rank, DEVIATIONS)[1] for rank in seen.ranks if rank.work) / 100


def _fixed(seen: Profile, issue: Issue) -> float:
    return issue.value / 100 * max(sum(rank.in_steps.values()) / rank.work for rank in seen.ranks if rank.work)


_CAUSES: dict[str, tuple[Callable[[Profile, Issue], float], Callable[[Profile, Issue], str]]] = {
    dataloader.NAME: (lambda seen, issue: max(_decoding(r) for r in seen.ranks if r.work), _decode_elsewhere),
    io_bottleneck.NAME: (lambda seen, issue: max(_reading(r) for r in seen.ranks if r.work), _read_elsewhere),
    load_balancing.NAME: (lambda seen, issue: issue.value, _balance),
    batch_size.NAME: (_fixed, _larger),
    step_outlier.NAME: (_lost_in_steps, _outliers),
    max_initialization_time.NAME: (
        lambda seen, issue: max(rank.of("initialisation") / rank.seconds for rank in seen.ranks),
        lambda seen, issue: "look at what is read and built before the first picture, and which instance started last",
    ),
    "CPUBottleneck": (
        lambda seen, issue: issue.value / 100,
        lambda seen, issue: "set workers to fewer, or store the pictures smaller",
    ),
    "LowGPUUtilization": (
        lambda seen, issue: 1 - issue.value / 100,
        lambda seen, issue: "take a larger batch, or an instance without a GPU",
    ),
    "GPUMemoryIncrease": (
        lambda seen, issue: 0.0,
        lambda seen, issue: "look for tensors that are kept from step to step",
    ),
}
