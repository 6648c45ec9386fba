"""Metric data: what is put, kept in buckets of ten AWS seconds, and the statistics over longer periods.

Every value goes into exactly one bucket, and a period of n x 10 AWS seconds is exactly n buckets, so that a sum over an
interval is the sum of what was put, whatever period it is asked in. Percentiles are exact up to `MOST_DISTINCT`
different values a bucket and within half a per cent beyond. A day's worth of AWS minutes is kept.
"""

from __future__ import annotations

import bisect
import math
import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from local_aws.clock import Clock

RESOLUTION = 10
KEPT_BUCKETS = 24 * 60 * 60 // RESOLUTION
MOST_DISTINCT = 256
MOST_SERIES = 20_000
# Values are rounded to steps of this ratio once a bucket has too many different ones.
RATIO = math.log(1.01)

Key = tuple[str, str, tuple[tuple[str, str], ...]]
SIMPLE = ("SampleCount", "Sum", "Average", "Minimum", "Maximum")
PERCENTILE = re.compile(r"p(100|\d{1,2})(\.\d{1,10})?$")


class Bucket:
    """What was put within one stretch of time."""

    __slots__ = ("count", "counts", "maximum", "minimum", "rounded", "total")

    def __init__(self) -> None:
        self.count = 0.0
        self.total = 0.0
        self.minimum = math.inf
        self.maximum = -math.inf
        self.counts: dict[float, float] = {}
        self.rounded = False

    def add(self, value: float, count: float = 1.0) -> None:
        self.count += count
        self.total += value * count
        self.minimum = min(self.minimum, value)
        self.maximum = max(self.maximum, value)
        self._keep(value, count)

    def merge(self, other: Bucket) -> None:
        self.count += other.count
        self.total += other.total
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        for value, count in other.counts.items():
            self._keep(value, count)

    def add_set(self, count: float, total: float, minimum: float, maximum: float) -> None:
        """A StatisticSet: its inner values are unknown, so percentiles see its average."""
        self.count += count
        self.total += total
        self.minimum = min(self.minimum, minimum)
        self.maximum = max(self.maximum, maximum)
        if count:
            self._keep(total / count, count)

    def statistic(self, name: str) -> float:
        """One of SIMPLE or pNN. Raises ValueError for anything else."""
        if name in SIMPLE:
            return {
                "SampleCount": self.count,
                "Sum": self.total,
                "Average": self.total / self.count if self.count else 0.0,
                "Minimum": self.minimum,
                "Maximum": self.maximum,
            }[name]
        if not PERCENTILE.match(name):
            raise ValueError(
                f"The value {name} for the statistic is not supported: it must be {', '.join(SIMPLE)} or pNN."
            )
        return self._percentile(float(name[1:]))

    def _percentile(self, share: float) -> float:
        rank, seen = share / 100 * self.count, 0.0
        for value in sorted(self.counts):
            seen += self.counts[value]
            if seen >= rank:
                return min(max(value, self.minimum), self.maximum)
        return self.maximum

    def _keep(self, value: float, count: float) -> None:
        if self.rounded:
            value = _rounded(value)
        counts = self.counts
        counts[value] = counts.get(value, 0.0) + count
        if len(counts) > MOST_DISTINCT and not self.rounded:
            self.rounded = True
            self.counts = {}
            for kept, kept_count in counts.items():
                step = _rounded(kept)
                self.counts[step] = self.counts.get(step, 0.0) + kept_count


class Series:
    """One metric with one set of dimensions."""

    __slots__ = ("buckets", "last", "order", "unit")

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.buckets: dict[int, Bucket] = {}
        self.order: list[int] = []
        self.last = 0.0

    def bucket(self, index: int) -> Bucket:
        found = self.buckets.get(index)
        if found is None:
            found = self.buckets[index] = Bucket()
            bisect.insort(self.order, index)
            while self.order[-1] - self.order[0] >= KEPT_BUCKETS:
                del self.buckets[self.order.pop(0)]
        return found


@dataclass(frozen=True)
class Point:
    """One period's data: `start` is real Unix seconds."""

    start: float
    bucket: Bucket


class Metrics:
    """All series of one account and region; safe from many threads, a few microseconds a value.

    Nothing is recorded while `lock` is held.

    Parameters
    ----------
    clock
        Periods are AWS seconds on it; time stamps are real.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._width = clock.real(RESOLUTION)
        # AWS keeps data of the same name and dimensions apart by their unit.
        self._series: dict[tuple[Key, str], Series] = {}
        self._units: dict[Key, list[str]] = {}
        self.lock = threading.Lock()

    def remember(self) -> dict[str, Any]:
        """All data, and how long a bucket of it lasts; it may be read while `lock` is held."""
        return {"width": self._width, "series": self._series}

    def restore(self, kept: dict[str, Any]) -> None:
        """Put back what `remember` gave; where an AWS minute lasted longer or shorter then, in the buckets of now."""
        width: float = kept["width"]
        for key, old in kept["series"].items():
            key = key[0] if len(key) == 2 else key  # states of before have one unit for each
            if width == self._width:
                self._series[key, old.unit] = old
                self._units.setdefault(key, []).append(old.unit)
                continue
            new = self._new(key, old.unit)
            for index, bucket in sorted(old.buckets.items()):
                new.bucket(math.floor((index + 0.5) * width / self._width)).merge(bucket)
            new.last = old.last

    def put(self, key: Key, value: float, unit: str, at: float | None, count: float = 1.0) -> None:
        """Record a value, `count` times."""
        at = time.time() if at is None else at
        with self.lock:
            self._bucket(key, unit, at).add(value, count)

    def put_set(self, key: Key, unit: str, at: float, count: float, total: float, low: float, high: float) -> None:
        """Record a StatisticSet."""
        with self.lock:
            self._bucket(key, unit, at).add_set(count, total, low, high)

    def points(self, key: Key, period: int, start: float, end: float, unit: str | None = None) -> list[Point]:
        """The data of the periods that begin within [start rounded down to a period, end), oldest first.

        Without a unit they are those of all units together.
        """
        per = max(1, math.ceil(period / RESOLUTION))
        length = per * self._width
        first = math.floor(start / length + 1e-9) * per
        last = math.ceil(end / length - 1e-9) * per
        merged: dict[int, Bucket] = {}
        with self.lock:
            for each in self._units.get(key, ()) if unit is None else (unit,):
                series = self._series.get((key, each))
                if series is None:
                    continue
                low, high = bisect.bisect_left(series.order, first), bisect.bisect_left(series.order, last)
                for index in series.order[low:high]:
                    merged.setdefault(index // per, Bucket()).merge(series.buckets[index])
        return [Point(index * length, bucket) for index, bucket in sorted(merged.items())]

    def units(self, key: Key) -> list[str]:
        """The units that a metric has data in."""
        with self.lock:
            return list(self._units.get(key, ()))

    def keys(self, newer_than: float = 0.0) -> list[Key]:
        """Every series that was written to since a time."""
        with self.lock:
            return list(dict.fromkeys(key for (key, _), each in self._series.items() if each.last >= newer_than))

    def _bucket(self, key: Key, unit: str, at: float) -> Bucket:
        series = self._series.get((key, unit)) or self._new(key, unit)
        series.last = max(series.last, at)
        return series.bucket(math.floor(at / self._width))

    def _new(self, key: Key, unit: str) -> Series:
        if len(self._series) >= MOST_SERIES:
            oldest = min(self._series, key=lambda each: self._series[each].last)
            del self._series[oldest]
            self._units[oldest[0]].remove(oldest[1])
        self._units.setdefault(key, []).append(unit)
        series = self._series[key, unit] = Series(unit)
        return series


def key_of(namespace: str, metric: str, dimensions: Mapping[str, str] | Iterable[Mapping[str, str]] | None) -> Key:
    """The key of a series from its dimensions, as a mapping or as the API's list of Name and Value."""
    if not dimensions:
        return namespace, metric, ()
    if isinstance(dimensions, Mapping):
        return namespace, metric, tuple(sorted(dimensions.items()))
    return namespace, metric, tuple(sorted((each["Name"], each["Value"]) for each in dimensions))


def _rounded(value: float) -> float:
    if value == 0:
        return 0.0
    size = math.exp(RATIO * round(math.log(abs(value)) / RATIO))
    return math.copysign(size, value)
