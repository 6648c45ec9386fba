"""The report as one HTML file: no script, no network, readable from a mail attachment."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from musher.record import Evaluation, Part, RunRecord
from musher.report import charts, comparison_charts, diagnostics, profile
from musher.report.summary import RunOutcome, key_figures, outcome

_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+")
_NONE = "–"
# A right answer with less than this is called unsure.
SURE = 0.9


@functools.cache
def templates(folder: Path = Path(__file__).parent) -> Any:
    """The pages of a folder, with what writes figures for people; nothing they are given is trusted as HTML."""
    from jinja2 import ChainableUndefined, Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=ChainableUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "setting": setting,
        "percent": percent,
        "points": points,
        "usd": usd,
        "moment": moment,
        "words": charts.words,
        "label": charts.short_label,
    }
    return environment


def _shown(value: Any) -> Any:
    """What a template shows of a value: nothing from a record may break the line or the page."""
    if value is None:
        return _NONE
    return charts.printable(value) if type(value) is str else value


def render(run: RunRecord, *, unfinished: bool = False) -> str:
    """The page of a run record. Parts that were not run say so; nothing in the record is trusted as HTML.

    Parameters: `unfinished` for a run that goes on: what is not there may still come, and no chart is drawn, which
    takes seconds and matplotlib.
    """
    from markupsafe import Markup

    ended = outcome(run)
    if unfinished and ended.state == "open":
        ended = RunOutcome("open", "In progress", "there is no verdict yet")
    drawn = {} if unfinished else {name: Markup(svg) for name, svg in _charts(run).items() if svg}
    return (
        templates()
        .get_template("page.html.jinja")
        .render(
            record=run,
            unfinished=unfinished,
            outcome=ended,
            figures=key_figures(run),
            charts=drawn,
            worst=_worst(run.evaluation),
            diagnosed=diagnostics.section(run.diagnostics, drawn=not unfinished),
            profiled=profile.section(run.profile, drawn=not unfinished),
            tuned=_columns([trial.hyperparameters for trial in run.tuning.trials] if run.tuning else []),
            **{name: part for name, part in run if isinstance(part, Part)},
        )
    )


def _charts(run: RunRecord) -> dict[str, str | None]:
    """The charts of what was run."""
    drawn: dict[str, str | None] = {}
    if run.tuning:
        drawn["tuning"] = charts.tuning(run.tuning)
    if run.training:
        drawn["training"] = charts.training(run.training)
    if run.evaluation:
        drawn["confusion"] = charts.confusion(run.evaluation)
    ramp = run.endpoint and run.endpoint.capacity
    if ramp:
        drawn["capacity"] = charts.capacity(ramp)
    if run.autoscaling:
        drawn["scaling"] = charts.scaling(run.autoscaling)
    if load_test := run.load_test:
        limit_ms = load_test.latency_limit_ms or (ramp.latency_limit_ms if ramp else None)
        drawn["latency"] = charts.latency(load_test.phases, limit_ms)
        drawn["concurrency"] = charts.concurrency(load_test.phases, run.function)
    if run.release:
        drawn["release"] = charts.release(run.release)
    if compared := run.model_comparison:
        drawn["by_rate"] = comparison_charts.by_rate(compared)
        drawn["differences"] = comparison_charts.differences(compared)
    if run.costs:
        drawn["costs"] = charts.costs(run.costs)
        drawn["break_even"] = run.costs.function and charts.break_even(run.costs.function)
    return drawn


def _worst(evaluation: Evaluation | None) -> dict[str, Any]:
    """The pictures it got wrong or was unsure of, as far as their thumbnail really is base64, and what they are called.

    The record has those with the least probability for the right class: where all of these are right and sure, all of
    the test set's are.
    """
    worst = evaluation.worst if evaluation else []
    wrong = [picture for picture in worst if picture.predicted != picture.label]
    telling = [picture for picture in worst if picture.predicted != picture.label or picture.probability < SURE]
    return {
        "heading": "Most wrong on the test photos" if wrong else "Least sure of on the test photos",
        "photos": [picture for picture in telling if _BASE64.fullmatch(picture.thumbnail)],
        "all_right": bool(worst) and not telling,
    }


def _columns(rows: Iterable[Iterable[str]]) -> list[str]:
    """Every field any of the rows has, in the order they first appear."""
    return list(dict.fromkeys(field for row in rows for field in row))


def number(value: Any, digits: int = 3) -> str:
    """A number as a person writes it: as many decimals as `digits` significant digits leave, thousands set apart."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return _NONE
    if isinstance(value, int) or value == 0:
        return f"{value:,.0f}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def setting(value: Any) -> str:
    """A hyperparameter: three significant digits of a fraction, anything else as it is."""
    text = str(value)
    try:
        return text if float(text).is_integer() else number(float(text))
    except (ValueError, OverflowError):
        return text


def percent(value: Any, digits: int = 1) -> str:
    """A share as percent with so many decimals."""
    return f"{value:.{digits}%}" if isinstance(value, int | float) else _NONE


def points(value: Any) -> str:
    """A share as points, with its sign where it is a difference below 0."""
    return f"{number(value * 100.0)} points" if isinstance(value, int | float) else _NONE


def usd(value: Any) -> str:
    """US dollars with the cents that matter: two decimals from a dollar on, else three significant digits."""
    if not isinstance(value, int | float):
        return _NONE
    return f"${value:,.2f}" if abs(value) >= 1 or value == 0 else f"${number(float(value))}"


def moment(value: Any) -> str:
    """An ISO 8601 time as a person writes it; anything else as it is."""
    try:
        when = datetime.fromisoformat(str(value))
    except ValueError:
        return str(value or "")
    return f"{when.day} {when:%B %Y, %H:%M} {when.tzname() or ''}".rstrip()
