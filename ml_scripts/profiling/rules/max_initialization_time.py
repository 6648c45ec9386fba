"""AWS: the initialisation took more than ``threshold`` minutes.

That is the time of a process until it looks at its first picture, waiting for the other processes to start in it.
"""

from profiling.recorded import Profile
from profiling.rule import Issue, NotApplicable, profiler_rule

NAME = "MaxInitializationTime"


@profiler_rule(
    NAME,
    threshold=20.0,
    here={"threshold": 5.0},
    advice="look at what is read and built before the first picture, and which instance started last",
)
def check(seen: Profile, threshold: float) -> Issue | None:
    """Whether the training was long in coming to its work."""
    if not seen.ranks:
        raise NotApplicable("no process was recorded")
    # The last one to start is the one that did not wait for others.
    rank = max(seen.ranks, key=lambda each: each.of("initialisation"))
    minutes = rank.of("initialisation") / 60
    if minutes <= threshold:
        return None
    return Issue(
        f"process {rank.rank} on {rank.host} came to its first picture after {minutes:.3g} minutes",
        minutes,
        threshold,
        0,
    )
