"""AWS: more than ``n_outliers`` steps take longer than the mean and ``stddev`` standard deviations.

Some always do: this project's ``lost_percent`` is what they have to cost, as a share of the process's work, beyond what
a usual (the median) step takes. The first steps, which allocate, are left out.
"""

import numpy

from profiling.recorded import Profile, Rank
from profiling.rule import Issue, NotApplicable, profiler_rule, worked

NAME = "StepOutlier"
WARMING_UP = 3
LEAST = 20


def outliers(rank: Rank, deviations: float) -> tuple[int, float]:
    """How many steps are beyond so many standard deviations, and the percentage of the work that they lost."""
    durations = numpy.array(rank.durations)[WARMING_UP:]
    if not len(durations):
        return 0, 0.0
    beyond = durations[durations > durations.mean() + deviations * durations.std()]
    return len(beyond), float(100 * (beyond - numpy.median(durations)).sum() / rank.work)


@profiler_rule(
    NAME,
    stddev=3.0,
    n_outliers=10,
    lost_percent=0.0,
    here={"lost_percent": 20.0},
    advice="look at what else runs on the instance, and at what the slowest steps did",
)
def check(seen: Profile, stddev: float, n_outliers: int, lost_percent: float) -> Issue | None:
    """Whether some steps take much longer than the others."""
    ranks = [rank for rank in worked(seen) if len(rank.durations) >= LEAST + WARMING_UP]
    if not ranks:
        raise NotApplicable(f"there were less than {LEAST + WARMING_UP} steps")
    for rank in ranks:
        count, lost = outliers(rank, stddev)
        if count > n_outliers and lost > lost_percent:
            worst = max((slow for slow in rank.slow), key=lambda slow: slow.seconds)
            return Issue(
                f"{count} of {len(rank.durations)} steps of process {rank.rank} on {rank.host} took longer than the "
                f"mean and {stddev:g} standard deviations, which is {lost:.3g} % of its time; the slowest took "
                f"{worst.seconds:.3g} s",
                count,
                n_outliers,
                worst.step,
            )
    return None
