"""AWS: more than ``n_outliers`` steps take longer than the mean and ``stddev`` standard deviations.

Some always do: this project's ``lost_percent`` is what they have to cost, as a share of the process's work, beyond what
a usual (the median) step takes. The first steps, which allocate, are left out.
"""

import math
from bisect import bisect_right
from statistics import fmean, median

from profiling.recorded import Profile, Rank
from profiling.rule import Issue, NotApplicable, profiler_rule, worked

NAME = "StepOutlier"
WARMING_UP = 3
LEAST = 20


def outliers(rank: Rank, deviations: float) -> tuple[int, float]:
    """How many steps are beyond so many standard deviations, and the percentage of the work that they lost."""
    durations = sorted(rank.durations[WARMING_UP:])
    if not durations:
        return 0, 0.0
    mean = fmean(durations)
    # statistics.pstdev reckons with fractions, and takes thirty times as long.
    limit = mean + deviations * math.dist(durations, [mean] * len(durations)) / math.sqrt(len(durations))
    beyond = durations[bisect_right(durations, limit) :]
    return len(beyond), 100 * (sum(beyond) - len(beyond) * median(durations)) / rank.work


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
