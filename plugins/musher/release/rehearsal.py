"""How much of a rehearsal a model needs, and what its checks are.

New weights always get a smoke test, parity and latency. What an instance takes, how the endpoint scales and how the
function bears the load depend on none of the weights: they are measured once for the same image, code, network,
instances, function and plan.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from musher import names, record
from musher.config import DeploymentConfig
from musher.record import PassedRehearsal, Rehearsal
from musher.release import parity
from musher.words import listed

# Beside the run records: that is where Airflow's role may write.
FOLDER = "runs/rehearsals/"

# What the registration of a model says of its archive, and decides how fast an instance is.
ARCHIVE = ("code", "backbone", "head", "image_size")
# The function's settings, the plan of the load, and its limits.
CHOSEN = (
    "instance_type",
    "min_instances",
    "max_instances",
    "safety_factor",
    "scale_out_cooldown_seconds",
    "scale_in_cooldown_seconds",
    "reserved_concurrency",
    "provisioned_concurrency",
    "function_memory_mb",
    "function_timeout_seconds",
    "latency_limit_ms",
    "max_error_rate",
    "bursts",
    "burst_interval_seconds",
    "overload_factor",
    "scale_out_load",
    "scale_out_limit_seconds",
    "scale_in_limit_seconds",
    "capture_percent",
)
# AWS keeps so many calls at once for the functions without a reserve; of a smaller quota, all. Source: Lambda developer
# guide, "Configuring reserved concurrency".
LEAST_UNRESERVED = 100

PARITY, LATENCY, PACE = (
    "answers are those that were judged",
    "p99 latency of single calls within limit",
    "as quick as what serves",
)


def facts(config: DeploymentConfig, *, image: str, archive: Mapping[str, str], function: str) -> dict[str, Any]:
    """What two rehearsals have in common whose capacity, scaling and load are the same; empty where it is not known.

    Parameters: `image` that the instances run; `archive` what the model's registration says of ARCHIVE; `function` the
    digest of the function's code.
    """
    if missing(archive):
        return {}
    of_model = {name: archive[name] for name in ARCHIVE}
    return {"image": image, **of_model, "function": function, **{name: getattr(config, name) for name in CHOSEN}}


def missing(archive: Mapping[str, str]) -> list[str]:
    """What a registration does not say of its model's archive, as those of others and of an older Musher do not."""
    return [name for name in ARCHIVE if not archive.get(name)]


def key(of: Mapping[str, Any], *, concurrency: bool) -> str:
    """Where in the bucket a rehearsal with these facts is remembered once it has passed.

    Parameters: `concurrency` whether it tried calls at once; one that did is worth more.
    """
    written = json.dumps({**of, "concurrency": concurrency}, sort_keys=True)
    return f"{FOLDER}{hashlib.sha256(written.encode()).hexdigest()[:32]}.json"


def differences(of: Mapping[str, Any], others: Mapping[str, Any]) -> list[str]:
    """The facts in which two rehearsals differ, in words."""
    return [
        f"{name} is {of.get(name)} and was {others.get(name)}"
        for name in dict.fromkeys([*of, *others])
        if of.get(name) != others.get(name)
    ]


@dataclass(frozen=True)
class Account:
    """The account's quota of calls at once: `limit`, and `unreserved`, how many of them no function has for itself."""

    limit: int
    unreserved: int

    def no_room_for(self, reserve: int) -> str | None:
        """Why the account cannot hold a second reserve, as a sentence; None where it can."""
        least, left = min(LEAST_UNRESERVED, self.limit), self.unreserved - reserve
        if left >= least:
            return None
        return (
            f"Calls at once are not tried: a second reserve of {reserve} would leave {left} of the account's "
            f"{self.limit} unreserved, and AWS keeps {least}."
        )


def rehearse(
    wanted: Literal["always", "when_changed", "never"],
    *,
    first: bool,
    facts: Mapping[str, Any],
    unknown: Sequence[str],
    no_room: str | None,
    before: PassedRehearsal | None,
    newest: PassedRehearsal | None,
) -> Rehearsal:
    """How much of a rehearsal a model needs.

    Parameters: `wanted` the parameter `rehearsal`; `first` whether nothing serves yet, so that the model is tried out
    where it will serve; `unknown` what the registration does not say; `no_room` as Account.no_room_for; `before` the
    rehearsal with these facts that passed, `newest` the last one with any.
    """
    if wanted == "never" and not first:
        return Rehearsal(
            stack=names.REHEARSAL,
            extent="none",
            why="Nothing is tried out before the model takes calls: rehearsal is never.",
        )
    extent: Literal["full", "short"] = "full"
    if wanted == "always":
        why = "Rehearsed in full: rehearsal is always."
    elif unknown:
        why = f"Rehearsed in full: the model's registration does not say its {listed(unknown)}."
    elif before:
        extent = "short"
        why = (
            "Smoke test, parity and latency only: capacity, scaling and load are known from a rehearsal with the same "
            f"image, code, network, instances, function and plan, {before.named}."
        )
    elif newest is None:
        why = "Rehearsed in full: no rehearsal has passed yet."
    else:
        told = "; ".join(differences(facts, newest.facts)) or "that one tried no calls at once"
        why = f"Rehearsed in full, unlike the newest rehearsal that passed, {newest.named}: {told}."
    if first:
        why = f"Nothing serves yet, so the model is tried out where it will serve. {why}"
    elif no_room:
        why = f"{why} {no_room}"
    return Rehearsal(
        stack=names.PRODUCTION if first else names.REHEARSAL,
        extent=extent,
        why=why,
        concurrency=first or not no_room,
        facts=dict(facts),
        before=before if extent == "short" else None,
    )


def checks(told: record.Parity, rehearsal: Rehearsal) -> list[record.Check]:
    """The verdict's lines about what a function answered; those of a short rehearsal, which has no load test, are all
    of its verdict."""
    found = [_same_answers(told)]
    if rehearsal.extent == "short":
        found.append(_latency(told))
    if told.pace and told.pace.outcome != "inconclusive":  # then the judge of the release looks, and nobody before
        found.append(_pace(told.pace))
    return found


def _same_answers(told: record.Parity) -> record.Check:
    comparison = told.comparison
    agreed = comparison.agreed + comparison.near_ties
    measured = f"{agreed:,} of {comparison.compared:,} answers agree"
    if comparison.largest_difference is not None:
        measured += f", largest difference {comparison.largest_difference:.2g}"
    if comparison.not_compared:
        measured = f"not compared: {comparison.not_compared}"
        if told.registered and not told.registered.less:
            measured += f"; {told.registered.why}"
    of_latency = {parity.too_slow(told.load, told.latency_limit_ms), told.load.invalid_because}
    of_latency |= {told.pace.why} if told.pace else set()
    reasons = [each for each in told.reasons if each not in of_latency]
    return record.Check(
        name=PARITY,
        passed=not reasons,
        measured="; ".join([measured, *reasons]),
        required=f"every answer within {comparison.tolerance:g} of the evaluation's",
    )


def _latency(told: record.Parity) -> record.Check:
    load = told.load
    measured = (
        f"{load.p99_ms:.0f} ms at {load.offered_rps:.3g} requests a second" if load.p99_ms else "no call succeeded"
    )
    if load.invalid_because:
        measured = f"not measured: {load.invalid_because}"
    return record.Check(
        name=LATENCY,
        passed=bool(load.p99_ms) and not load.invalid_because and load.p99_ms <= told.latency_limit_ms,
        measured=measured,
        required=f"at most {told.latency_limit_ms:g} ms",
    )


def _pace(pace: record.JudgeCheck) -> record.Check:
    return record.Check(
        name=PACE,
        passed=pace.outcome == "pass",
        measured=pace.why,
        required="not slower than slower_in_rehearsal_allowed lets pass",
    )
