"""The charts of where a training job's time went."""

from __future__ import annotations

from collections.abc import Mapping

from musher.record import JobProfile, ProfiledHost, ProfiledRank
from musher.report.drawing import BAD, FIRST, MUTED, SECOND, THIRD, drawing, legend

# What is drawn in one colour, in the order of the bars: label, colour, how deep, phases.
PARTS = (
    ("initialisation", MUTED, 0.35, ("initialisation",)),
    ("waiting for data", SECOND, 1.0, ("read", "decode", "wait")),
    ("transfer", SECOND, 0.45, ("transfer",)),
    ("features", FIRST, 0.3, ("features",)),
    ("forward", FIRST, 0.6, ("forward",)),
    ("backward", FIRST, 1.0, ("backward", "device")),
    ("exchange", BAD, 0.8, ("exchange",)),
    ("optimiser", THIRD, 1.0, ("optimiser",)),
    ("validation", THIRD, 0.45, ("validation",)),
    ("other", MUTED, 0.8, ("checkpoint", "diagnostics", "other")),
)
MOST_RANKS, MOST_HOSTS = 16, 4
USE = (("cpu", FIRST, "CPUs"), ("io_wait", BAD, "waiting for a disk"), ("memory", MUTED, "memory"),
       ("gpu", SECOND, "GPUs"), ("gpu_memory", THIRD, "GPU memory"))  # fmt: skip


def times(job: JobProfile) -> str | None:
    """The time of each process as one bar, and below it that of its mean training step; None without any."""
    ranks = [rank for rank in job.ranks if rank.phases][:MOST_RANKS]
    if not ranks:
        return None
    whole = {f"{rank.host}, {rank.rank}": rank.phases for rank in ranks}
    steps = {
        f"{rank.host}, {rank.rank}": {
            name: 1000 * seconds / rank.steps.count for name, seconds in rank.in_steps.items()
        }
        for rank in ranks
        if rank.steps.count
    }
    bars = [(whole, "seconds of the whole job"), *([(steps, "milliseconds of a training step")] if steps else [])]
    with drawing(f"Where the time of {job.job} went", height=0.5 + len(bars) * (0.6 + 0.34 * len(ranks))) as (
        figure,
        drawn,
    ):
        for number, (rows, label) in enumerate(bars):
            axes = figure.add_subplot(len(bars), 1, number + 1)
            _stacked(axes, rows)
            axes.set_xlabel(label)
            axes.grid(axis="y", visible=False)
            axes.invert_yaxis()
        handles = {
            label: handle
            for axes in figure.axes
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        names = [name for name, *_ in PARTS if name in handles]
        figure.legend([handles[name] for name in names], names, loc="outside upper right", ncols=5, fontsize=9)
    return drawn[0]


def _of_a_step(rank: ProfiledRank) -> dict[str, float]:
    return {name: 1000 * seconds / rank.steps.count for name, seconds in rank.in_steps.items()}


def _stacked(axes, rows: Mapping[str, Mapping[str, float]]) -> None:
    left = [0.0] * len(rows)
    for label, colour, depth, phases in PARTS:
        widths = [sum(row.get(name, 0.0) for name in phases) for row in rows.values()]
        if not any(widths):
            continue
        axes.barh(list(rows), widths, left=left, height=0.62, color=colour, alpha=depth, label=label)
        left = [start + width for start, width in zip(left, widths, strict=True)]


def use(job: JobProfile) -> str | None:
    """How much of each instance was used over time, and what its disks and network carried; None without samples."""
    hosts = [host for host in job.hosts if host.samples.get("seconds")][:MOST_HOSTS]
    if not hosts:
        return None
    with drawing(f"Use of the instances of {job.job}", height=0.4 + 2.2 * len(hosts)) as (figure, drawn):
        rows = figure.subplots(len(hosts), 2, squeeze=False)
        for (percent, carried), host in zip(rows, hosts, strict=True):
            _host(percent, carried, host)
    return drawn[0]


def _host(percent, carried, host: ProfiledHost) -> None:
    seconds = host.samples["seconds"]
    for name, colour, label in USE:
        if any(host.samples.get(name, ())):
            percent.plot(seconds, host.samples[name], color=colour, label=label)
    percent.set(ylim=(0, 105), ylabel=f"{host.name}: percent", xlabel="seconds")
    for names, colour, label in ((("disk_read", "disk_written"), FIRST, "disks"),
                                 (("network_received", "network_sent"), SECOND, "network")):  # fmt: skip
        rows = [host.samples[name] for name in names if name in host.samples]
        if rows:
            carried.plot(seconds, [sum(row) for row in zip(*rows, strict=True)], color=colour, label=label)
    carried.set(ylim=(0, None), ylabel="MB a second", xlabel="seconds")
    for axes in (percent, carried):
        axes.grid(axis="x", visible=False)
        if axes.get_legend_handles_labels()[0]:
            legend(axes)
