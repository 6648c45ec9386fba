"""The test of two samples, against SciPy's and against what it promises."""

from __future__ import annotations

import random

import pytest
from musher.page import samples


@pytest.mark.parametrize(("n", "m"), [(6, 7), (30, 48), (47, 200), (400, 600)])
def test_it_is_scipys(n, m):
    from scipy.stats import ks_2samp

    chance, exact = random.Random(n), n * m <= samples.EXACT
    for shift in (0, 0.1, 0.5):
        a, b = [chance.random() for _ in range(n)], [chance.random() + shift for _ in range(m)]
        known = ks_2samp(a, b, method="exact")
        d = samples.distance(a, b)
        assert d == pytest.approx(known.statistic)
        assert samples.chance(d, n, m) == pytest.approx(known.pvalue, rel=1e-6, abs=1e-9 if exact else 0.02)


def test_equal_numbers_make_it_no_surer():
    a, b = [1.0] * 30 + [0.5] * 2, [1.0] * 48
    assert samples.distance(a, b) == pytest.approx(2 / 32)
    assert samples.chance(2 / 32, 32, 48) > 0.99


def test_of_samples_of_one_kind_one_in_a_hundred_is_called_different():
    chance, wrong, times = random.Random(0), 0, 400
    for _ in range(times):
        a, b = ([chance.betavariate(8, 1) for _ in range(count)] for count in (30, 48))
        wrong += samples.chance(samples.distance(a, b), 30, 48) < 0.01
    # Of 400, up to 11 with 99.9 % (binomial).
    assert wrong <= 11


def test_the_least_distance_is_where_the_chance_reaches_the_level():
    for n, m in ((30, 48), (100, 300)):
        assert samples.chance(samples.least(n, m, 0.01), n, m) <= 0.01
        assert samples.chance(samples.least(n, m, 0.01) - 0.06, n, m) > 0.01
    assert samples.least(3, 3, 0.01) == 1.0
