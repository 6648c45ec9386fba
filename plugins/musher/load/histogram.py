"""Latency percentiles by HdrHistogram: three significant digits from a microsecond to ten minutes, in fixed memory."""

from __future__ import annotations

from collections.abc import Iterable

from hdrh.histogram import HdrHistogram

LONGEST_SECONDS = 600
_PER_SECOND = 1_000_000


def histogram(seconds: Iterable[float]) -> HdrHistogram:
    """Histogram, in microseconds, of durations in seconds; a longer one than `LONGEST_SECONDS` counts as that."""
    recorded = HdrHistogram(1, LONGEST_SECONDS * _PER_SECOND, 3)
    for value in seconds:
        recorded.record_value(min(max(1, round(value * _PER_SECOND)), LONGEST_SECONDS * _PER_SECOND))
    return recorded


def percentiles_ms(seconds: Iterable[float], *percentiles: float) -> list[float | None]:
    """The given percentiles of durations in seconds, in milliseconds; None for each when there are no durations."""
    recorded = histogram(seconds)
    if not recorded.get_total_count():
        return [None] * len(percentiles)
    return [round(recorded.get_value_at_percentile(wanted) / 1000, 3) for wanted in percentiles]
