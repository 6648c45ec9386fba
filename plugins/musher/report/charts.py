"""The report's charts. Each function takes a part of the run record and returns an SVG element (report/drawing.py),
or None when there is nothing to draw.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from musher.record import (
    Autoscaling,
    Capacity,
    CapacityStep,
    Costs,
    Evaluation,
    Function,
    FunctionCost,
    LoadPhase,
    Release,
    ReleasePoint,
    Training,
    Tuning,
)
from musher.report.drawing import (
    BAD,
    CARD,
    FIRST,
    GRID,
    IN_AXES_X,
    IN_AXES_Y,
    INK,
    MUTED,
    SECOND,
    THIRD,
    WIDTH,
    drawing,
    latency_by_rate,
    legend,
    log_ticks,
)

# Of the release over time.
MOST_STRETCHES = 30
MOST_NAMED_CLASSES = 40
MOST_COUNTED_CLASSES = 15
LONGEST_TICK = 28


def tuning(part: Tuning) -> str | None:
    """Objective of each trial in the order they were started, and the best one so far."""
    trials = [(n, trial.objective, trial.status) for n, trial in enumerate(part.trials, start=1)]
    scored = [(n, objective, status) for n, objective, status in trials if objective is not None]
    if not scored:
        return None
    with drawing("Objective of each tuning trial", height=2.9) as (figure, drawn):
        axes = figure.subplots()
        best = [min(objective for _, objective, _ in scored[: i + 1]) for i in range(len(scored))]
        numbers = [n for n, _, _ in scored]
        axes.step(numbers, best, where="post", color=FIRST, label="best so far")
        for done, marker, label in ((True, "o", "trial"), (False, "x", "stopped early")):
            some = [(n, o) for n, o, status in scored if (status != "Stopped") == done]
            if some:
                axes.scatter(*zip(*some, strict=True), marker=marker, color=SECOND, s=34, zorder=3, label=label)
        axes.set(xlabel="trial", ylabel="validation loss")
        axes.set_xticks(numbers if len(numbers) <= 20 else numbers[:: len(numbers) // 10])
        axes.grid(axis="x", visible=False)
        legend(axes)
    return drawn[0]


def training(part: Training) -> str | None:
    """Wall and billed seconds of each training job."""
    jobs = [job for job in part.jobs if job.wall_seconds is not None]
    if not jobs:
        return None
    with drawing("Wall and billed seconds of training", height=0.75 + 0.62 * len(jobs)) as (figure, drawn):
        axes = figure.subplots()
        _two_bars_a_row(
            axes,
            {"wall": [job.wall_seconds for job in jobs], "billed": [job.billable_seconds for job in jobs]},
            "{:.0f} s",
        )
        axes.set_yticks(range(len(jobs)), [_instances(job.instances) for job in jobs])
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlabel("seconds")
        axes.grid(axis="y", visible=False)
        legend(axes)
    return drawn[0]


def confusion(part: Evaluation) -> str | None:
    """Confusion matrix: rows are true labels, the darker the larger the share of that label's pictures."""
    import numpy as np

    classes, rows = part.classes, part.confusion
    if not rows or any(len(row) != len(rows) for row in rows) or len(classes) != len(rows):
        return None
    counts = np.asarray(rows, dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = min(WIDTH, 3.2 + 0.4 * len(rows))
    with drawing("Confusion matrix", height=size * 0.86, width=size) as (figure, drawn):
        axes = figure.subplots()
        axes.grid(visible=False)
        if len(rows) <= MOST_NAMED_CLASSES:
            _confusion_cells(axes, shares)
        else:
            axes.imshow(np.stack([np.full_like(shares, c) for c in (0.23, 0.44, 0.83)] + [shares], axis=-1))
        names = [tick_label(label) for label in classes] if len(rows) <= MOST_NAMED_CLASSES else []
        axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel="predicted", ylabel="true", xlim=(-0.5, len(rows) - 0.5), ylim=(len(rows) - 0.5, -0.5))
        axes.set_aspect("equal")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        if len(rows) <= MOST_COUNTED_CLASSES:
            for (true, predicted), count in np.ndenumerate(counts):
                if count:
                    colour = CARD if shares[true, predicted] > 0.55 else INK
                    axes.text(predicted, true, f"{count:.0f}", ha="center", va="center", color=colour, fontsize=9)
    return drawn[0]


def _confusion_cells(axes: Any, shares: Any) -> None:
    from matplotlib.patches import Rectangle

    for true, row in enumerate(shares):
        for predicted, share in enumerate(row):
            right = FIRST if true == predicted else BAD
            colour, alpha = (right, 0.12 + 0.88 * share) if share else (GRID, 0.35)
            corner = (predicted - 0.48, true - 0.48)
            axes.add_patch(Rectangle(corner, 0.96, 0.96, color=colour, alpha=alpha, linewidth=0))


def capacity(part: Capacity) -> str | None:
    """Latency of one instance over the offered rate, with the limit and the highest rate within it."""

    def high(step: CapacityStep) -> float | None:
        return step.p99_ms or step.slowest_ms

    steps = sorted(filter(high, part.steps), key=lambda step: step.offered_rps)
    if not steps:
        return None
    with drawing("Latency of one instance over the offered rate", height=3.1) as (figure, drawn):
        axes = figure.subplots()
        upper = "p99" if all(step.p99_ms for step in steps) else "p99, or the slowest of fewer than 100"
        for value, colour, label in ((high, FIRST, upper), (lambda step: step.p50_ms, SECOND, "p50")):
            axes.plot([s.offered_rps for s in steps], list(map(value, steps)), color=colour, label=label)
        for ok, marker, colour, label in ((True, "o", FIRST, None), (False, "X", BAD, "not taken")):
            some = [(s.offered_rps, high(s)) for s in steps if s.ok == ok]
            if some:
                axes.scatter(*zip(*some, strict=True), color=colour, marker=marker, s=38, zorder=3, label=label)
        if highest := part.max_rps_per_instance:
            axes.axvline(highest, color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
            text = f"highest rate {highest:.3g}/s"
            axes.annotate(text, (highest, 1), (-4, -2), **IN_AXES_Y, ha="right", va="top", color=MUTED, fontsize=9)
        latency_by_rate(axes, part.latency_limit_ms)
    return drawn[0]


def scaling(part: Autoscaling) -> str | None:
    """Offered load above, desired and in-service instances below, over the seconds of the load test."""
    points = part.timeline
    if len(points) < 2:
        return None
    seconds = [point.seconds for point in points]
    with drawing("Offered load and instances over time", height=3.9) as (figure, drawn):
        load, instances = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1])
        offered = [point.offered_rps for point in points]
        load.fill_between(seconds, offered, step="post", color=FIRST, alpha=0.25, linewidth=0)
        load.step(seconds, offered, where="post", color=FIRST)
        load.set(ylabel="requests a second", ylim=(0, None))
        if target := part.target_value:
            load.axhline(target / 60, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            text = "scaling target of one instance"
            load.annotate(text, (1, target / 60), (0, 4), **IN_AXES_X, ha="right", color=MUTED, fontsize=9)
        for field, colour, style, label in (
            ("desired", SECOND, (0, (3, 2)), "desired"),
            ("in_service", FIRST, "-", "in service"),
        ):
            counts = [float("nan") if (n := getattr(point, field)) is None else n for point in points]
            instances.step(seconds, counts, where="post", color=colour, linestyle=style, label=label)
        most = max(1, *(count or 0 for point in points for count in (point.desired, point.in_service)))
        instances.set(ylabel="instances", xlabel="seconds", ylim=(0, most + 0.5), xlim=(seconds[0], seconds[-1]))
        instances.set_yticks(range(most + 1))
        for axes in (load, instances):
            axes.grid(axis="x", visible=False)
        legend(instances)
    return drawn[0]


def release(part: Release) -> str | None:
    """The new fleet's share of the answers above, both fleets' latency and the failures below, over the release."""
    points = _stretches(part.timeline)
    if len(points) < 2:
        return None
    seconds = [point.seconds for point in points]

    def values(field: str) -> list[float]:
        return [float("nan") if (value := getattr(point, field)) is None else value for point in points]

    with drawing("The release over time", height=3.9) as (figure, drawn):
        share, times = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1])
        percent = [100 * value for value in values("new_share")]
        share.fill_between(seconds, percent, step="post", color=FIRST, alpha=0.25, linewidth=0)
        share.step(seconds, percent, where="post", color=FIRST)
        share.set_yticks(range(0, 101, 25))
        share.set(ylabel="% to the new", ylim=(0, 104))
        for field, colour, label in (("old_ms", SECOND, "old"), ("new_ms", FIRST, "new")):
            times.plot(seconds, values(field), color=colour, marker="o", markersize=3, label=label)
        if failed := [point.seconds for point in points if point.failed]:
            times.scatter(failed, [0] * len(failed), color=BAD, marker="x", zorder=3, label="failures")
        times.set(ylabel="median latency (ms)", xlabel="seconds", ylim=(0, None), xlim=(seconds[0], seconds[-1]))
        for axes in (share, times):
            axes.grid(axis="x", visible=False)
        legend(times)
    return drawn[0]


def _stretches(points: Sequence[ReleasePoint]) -> list[ReleasePoint]:
    """At most MOST_STRETCHES of a release's points: several in a row as one, where each alone has few answers."""
    size = -(-len(points) // MOST_STRETCHES) or 1
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [
        ReleasePoint(
            seconds=group[0].seconds,
            new_share=_mean([(each.new_share, each.sent - each.failed) for each in group]),
            old_ms=_mean([(each.old_ms, each.sent) for each in group]),
            new_ms=_mean([(each.new_ms, each.sent) for each in group]),
            sent=sum(each.sent for each in group),
            failed=sum(each.failed for each in group),
        )
        for group in groups
    ]


def _mean(weighted: Sequence[tuple[float | None, int]]) -> float | None:
    """The mean of values by their weights; None without any."""
    known = [(value, weight) for value, weight in weighted if value is not None]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else None


def latency(phases: Sequence[LoadPhase], limit_ms: float | None) -> str | None:
    """p50, p95 and p99 of each phase on one line, with the limit."""
    measured = [phase for phase in phases if phase.p50_ms is not None]
    if not measured:
        return None
    with drawing("Latency of each load-test phase", height=1.1 + 0.42 * len(measured)) as (figure, drawn):
        axes = figure.subplots()
        for row, phase in enumerate(measured):
            axes.plot([phase.p50_ms, phase.p99_ms], [row, row], color=GRID, linewidth=5, solid_capstyle="round")
        for field, colour in (("p50_ms", SECOND), ("p95_ms", THIRD), ("p99_ms", FIRST)):
            places = range(len(measured))
            axes.scatter(
                [getattr(phase, field) for phase in measured], places, color=colour, s=52, zorder=3, label=field[:-3]
            )
        if limit_ms:
            axes.axvline(limit_ms, color=BAD, linewidth=1, linestyle=(0, (4, 3)))
            text = f"limit {limit_ms:g} ms"
            axes.annotate(text, (limit_ms, 0), (5, 4), **IN_AXES_Y, color=BAD, fontsize=9)
        axes.set_yticks(range(len(measured)), [words(phase.name) for phase in measured])
        axes.set_ylim(len(measured) - 0.5, -0.5)
        axes.set_xscale("log")
        log_ticks(axes.xaxis)
        axes.set_xlabel("latency from the scheduled time (ms)")
        axes.grid(axis="y", visible=False)
        legend(axes)
    return drawn[0]


def concurrency(phases: Sequence[LoadPhase], function: Function | None) -> str | None:
    """Calls offered at once and executions observed at once, against provisioned and reserved concurrency."""
    bursts = [phase for phase in phases if phase.offered_concurrency and phase.max_concurrency is not None]
    if not bursts:
        return None
    with drawing("Offered and observed concurrency", height=0.95 + 0.62 * len(bursts)) as (figure, drawn):
        axes = figure.subplots()
        offered = [phase.offered_concurrency for phase in bursts]
        observed = [phase.max_concurrency for phase in bursts]
        _two_bars_a_row(axes, {"offered": offered, "observed": observed}, "{:.0f}", colours=(SECOND, FIRST))
        for field in ("provisioned", "reserved") if function else ():
            value = getattr(function, field)
            axes.axvline(value, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            axes.annotate(field, (value, 1), (3, 3), **IN_AXES_Y, color=MUTED, fontsize=9)
        axes.set_yticks(range(len(bursts)), [words(phase.name) for phase in bursts])
        axes.invert_yaxis()
        axes.set_xlabel("calls at once")
        axes.margins(x=0.1)
        axes.grid(axis="y", visible=False)
        legend(axes)
    return drawn[0]


def costs(part: Costs) -> str | None:
    """USD of the same training on each path; those worked out are drawn as outlines."""
    paths = [path for path in part.per_path if path.usd is not None]
    if not paths:
        return None
    with drawing("Cost of the same training on each path", height=0.9 + 0.4 * len(paths)) as (figure, drawn):
        axes = figure.subplots()
        for measured, style, label in (
            (True, {"color": FIRST}, "measured"),
            (False, {"facecolor": "none", "edgecolor": FIRST, "hatch": "///"}, "worked out"),
        ):
            rows = [(row, path.usd) for row, path in enumerate(paths) if (path.basis == "measured") == measured]
            if rows:
                bars = axes.barh(*zip(*rows, strict=True), height=0.6, label=label, **style)
                texts = [f"${usd:.3g}" for _, usd in rows]
                axes.bar_label(bars, labels=texts, padding=4, color=INK, fontsize=9)
        axes.set_yticks(range(len(paths)), [path.path for path in paths])
        axes.set_ylim(len(paths) - 0.5, -0.5)
        axes.margins(x=0.12)
        axes.set_xlabel("USD")
        axes.grid(axis="y", visible=False)
        legend(axes)
    return drawn[0]


def break_even(function: FunctionCost) -> str | None:
    """1,000 calls with and without provisioned concurrency over the rate, and where the two meet."""
    points, without = function.curve, function.per_1000_usd
    if len(points) < 2:
        return None
    with drawing("Cost of 1,000 calls with and without provisioned concurrency", height=2.9) as (figure, drawn):
        axes = figure.subplots()
        rates = [point.calls_per_second for point in points]
        kept = [point.per_1000_provisioned_usd for point in points]
        axes.plot(rates, kept, color=FIRST, label="provisioned")
        axes.axhline(without, color=SECOND, label="without")
        if rate := function.break_even_calls_per_second:
            axes.axvline(rate, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            text = f"break-even {rate:.3g}/s"
            axes.annotate(text, (rate, 1), (-4, -2), **IN_AXES_Y, ha="right", va="top", color=MUTED, fontsize=9)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            log_ticks(axis)
        axes.set(xlabel="calls a second", ylabel="USD per 1,000 calls", xlim=(rates[0], rates[-1]))
        legend(axes)
    return drawn[0]


def words(name: Any) -> str:
    """`beyond_reserved` as a person writes it."""
    return str(name or "").replace("_", " ")


# Unicode's categories Cc and Cs, controls and surrogates. A page has thousands of texts: not a look-up a character.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    """A text on one line, of characters that SVG and HTML may hold."""
    # Spaces at the ends stay: a page's own text, such as a comma and a space, comes here too.
    line = re.sub(r"\s+", " ", text)
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", line)


def short_label(label: Any) -> str:
    """A class's folder name without its number: `017.Alaskan_malamute` is `Alaskan malamute`."""
    text = printable(str(label)).strip() or "\N{REPLACEMENT CHARACTER}"
    return words(re.sub(r"^\d+[.\-_ ]+", "", text)).strip() or text


def tick_label(label: Any) -> str:
    """`short_label`, short enough to leave room for the chart."""
    text = short_label(label)
    return text if len(text) <= LONGEST_TICK else text[: LONGEST_TICK - 1] + "…"


def _two_bars_a_row(
    axes: Any, values: Mapping[str, Sequence[float]], text: str, colours: Sequence[str] = (FIRST, SECOND)
) -> None:
    """Two bars one below the other in each row: label to values, each with its figure behind it."""
    for offset, colour, (label, row) in zip((-0.18, 0.18), colours, values.items(), strict=True):
        bars = axes.barh([i + offset for i in range(len(row))], row, height=0.32, color=colour, label=label)
        axes.bar_label(bars, labels=[text.format(value) for value in row], padding=4, color=INK, fontsize=9)


def _instances(count: Any) -> str:
    return f"{count} instance{'' if count == 1 else 's'}"
