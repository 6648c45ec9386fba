"""The charts of a comparison of two models, drawn as the report draws."""

from __future__ import annotations

import math

from musher.record import ModelComparison
from musher.report.drawing import FIRST, GRID, MUTED, SECOND, drawing, latency_by_rate


def by_rate(part: ModelComparison) -> str | None:
    """p50 and p99 of both models over the offered rate, with the limit."""
    rates = part.by_rate
    if not rates:
        return None
    with drawing("Latency of both models over the offered rate", height=3.3) as (figure, drawn):
        axes = figure.subplots()
        for variant, colour in (("a", SECOND), ("b", FIRST)):
            for field, style, marker in (("p99_ms", "-", "o"), ("p50_ms", (0, (3, 2)), ".")):
                points = [(each.rps, getattr(each, field)[variant]) for each in rates]
                known = [(rps, ms) for rps, ms in points if ms]
                if known:
                    label = f"{variant}, {field.removesuffix('_ms')}"
                    axes.plot(*zip(*known, strict=True), color=colour, linestyle=style, marker=marker, label=label)
        for model, colour in ((part.a, SECOND), (part.b, FIRST)):
            if model.capacity_rps:
                axes.axvline(model.capacity_rps, color=colour, linewidth=1, linestyle=(0, (1, 2)))
        latency_by_rate(axes, part.latency_limit_ms)
    return drawn[0]


def differences(part: ModelComparison) -> str | None:
    """Each ratio of b to a with its interval, on a logarithmic axis, and the band that is called noise."""
    known = [each for each in part.differences if each.is_ratio and not each.missing]
    if not known:
        return None
    with drawing("How b differs from a", height=1.0 + 0.5 * len(known)) as (figure, drawn):
        axes = figure.subplots()
        edge = math.log1p(part.margin)
        axes.axvspan(-edge, edge, color=GRID, alpha=0.6, linewidth=0)
        axes.axvline(0, color=MUTED, linewidth=1)
        for row, each in enumerate(known):
            middle, low, high, smallest = (
                math.log(value) for value in (each.difference, each.low, each.high, each.smallest)
            )
            axes.plot([-smallest, smallest], [row, row], color=GRID, linewidth=5, solid_capstyle="butt", zorder=1)
            colour = {"a": SECOND, "b": FIRST}.get(each.better or "", MUTED)
            axes.plot([low, high], [row, row], color=colour, marker="|", zorder=2)
            axes.scatter([middle], [row], color=colour, s=38, zorder=3)
        axes.set_yticks(range(len(known)), [each.name for each in known])
        axes.invert_yaxis()
        widest = max(abs(math.log(value)) for each in known for value in (each.low, each.high, each.smallest))
        ticks = [value for value in _TICKS if abs(math.log(value)) <= widest * 1.05]
        axes.set_xticks([math.log(value) for value in ticks], [f"{value:g}×" for value in ticks])
        axes.set(xlabel="b to a", xlim=(-1.1 * widest, 1.1 * widest), ylim=(len(known) - 0.5, -0.5))
        axes.grid(axis="y", visible=False)
    return drawn[0]


_TICKS = (0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 5, 10)
