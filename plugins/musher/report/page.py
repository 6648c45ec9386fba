"""The report as one HTML file: no script, no network, readable from a mail attachment."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from musher.report import charts
from musher.report.summary import key_figures, outcome

_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+")
_NONE = "–"


def templates() -> Any:
    """The pages of this folder, with what writes figures for people; nothing they are given is trusted as HTML."""
    from jinja2 import ChainableUndefined, Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=ChainableUndefined,
        finalize=lambda value: _NONE if value is None else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "percent": percent,
        "usd": usd,
        "moment": moment,
        "words": charts.words,
        "label": charts.short_label,
    }
    return environment


def render(record: Mapping[str, Any]) -> str:
    """The page of a run record. Parts that were not run say so; nothing in the record is trusted as HTML.

    Parameters
    ----------
    record: see design, "The run record"; every part may be None or incomplete.
    """
    from markupsafe import Markup

    parts = {name: value for name, value in record.items() if isinstance(value, Mapping)}
    drawn = {name: Markup(svg) for name, svg in _charts(parts).items() if svg}
    return (
        templates()
        .get_template("page.html.jinja")
        .render(
            record=record,
            outcome=outcome(record),
            figures=key_figures(record),
            charts=drawn,
            thumbnails=_thumbnails(parts.get("evaluation", {})),
            tuned=_columns([t.get("hyperparameters") or {} for t in parts.get("tuning", {}).get("trials") or []]),
            **{name.replace("lambda", "function"): part for name, part in parts.items()},
        )
    )


def _charts(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, str | None]:
    load_test, endpoint = parts.get("load_test", {}), parts.get("endpoint", {})
    phases = load_test.get("phases") or []
    ramp = endpoint.get("capacity") or {}
    return {
        "tuning": charts.tuning(parts.get("tuning", {})),
        "training": charts.training(parts.get("training", {})),
        "confusion": charts.confusion(parts.get("evaluation", {})),
        "capacity": charts.capacity(ramp),
        "scaling": charts.scaling(parts.get("autoscaling", {})),
        "latency": charts.latency(phases, load_test.get("latency_limit_ms") or ramp.get("latency_limit_ms")),
        "concurrency": charts.concurrency(phases, parts.get("lambda", {})),
        "costs": charts.costs(parts.get("costs", {})),
        "break_even": charts.break_even(parts.get("costs", {}).get("lambda") or {}),
    }


def _thumbnails(evaluation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The pictures it got most wrong, as far as their thumbnail really is base64."""
    worst = [picture for picture in evaluation.get("worst") or [] if isinstance(picture, Mapping)]
    return [picture for picture in worst if _BASE64.fullmatch(str(picture.get("thumbnail") or ""))]


def _columns(rows: Any) -> list[str]:
    """Every field any of the rows has, in the order they first appear."""
    return list(dict.fromkeys(field for row in rows or [] if isinstance(row, Mapping) for field in row))


def number(value: Any, digits: int = 3) -> str:
    """A number as a person writes it: as many decimals as `digits` significant digits leave, thousands set apart."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return _NONE
    if isinstance(value, int) or value == 0:
        return f"{value:,.0f}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(value: Any) -> str:
    """A share as percent with one decimal."""
    return f"{value:.1%}" if isinstance(value, int | float) else _NONE


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
