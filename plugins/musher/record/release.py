"""The release of a model to an endpoint that serves already."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from musher.record.part import Entry, Part


class JudgeCheck(Entry):
    """One comparison of the new fleet with the old one; units and meaning as musher.release.judge.Check has them."""

    name: str
    outcome: Literal["pass", "fail", "inconclusive"]
    why: str
    old: float | None = None
    new: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    effect: float | None = None
    samples: tuple[int, int] = (0, 0)


class ReleasePoint(Entry):
    """A stretch of the release, `seconds` after it began: the new fleet's share of the answers, both fleets' median
    latency in milliseconds, requests sent and failed."""

    seconds: float
    new_share: float | None = None
    old_ms: float | None = None
    new_ms: float | None = None
    sent: int = 0
    failed: int = 0


class Release(Part):
    """How a model's release went. `outcome` released or rolled back, and `why`.

    `plan` in words; `config` and `previous_config` name endpoint configurations; `seconds` from UpdateEndpoint until
    the endpoint was in service again; `seconds_to_roll_back` from the decision to that, None where it was released.
    `requests` and `failed` are the judge's own.
    """

    NAME: ClassVar[str] = "release"

    outcome: Literal["released", "rolled back"]
    why: str
    package_arn: str
    plan: str
    instances: int
    config: str
    previous_config: str
    seconds: float
    seconds_to_roll_back: float | None = None
    requests: int = 0
    failed: int = 0
    judged: Literal["pass", "fail", "inconclusive"] = "inconclusive"
    checks: list[JudgeCheck] = []
    timeline: list[ReleasePoint] = []


class ScalingBefore(Part):
    """What a release changes beside the model, as it was: auto-scaling, as the requests that make it so again (empty
    where there was none), and the number of instances. `restored` once it is so again.

    Not part of the report: a retry of the release needs it, and the end of a run whose release was lost.
    """

    NAME: ClassVar[str] = "scaling_before_release"

    requests: dict[str, Any]
    instances: int | None = None
    restored: bool = False
