"""A run in a few lines: the outcome, the key figures, the text at the end of `make demo`."""

from __future__ import annotations

from dataclasses import dataclass

from musher import names
from musher.load.plan import SCALE_OUT
from musher.record import RunRecord


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


def outcome(run: RunRecord) -> RunOutcome:
    """How the run ended, also where it ended before there was a verdict."""
    verdict, model, approval, release, parity = run.verdict, run.model, run.approval, run.release, run.parity
    if compared := run.model_comparison:
        return RunOutcome("passed", "Compared", compared.conclusion)
    if verdict and verdict.refused_because:
        return RunOutcome("refused", "No verdict", verdict.refused_because)
    if approval and approval.outcome in ("rejected", "timed out"):
        return RunOutcome("rejected", "Not released", approval.sentence)
    if release and release.outcome != "released":
        return RunOutcome("failed", "Rolled back", f"{release.previous_config} serves as before: {release.why}")
    if verdict and verdict.passed:
        return RunOutcome("passed", "Passed", f"all {len(verdict.checks)} checks hold")
    if parity and not parity.passed and not release:
        stopped = "Stopped in its rehearsal" if parity.stack == names.REHEARSAL else "Not fit to serve"
        return RunOutcome("failed", stopped, "; ".join(parity.reasons))
    if verdict:
        failed = [check.name for check in verdict.checks if not check.passed]
        return RunOutcome("failed", "Failed", f"{len(failed)} of {len(verdict.checks)} checks: {', '.join(failed)}")
    if "verdict" in run.unreadable:
        return RunOutcome("open", "No verdict", run.unreadable["verdict"])
    if model and (model.status or "").lower() == "rejected":
        return RunOutcome("rejected", "Model rejected, not deployed", model.reason or "no reason was given")
    if release:
        return RunOutcome("passed", "Released", f"without a rehearsal. {release.why}")
    return _not_tested(run)


def _not_tested(run: RunRecord) -> RunOutcome:
    """How a run ended that has put nothing under load."""
    if (ended := _ended_by_a_rule(run)) and not (run.training or run.model):
        return RunOutcome("failed", "Stopped by a rule", ended)
    if run.rehearsal and run.rehearsal.extent == "none":
        return RunOutcome("open", "Not load-tested", run.rehearsal.why)
    return RunOutcome("open", "Not load-tested", "the run has no verdict (yet)")


def _ended_by_a_rule(run: RunRecord) -> str:
    """The sentence of the rule that ended the run's last training job; empty where it completed."""
    jobs = [each for each in run.diagnostics.jobs if each.step != names.TRAIN_ON_EC2.name] if run.diagnostics else []
    return jobs[-1].reason if jobs and jobs[-1].status == "Failed" and jobs[-1].fired else ""


def key_figures(run: RunRecord) -> list[Figure]:
    """The figures a reader asks for first; those that were not measured are left out."""
    return [figure for figure in (make(run) for make in _FIGURES) if figure]


def text(run: RunRecord) -> str:
    """Lines for a terminal: outcome, failed checks and key figures."""
    ended = outcome(run)
    mark = {"passed": "PASSED", "failed": "FAILED", "refused": "NO VERDICT", "rejected": "REJECTED"}
    lines = [f"{mark.get(ended.state, 'NO VERDICT')}: {ended.because}"]
    for check in run.verdict.checks if run.verdict else ():
        if not check.passed:
            lines.append(
                f"  {'?' if check.inconclusive else '✗'} {check.name}: {check.measured} (required: {check.required})"
            )
    figures = key_figures(run)
    width = max((len(figure.name) for figure in figures), default=0)
    for figure in figures:
        note = f"  ({figure.note})" if figure.note else ""
        lines.append(f"  {figure.name:<{width}}  {figure.value}{note}")
    lines += [f"  ! {sentence}" for name, sentence in run.unreadable.items() if name != "verdict"]
    return "\n".join(lines)


def _accuracy(run: RunRecord) -> Figure | None:
    if run.evaluation:
        note = f"{run.evaluation.images} photos it never saw"
        return Figure("Test accuracy", f"{run.evaluation.accuracy:.1%}", note)
    if run.model and run.model.test_accuracy is not None:
        return Figure("Test accuracy", f"{run.model.test_accuracy:.1%}")
    return None


def _saved(run: RunRecord) -> Figure | None:
    jobs = run.diagnostics.jobs if run.diagnostics else []
    ended = [each for each in jobs if each.fired]
    seconds = [each.saved.seconds for each in ended if each.saved and each.saved.seconds is not None]
    if not seconds:
        return None
    note = f"estimated, of {len(ended)} job{'' if len(ended) == 1 else 's'} that a rule ended"
    return Figure("Saved by rules", f"{sum(seconds):.3g} s", note)


def _speed_up(run: RunRecord) -> Figure | None:
    training = run.training
    if not training or training.speed_up is None:
        return None
    instances = max((job.instances for job in training.jobs), default=1)
    efficiency = training.scaling_efficiency
    note = f"{efficiency:.0%} scaling efficiency" if efficiency is not None else ""
    return Figure(f"Speed-up on {instances} instances", f"{training.speed_up:.2f}×", note)


def _capacity(run: RunRecord) -> Figure | None:
    capacity = run.endpoint and run.endpoint.capacity
    if not capacity:
        return None
    limit = capacity.latency_limit_ms
    note = f"p99 within {limit:g} ms" if limit else ""
    return Figure("One instance takes", f"{capacity.max_rps_per_instance:.3g}/s", note)


def _latency(run: RunRecord) -> Figure | None:
    for phase in run.load_test.phases if run.load_test else ():
        if phase.name == SCALE_OUT and phase.p99_ms is not None:
            return Figure("p99 under load", f"{phase.p99_ms:.0f} ms", f"at {phase.offered_rps or 0:.3g}/s")
    return None


def _concurrency(run: RunRecord) -> Figure | None:
    phases = run.load_test.phases if run.load_test else ()
    seen = max((phase.max_concurrency or 0 for phase in phases), default=0)
    if not seen:
        return None
    throttled = sum(phase.throttled or 0 for phase in phases)
    note = f"{run.function.reserved or 'none'} reserved, " if run.function else ""
    return Figure("Function concurrency", str(seen), f"{note}{throttled} throttled")


def _instances(run: RunRecord) -> Figure | None:
    points = run.autoscaling.timeline if run.autoscaling else ()
    counts = [point.in_service for point in points if point.in_service is not None]
    if not counts:
        return None
    return Figure("Instances", f"{counts[0]} → {max(counts)} → {counts[-1]}", "before, under and after load")


def _cost(run: RunRecord) -> Figure | None:
    if not run.costs or (each := run.costs.per_1000_predictions_usd) is None:
        return None
    return Figure("Per 1,000 predictions", f"${each:.2g}", "at list prices" if run.environment == "local" else "")


def _compared_capacity(run: RunRecord) -> Figure | None:
    compared = run.model_comparison
    if not compared or not (compared.a.capacity_rps and compared.b.capacity_rps):
        return None
    value = f"{compared.a.capacity_rps:.3g}/s · {compared.b.capacity_rps:.3g}/s"
    return Figure("a · b take", value, f"p99 within {compared.latency_limit_ms:g} ms")


def _compared_accuracy(run: RunRecord) -> Figure | None:
    compared = run.model_comparison
    if not compared or compared.a.accuracy is None or compared.b.accuracy is None:
        return None
    note = f"the same answer to {compared.agreement.share:.0%}" if compared.agreement else ""
    return Figure("a · b tell right", f"{compared.a.accuracy:.1%} · {compared.b.accuracy:.1%}", note)


def _compared_cost(run: RunRecord) -> Figure | None:
    compared = run.model_comparison
    if not compared or not (compared.a.per_1000_usd and compared.b.per_1000_usd):
        return None
    note = "at list prices, " if run.environment == "local" else ""
    value = f"${compared.a.per_1000_usd:.2g} · ${compared.b.per_1000_usd:.2g}"
    return Figure("a · b: 1,000 predictions", value, f"{note}at capacity")


_FIGURES = (
    _accuracy,
    _saved,
    _speed_up,
    _capacity,
    _latency,
    _concurrency,
    _instances,
    _cost,
    _compared_capacity,
    _compared_accuracy,
    _compared_cost,
)
