"""How much a share says that was counted on few pictures."""

import math
from functools import cache
from statistics import NormalDist


@cache
def _deviations(certainty: float) -> float:
    return NormalDist().inv_cdf(certainty)


def bounds(count: int, of: int, certainty: float) -> tuple[float, float]:
    """Below and above which the true share is not, with this certainty on either side; 0.5 takes it as counted.

    Wilson's score interval (Wilson, 1927).
    """
    z = _deviations(certainty)
    share = count / of
    middle = share + z * z / (2 * of)
    reach = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return (middle - reach) / (1 + z * z / of), (middle + reach) / (1 + z * z / of)
