"""How the report's charts are drawn: as inline SVG in the page's own colours.

Colours are the page's: matplotlib draws with the stand-ins of `_COLOURS`, which are then replaced by the page's CSS
variables, so that one SVG reads well on a light and on a dark page. Text stays text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

INK, MUTED, GRID = "#010101", "#020202", "#030303"
FIRST, SECOND, THIRD, BAD, CARD = "#040404", "#050505", "#060606", "#070707", "#080808"
_COLOURS = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    FIRST: "--first",
    SECOND: "--second",
    THIRD: "--third",
    BAD: "--bad",
    CARD: "--card",
}
_STAND_IN = re.compile("|".join(_COLOURS))
WIDTH = 9.6

_STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.parse_math": False,  # a class may be called $\frac{a}$
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "figure.facecolor": "none",
    "lines.linewidth": 1.8,
}

IN_AXES_X = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
IN_AXES_Y = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}


def log_ticks(axis: Any) -> None:
    """1, 2, 5, 10, 20, 50...: a latency axis seldom spans enough decades for powers of ten alone."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def legend(axes: Any) -> None:
    """Above the plot, at the right: it hides nothing there."""
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, fontsize=9, borderaxespad=0.2, handlelength=1.4)


def latency_by_rate(axes: Any, limit: float | None) -> None:
    """Axes for latency in milliseconds, on a logarithmic scale, over the offered rate, with the limit, if any."""
    if limit:
        axes.axhline(limit, color=BAD, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(f"limit {limit:g} ms", (0, limit), (4, 4), **IN_AXES_X, color=BAD, fontsize=9)
    axes.set_yscale("log")
    log_ticks(axes.yaxis)
    axes.set(xlabel="offered requests a second", ylabel="latency (ms)", xlim=(0, None))
    axes.grid(axis="x", visible=False)
    legend(axes)


@contextmanager
def drawing(title: str, *, height: float, width: float = WIDTH) -> Iterator[tuple[Any, list[str]]]:
    """A figure to draw on; its SVG is in the list once the block is left."""
    import matplotlib
    from matplotlib.figure import Figure

    drawn: list[str] = []
    # the salt keeps ids of different charts on one page apart, and makes the same chart the same text every time
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": title}):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, drawn
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawn.append(_inline(buffer.getvalue(), title))


def _inline(svg: str, title: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' width="[\d.]+pt"| height="[\d.]+pt"', "", svg, count=2)
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg).group(1))
    svg = re.sub(r"<[^>]*>", _with_variables, svg)
    style = f"--wide:{width * 96 / 72:.0f}px"
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" style="{style}" ', 1)


def _with_variables(tag: re.Match[str]) -> str:
    return _STAND_IN.sub(lambda found: f"var({_COLOURS[found[0]]})", tag[0])
