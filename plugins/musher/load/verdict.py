"""The verdict on a deployment: a pure function of what was measured and what was required.

A measurement that is missing fails its check and says so. A load that was not offered as promised refuses the verdict:
the other checks are still shown, but say nothing about the deployment. Those about calls at once are inconclusive where
it is their own bursts that were not offered: too many calls at once are the sender's doing then, and so are the
throttles and cold starts that come of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from musher.load.plan import BEYOND_RESERVED, SCALE_OUT, STEADY, WITHIN_PROVISIONED, WITHIN_RESERVED


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is required.

    `error_rate` is a share of the calls sent; calls throttled beyond the reserved concurrency are no errors. `scales`
    False leaves out the two scaling checks, `concurrency` False the four about calls at once.
    """

    p99_ms: float
    error_rate: float = 0.01
    scales: bool = True
    concurrency: bool = True

    @property
    def p99_phases(self) -> Sequence[str]:
        """The phases whose p99 counts: not the ones in which environments start cold or calls are refused on
        purpose."""
        found = [WITHIN_PROVISIONED] if self.concurrency else []
        return [*found, SCALE_OUT] if self.scales else found or [STEADY]

    @property
    def phases(self) -> Sequence[str]:
        """The phases that have to have been run."""
        return [*self.p99_phases, *([WITHIN_RESERVED, BEYOND_RESERVED] if self.concurrency else [])]


class _MissingError(Exception):
    """A measurement that a check needs is not there."""


class _NotOfferedError(Exception):
    """The load that a check goes by was not the promised one."""


@dataclass(frozen=True)
class _Measurements:
    """The parts of the run record, read so that what is missing is said and not a KeyError."""

    parts: Mapping[str, Any]

    def get(self, part: str, field: str) -> Any:
        values = self.parts.get(part)
        value = values.get(field) if isinstance(values, Mapping) else None
        if value is None:
            raise _MissingError(f"not measured: {part} has no {field}")
        return value

    @property
    def phases(self) -> list[Mapping[str, Any]]:
        phases = [phase for phase in self.get("load_test", "phases") if isinstance(phase, Mapping)]
        if not phases:
            raise _MissingError("not measured: no load was offered")
        return phases

    @property
    def repeated(self) -> list[Mapping[str, Any]]:
        """Tries of phases that were followed by another one."""
        return self.parts["load_test"].get("repeated") or []

    def phase(self, name: str) -> Mapping[str, Any]:
        for phase in self.phases:
            if phase.get("name") == name:
                return phase
        raise _MissingError(f"not measured: the phase {name} was not run")

    def bursts(self, name: str) -> Mapping[str, Any]:
        """A phase of calls at once, whose bursts were those that were promised."""
        phase = self.phase(name)
        if reason := phase.get("invalid_because"):
            raise _NotOfferedError(f"no verdict: the load of {name} was not offered as promised, {reason}")
        return phase

    def of_phase(self, name: str, field: str) -> Any:
        return _field(self.phase(name), field)


_Finding = tuple[bool, Any]


def decide(measurements: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """The run record's `verdict`.

    Parameters
    ----------
    measurements:
        Parts of the run record: `load_test` `{phases, cloudwatch_throttles}` (CloudWatch's sum of the function's
        Throttles over the test), `autoscaling` `{scaled_out, scaled_in, timeline}` and `lambda` `{reserved}`.

    Returns
    -------
    `{passed, refused_because, checks: [{name, passed, inconclusive, measured, required}]}`; `refused_because` is None
    unless the load was not offered.
    """
    measured = _Measurements(measurements)
    offered = _check("load was offered as promised", _load_offered(limits), measured, "every phase, on time")
    checks = [offered]
    if limits.concurrency:
        checks += [
            _check("no cold start within provisioned", _no_cold_start, measured, "0 cold starts"),
            _check("no throttle within reserved", _no_throttle, measured, "0 throttles"),
            _check("beyond reserved, concurrency is the reserved number", _concurrency, measured, _reserved(measured)),
            _check("throttles seen equal CloudWatch's", _throttles_agree, measured, "equal, and more than 0"),
        ]
    if limits.scales:
        checks += [
            _check("endpoint scaled out under load", _scaled("scaled_out"), measured, "more instances under load"),
            _check("endpoint scaled in afterwards", _scaled("scaled_in"), measured, "back to the fewest instances"),
        ]
    checks += [
        _check("p99 latency within limit", _latency(limits), measured, f"at most {limits.p99_ms:g} ms"),
        _check("error rate within limit", _error_rate(limits), measured, f"at most {limits.error_rate:.2%}"),
    ]
    return {
        "passed": all(check["passed"] for check in checks),
        "refused_because": None if offered["passed"] else str(offered["measured"]),
        "checks": checks,
    }


def _check(
    name: str, find: Callable[[_Measurements], _Finding], measurements: _Measurements, required: Any
) -> dict[str, Any]:
    inconclusive = False
    try:
        passed, measured = find(measurements)
    except _MissingError as missing:
        passed, measured = False, str(missing)
    except _NotOfferedError as not_offered:
        passed, measured, inconclusive = False, str(not_offered), True
    return {
        "name": name, "passed": bool(passed), "inconclusive": inconclusive, "measured": measured, "required": required,
    }  # fmt: skip


def _field(phase: Mapping[str, Any], field: str) -> Any:
    value = phase.get(field)
    if value is None:
        raise _MissingError(f"not measured: the phase {phase.get('name')} has no {field}")
    return value


def _reserved(measured: _Measurements) -> Any:
    try:
        return f"exactly {measured.get('lambda', 'reserved')}"
    except _MissingError as missing:
        return str(missing)


def _load_offered(limits: Limits) -> Callable[[_Measurements], _Finding]:
    def find(measured: _Measurements) -> _Finding:
        for name in limits.phases:
            _field(measured.phase(name), "sent")
        reasons = [
            f"{phase['name']}: {reason}" for phase in measured.phases if (reason := phase.get("invalid_because"))
        ]
        if reasons:
            return False, "load not offered, so no verdict; " + "; ".join(reasons)
        lags = [lag for phase in measured.phases if (lag := phase.get("send_lag_p99_ms")) is not None]
        if not lags:
            return False, "not measured: no phase has a send lag"
        sent = sum(phase.get("sent") or 0 for phase in measured.phases)
        said = f"{sent:,} requests on time, send lag p99 at most {max(lags):.1f} ms"
        again = sorted({phase["name"] for phase in measured.repeated})
        return True, f"{said}; offered once more, not as promised at first: {', '.join(again)}" if again else said

    return find


def _no_cold_start(measured: _Measurements) -> _Finding:
    phase = measured.bursts(WITHIN_PROVISIONED)
    cold, succeeded = _field(phase, "cold_starts"), _field(phase, "succeeded")
    if not succeeded:
        return False, "no call succeeded within provisioned"
    return cold == 0, f"{_count(cold, 'cold start')} in {_count(succeeded, 'call')}"


def _no_throttle(measured: _Measurements) -> _Finding:
    phases = [measured.bursts(name) for name in (WITHIN_PROVISIONED, WITHIN_RESERVED)]
    throttled = sum(_field(phase, "throttled") for phase in phases)
    sent = sum(_field(phase, "sent") for phase in phases)
    return throttled == 0 and sent > 0, f"{_count(throttled, 'throttle')} in {_count(sent, 'call')}"


def _concurrency(measured: _Measurements) -> _Finding:
    reserved = measured.get("lambda", "reserved")
    phase = measured.bursts(BEYOND_RESERVED)
    seen, offered = _field(phase, "max_concurrency"), _field(phase, "offered_concurrency")
    return seen == reserved, f"{seen} at once, of {offered} offered"


def _throttles_agree(measured: _Measurements) -> _Finding:
    seen = sum(_field(phase, "throttled") for phase in (*measured.phases, *measured.repeated))
    counted = measured.get("load_test", "cloudwatch_throttles")
    return seen == counted and seen > 0, f"{seen} seen, {counted:g} in CloudWatch"


def _scaled(field: str) -> Callable[[_Measurements], _Finding]:
    def find(measured: _Measurements) -> _Finding:
        scaled = measured.get("autoscaling", field)
        return scaled is True, f"{'yes' if scaled is True else 'no'}{_instances(measured, field)}"

    return find


def _instances(measured: _Measurements, field: str) -> str:
    try:
        timeline = measured.get("autoscaling", "timeline")
    except _MissingError:
        return ""
    points = [(point.get("seconds"), point.get("in_service")) for point in timeline if isinstance(point, Mapping)]
    counts = [(when, count) for when, count in points if when is not None and count is not None]
    if not counts:
        return ""
    most = max(count for _, count in counts)
    first, last = counts[0][1], counts[-1][1]
    if field == "scaled_out":
        when = next(when for when, count in counts if count == most)
        return f", {first} to {most} instances after {when:.0f} s" if most > first else f", {first} all the time"
    if last >= most:
        return f", {last} at the end"
    fell = max(index for index, (_, count) in enumerate(counts) if count == most) + 1
    return f", {most} to {last} instances after {counts[fell][0]:.0f} s"


def _latency(limits: Limits) -> Callable[[_Measurements], _Finding]:
    def find(measured: _Measurements) -> _Finding:
        p99, worst = max((measured.of_phase(name, "p99_ms"), name) for name in limits.p99_phases)
        return p99 <= limits.p99_ms, f"{p99:.0f} ms in {worst.replace('_', ' ')}"

    return find


def _error_rate(limits: Limits) -> Callable[[_Measurements], _Finding]:
    def find(measured: _Measurements) -> _Finding:
        sent = errors = 0
        for phase in measured.phases:
            throttled = _field(phase, "throttled")
            sent += _field(phase, "sent")
            errors += _field(phase, "failed")
            if phase.get("name") == BEYOND_RESERVED:
                sent -= throttled
            else:
                errors += throttled
        if sent <= 0:
            return False, "no call was accepted"
        return (
            errors / sent <= limits.error_rate,
            f"{errors / sent:.2%} ({errors:,} of {sent:,}){_most_frequent(measured)}",
        )

    return find


def _most_frequent(measured: _Measurements) -> str:
    errors = [error for phase in measured.phases for error in phase.get("errors") or [] if error["status"] == "failed"]
    if not errors:
        return ""
    worst = max(errors, key=lambda error: error["count"])
    return f"; most often {worst['kind']}: {worst['example']}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
