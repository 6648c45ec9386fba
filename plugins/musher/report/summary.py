"""A run in a few lines: the outcome, the key figures, the text at the end of `make demo`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from musher.load.plan import SCALE_OUT


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended: `state` is passed, failed, refused, rejected or open; `because` explains all but passed."""

    state: str
    headline: str
    because: str = ""


@dataclass(frozen=True)
class Figure:
    """One key figure: what it is, its value with unit, and what it says beside it."""

    name: str
    value: str
    note: str = ""


def outcome(record: Mapping[str, Any]) -> RunOutcome:
    """How the run ended, also where it ended before there was a verdict."""
    verdict, model = _part(record, "verdict"), _part(record, "model")
    failed = [check for check in verdict.get("checks") or [] if not check.get("passed")]
    if verdict.get("refused_because"):
        return RunOutcome("refused", "No verdict", str(verdict["refused_because"]))
    if verdict and verdict.get("passed"):
        return RunOutcome("passed", "Passed", f"all {len(verdict.get('checks') or [])} checks hold")
    if verdict:
        names = ", ".join(str(check.get("name")) for check in failed)
        return RunOutcome("failed", "Failed", f"{len(failed)} of {len(verdict.get('checks') or [])} checks: {names}")
    if str(model.get("status") or "").lower() == "rejected":
        return RunOutcome("rejected", "Model rejected, not deployed", str(model.get("reason") or "no reason was given"))
    return RunOutcome("open", "Not load-tested", "the run has no verdict (yet)")


def key_figures(record: Mapping[str, Any]) -> list[Figure]:
    """The figures a reader asks for first; those that were not measured are left out."""
    return [figure for figure in (make(record) for make in _FIGURES) if figure]


def text(record: Mapping[str, Any], *, report: str = "", ui: str = "") -> str:
    """Lines for a terminal: outcome, failed checks, key figures, and where the report and Airflow's UI are."""
    ended = outcome(record)
    mark = {"passed": "PASSED", "failed": "FAILED", "refused": "NO VERDICT", "rejected": "REJECTED"}
    lines = [f"{mark.get(ended.state, 'NO VERDICT')}: {ended.because}"]
    for check in _part(record, "verdict").get("checks") or []:
        if not check.get("passed"):
            lines.append(f"  ✗ {check.get('name')}: {check.get('measured')} (required: {check.get('required')})")
    figures = key_figures(record)
    width = max((len(figure.name) for figure in figures), default=0)
    for figure in figures:
        note = f"  ({figure.note})" if figure.note else ""
        lines.append(f"  {figure.name:<{width}}  {figure.value}{note}")
    lines += [f"Report: {report}"] if report else []
    lines += [f"Airflow: {ui}"] if ui else []
    return "\n".join(lines)


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = record.get(name)
    return part if isinstance(part, Mapping) else {}


def _accuracy(record: Mapping[str, Any]) -> Figure | None:
    accuracy, images = _part(record, "evaluation").get("accuracy"), _part(record, "evaluation").get("images")
    if accuracy is None:
        accuracy = _part(record, "model").get("test_accuracy")
    if accuracy is None:
        return None
    return Figure("Test accuracy", f"{accuracy:.1%}", f"{images} photos it never saw" if images else "")


def _speed_up(record: Mapping[str, Any]) -> Figure | None:
    training = _part(record, "training")
    if (speed_up := training.get("speed_up")) is None:
        return None
    efficiency = training.get("scaling_efficiency")
    instances = max((job.get("instances") or 1 for job in training.get("jobs") or []), default=1)
    note = f"{efficiency:.0%} scaling efficiency" if efficiency is not None else ""
    return Figure(f"Speed-up on {instances} instances", f"{speed_up:.2f}×", note)


def _capacity(record: Mapping[str, Any]) -> Figure | None:
    capacity = _part(_part(record, "endpoint"), "capacity")
    if (highest := capacity.get("max_rps_per_instance")) is None:
        return None
    limit = capacity.get("latency_limit_ms")
    return Figure("One instance takes", f"{highest:.3g}/s", f"p99 within {limit:g} ms" if limit else "")


def _latency(record: Mapping[str, Any]) -> Figure | None:
    for phase in _part(record, "load_test").get("phases") or []:
        if phase.get("name") == SCALE_OUT and phase.get("p99_ms") is not None:
            return Figure("p99 under load", f"{phase['p99_ms']:.0f} ms", f"at {phase.get('offered_rps') or 0:.3g}/s")
    return None


def _concurrency(record: Mapping[str, Any]) -> Figure | None:
    phases = _part(record, "load_test").get("phases") or []
    seen = max((phase.get("max_concurrency") or 0 for phase in phases), default=0)
    if not seen:
        return None
    throttled = sum(phase.get("throttled") or 0 for phase in phases)
    reserved = _part(record, "lambda").get("reserved")
    note = f"{reserved} reserved, " if reserved is not None else ""
    return Figure("Function concurrency", str(seen), f"{note}{throttled} throttled")


def _instances(record: Mapping[str, Any]) -> Figure | None:
    points = _part(record, "autoscaling").get("timeline") or []
    counts = [point["in_service"] for point in points if point.get("in_service") is not None]
    if not counts:
        return None
    return Figure("Instances", f"{counts[0]} → {max(counts)} → {counts[-1]}", "before, under and after load")


def _cost(record: Mapping[str, Any]) -> Figure | None:
    costs = _part(record, "costs")
    if (each := costs.get("per_1000_predictions_usd")) is None:
        return None
    return Figure(
        "Per 1,000 predictions", f"${each:.2g}", "at list prices" if record.get("environment") == "local" else ""
    )


_FIGURES = (_accuracy, _speed_up, _capacity, _latency, _concurrency, _instances, _cost)
