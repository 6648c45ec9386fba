"""The curves of a training job, with the moments at which rules found something."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from musher.record import DiagnosedJob, RuleOutcome
from musher.report.drawing import BAD, FIRST, IN_AXES_Y, MUTED, SECOND, THIRD, drawing, legend

MOST_NAMED = 4


def curves(job: DiagnosedJob) -> str | None:
    """Loss above, mean gradient and largest ratio of update to weight below, over the steps; None without any."""
    if not job.steps and not job.epochs:
        return None
    with drawing(f"Loss and gradient of {job.job}", height=3.9) as (figure, drawn):
        loss, gradient = figure.subplots(2, 1, sharex=True, height_ratios=[1.2, 1])
        ends = [each.epoch * (job.steps_per_epoch or 1) for each in job.epochs]
        _line(loss, [each.step for each in job.steps], [each.loss for each in job.steps], MUTED, "loss of a step", ".")
        _line(loss, ends, [each.train_loss for each in job.epochs], SECOND, "training loss", "o")
        _line(loss, ends, [each.valid_loss for each in job.epochs], FIRST, "validation loss", "o")
        loss.set(ylabel="loss")
        _scaled(loss, [each.train_loss for each in job.epochs], [each.loss for each in job.steps])
        steps = [each.step for each in job.steps]
        _line(gradient, steps, [each.gradient_mean for each in job.steps], THIRD, "mean gradient", ".")
        _line(gradient, steps, [each.update_ratio for each in job.steps], FIRST, "largest update ÷ weight", ".")
        if any(_positive(each.gradient_mean) or _positive(each.update_ratio) for each in job.steps):
            _logarithmic(gradient)
        gradient.set(xlabel="step")
        gradient.xaxis.get_major_locator().set_params(integer=True)
        for axes in (loss, gradient):
            axes.grid(axis="x", visible=False)
        for step, names in _moments(job.rules):
            for axes in (loss, gradient):
                axes.axvline(step, color=BAD, linewidth=1, linestyle=(0, (4, 3)))
            loss.annotate(names, (step, 1), (4, -2), **IN_AXES_Y, va="top", color=BAD, fontsize=9)
        for axes in (loss, gradient):
            if axes.get_legend_handles_labels()[0]:
                legend(axes)
    return drawn[0]


def _moments(rules: Iterable[RuleOutcome]) -> list[tuple[int, str]]:
    """The steps at which rules fired, each with their names below each other."""
    found: dict[int, list[str]] = {}
    for each in rules:
        if each.fired and each.step is not None:
            found.setdefault(each.step, []).append(each.rule)
    lines, above = [], 0
    for step, names in sorted(found.items()):
        named = [*names[:MOST_NAMED], *([f"and {len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else [])]
        # Below those of the moments before it, which may be near.
        lines.append((step, "\n" * above + "\n".join(named)))
        above += len(named)
    return lines


def _line(axes: Any, x: Sequence[int], y: Sequence[float | None], colour: str, label: str, marker: str) -> None:
    points = [(a, b) for a, b in zip(x, y, strict=True) if b is not None and math.isfinite(b)]
    if points:
        axes.plot(*zip(*points, strict=True), color=colour, label=label, marker=marker, markersize=4)


def _scaled(axes: Any, *values: Sequence[float | None]) -> None:
    """A logarithmic scale where losses differ by more than a hundred times, as they do where a training explodes."""
    known = [each for row in values for each in row if _positive(each)]
    if known and max(known) > 100 * min(known):
        _logarithmic(axes)


def _logarithmic(axes: Any) -> None:
    """Powers of ten, of which gradients span many; where they span few, what lies between them as well."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < 100 * low:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _positive(value: float | None) -> bool:
    return value is not None and value > 0
