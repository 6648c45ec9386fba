"""Whether two samples may be of one kind: Kolmogorov and Smirnov's test, exact where a sample is small.

By hand, since SciPy takes a second and 60 MB, which Airflow's API server has better uses for; a test holds it against
scipy.stats.ks_2samp.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import exp, log, sqrt

# Up to so many pairs of one of each: 50 ms.
EXACT = 100_000


def distance(a: Sequence[float], b: Sequence[float]) -> float:
    """The largest difference between the shares of two samples that are at most as large as any number."""
    first, second = sorted(a), sorted(b)
    return max(abs(bisect_right(first, at) / len(first) - bisect_right(second, at) / len(second)) for at in {*a, *b})


def chance(d: float, n: int, m: int) -> float:
    """How likely samples of n and m of one kind are at least as far apart as d. With equal numbers in them it is less:
    such samples are called different too seldom."""
    if n * m > EXACT:
        # Kolmogorov's limit; below 0.3 the sum converges slowly, to 1.
        x = d * sqrt(n * m / (n + m))
        return 1.0 if x < 0.3 else min(1.0, 2 * sum((-1) ** (k - 1) * exp(-2 * (k * x) ** 2) for k in range(1, 101)))
    # Mixed and sorted, the two are a path of n steps up and m to the right, each path as likely as any other: of those
    # to a point i/(i+j) come from below. How likely is one that has never been d away from the diagonal?
    near = d - 1e-9
    row = [1.0 if j / m < near else 0.0 for j in range(m + 1)]
    for j in range(1, m + 1):
        row[j] *= row[j - 1]
    for i in range(1, n + 1):
        up = i / n
        row[0] = row[0] if up < near else 0.0
        for j in range(1, m + 1):
            row[j] = (i * row[j] + j * row[j - 1]) / (i + j) if abs(up - j / m) < near else 0.0
    return 1.0 - row[m]


def least(n: int, m: int, level: float) -> float:
    """The distance from which on samples of n and m are called different at a level, about; at most 1."""
    return min(1.0, sqrt(-log(level / 2) / 2 * (n + m) / (n * m)))
