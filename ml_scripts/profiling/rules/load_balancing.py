"""AWS: the load is not balanced between GPUs, by more than ``threshold``.

AWS compares histograms of their use; here processes say themselves what they do, with or without a GPU: compared is
their work without the exchange, in which the faster ones wait. ``least_seconds`` of difference is this project's.
"""

from profiling.recorded import Profile, Rank
from profiling.rule import Issue, NotApplicable, profiler_rule, worked

NAME = "LoadBalancing"


def own(rank: Rank) -> float:
    """The seconds in which a process worked itself."""
    return rank.work - rank.of("exchange")


@profiler_rule(
    NAME,
    threshold=0.5,
    least_seconds=0.0,
    here={"threshold": 0.35, "least_seconds": 1.0},
    advice="look at what else runs on the slow instance, and whether all are of one type",
)
def check(seen: Profile, threshold: float, least_seconds: float) -> Issue | None:
    """Whether one process works longer than the others, which wait for it."""
    ranks = worked(seen)
    if seen.world == 1:
        raise NotApplicable("one process has nobody to wait for")
    if seen.missing:
        raise NotApplicable(f"the profile of process {seen.missing[0]} is missing")
    slowest, fastest = max(ranks, key=own), min(ranks, key=own)
    difference = own(slowest) - own(fastest)
    share = difference / own(slowest)
    if share <= threshold or difference < least_seconds:
        return None
    return Issue(
        f"process {slowest.rank} on {slowest.host} worked {own(slowest):.3g} s, process {fastest.rank} on "
        f"{fastest.host} did as much in {own(fastest):.3g} s and waited for it",
        share,
        threshold,
        len(slowest.durations),
    )
