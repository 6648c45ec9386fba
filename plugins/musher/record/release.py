"""The release of a model to an endpoint that serves already."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

from musher.record.part import Entry, Part


class JudgeCheck(Entry):
    """One comparison of the new fleet with the old one: both as measured, `difference` with its confidence interval as
    far as there is one.

    Units: errors, accuracy and agreement as shares, latency as median milliseconds, its difference as a ratio
    (1.2: new takes 20 % longer). `effect` is the common-language effect size of latency: how often a request to the new
    fleet takes longer than one to the old (0.5: neither). `samples` of the old and of the new fleet.
    """

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
    `requests` and `failed` are the judge's own. `cost_usd` what the second fleet and an instance that was added cost in
    these seconds, None for a type without a price. `problems` are sentences on what went wrong beside it, such as a
    topic that was not told.
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
    cost_usd: float | None = None
    problems: list[str] = []
    timeline: list[ReleasePoint] = []


class Approval(Part):
    """What became of the request to approve a release.

    `asked_at`, `until` and `at` are ISO 8601, UTC; `by` who answered and `reason` why, in that person's words.
    `serving` the endpoint configuration that served when it was asked, which the figures are of. `problems` are
    sentences on what went wrong beside it: a topic that was not told, a registry not written to.
    """

    NAME: ClassVar[str] = "approval"

    outcome: Literal["waiting", "approved", "rejected", "timed out"]
    package_arn: str
    asked_at: str
    until: str
    serving: str | None = None
    by: str | None = None
    at: str | None = None
    reason: str = ""
    problems: list[str] = []

    @property
    def sentence(self) -> str:
        """How it went, for a person."""
        if self.outcome == "waiting":
            return f"Nobody has answered yet; the time is up on {_moment(self.until)}."
        if self.outcome == "timed out":
            hours = (datetime.fromisoformat(self.until) - datetime.fromisoformat(self.asked_at)).total_seconds() / 3600
            return (
                f"Nobody answered within {hours:.3g} hour{'' if hours == 1 else 's'}, until {_moment(self.until)}. The "
                f"model stays approved in the registry: start deploy_image_classifier with model_package_arn "
                f"{self.package_arn} and answer in time, or give more of it with approval_limit_hours."
            )
        words = f": {self.reason}" if self.reason else ", without a reason"
        return f"{self.by} {self.outcome} it on {_moment(self.at)}{words}".rstrip(".") + "."


def _moment(text: str | None) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d at %H:%M} UTC" if text else "an unknown date"


class ScalingBefore(Part):
    """What a release changes beside the model, as it was: auto-scaling, as the requests that make it so again (empty
    where there was none), and the number of instances. `restored` once it is so again.

    Not part of the report: a retry of the release needs it, and the end of a run whose release was lost.
    """

    NAME: ClassVar[str] = "scaling_before_release"

    requests: dict[str, Any]
    instances: int | None = None
    restored: bool = False


class RollBack(Part):
    """A roll-back of the deployment, from what served until then (`previous_...`) to what served before.

    `config` are endpoint configurations, `version` versions of the function, None where there is none; `scaling_run`
    the run whose record has the auto-scaling that is restored. `seconds` the update of the endpoint took, `cost_usd`
    what the second set of `instances` cost in them, None for a type without a price. `problems` are sentences.

    In the record of its own run, which has no report.
    """

    NAME: ClassVar[str] = "roll_back"

    outcome: Literal["begun", "rolled back"] = "begun"
    config: str
    previous_config: str
    version: str | None = None
    previous_version: str | None = None
    scaling_run: str | None = None
    instances: int
    instance_type: str
    seconds: float | None = None
    cost_usd: float | None = None
    problems: list[str] = []

    @property
    def sentence(self) -> str:
        """What was done, for a person."""
        said = [f"{self.config} serves again, instead of {self.previous_config}"]
        if self.version not in (None, self.previous_version):
            said.append(f", behind version {self.version} of the function")
        if self.seconds is not None:
            said.append(f". The update took {self.seconds:.0f} s")
            if self.cost_usd is not None:
                said.append(f" and cost {self.cost_usd:.3g} USD, for a second set of instances")
        return "".join([*said, ".", *(f" {each}" for each in self.problems)])
