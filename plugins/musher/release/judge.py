"""The judge of a release: is the new fleet as good as the old one that serves beside it?

Both fleets answer the same pictures in the same minutes, so what befalls both (a busy network, a slow hour) is held
against neither. Four things are compared, each with how sure that is: errors, latency, accuracy on labelled pictures,
agreement with the old fleet. A check fails only where the difference is both certain and large enough to matter, as in
Kayenta's judge; one with too few samples is inconclusive, which is as little a pass as a failure is.

Sources: Kayenta's NetflixACAJudge (Mann-Whitney test, effect size beside significance, no verdict without data); Argo
Rollouts' three outcomes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from musher.record import JudgeCheck

Fleet = Literal["old", "new"]
Outcome = Literal["pass", "fail", "inconclusive"]

ERRORS, LATENCY, ACCURACY, AGREEMENT = "errors", "latency", "accuracy", "agreement"
# Of two long samples each of these many values says as much as all: the estimate of the shift takes all pairs.
MOST_PAIRED = 300
# More failures than the old fleet's that chance makes less often than this are no pass, though no certainty either.
SUSPICION = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """One labelled request and what came back.

    `latency_ms` from when it was due; `picture` names the picture, `label` is what is on it, `predicted` what the fleet
    said, None where it failed.
    """

    fleet: Fleet
    succeeded: bool
    latency_ms: float
    picture: str = ""
    label: str | None = None
    predicted: str | None = None


@dataclass(frozen=True, kw_only=True)
class Tolerances:
    """What is let pass, and how sure a failure has to be.

    `slower`: the new fleet's typical latency may be this share above the old one's. `more_errors`: as a share of all
    requests. `less_accurate`: as a share of the labelled pictures (0.02 is two points). `least_agreement`: share of the
    pictures on which both say the same. `confidence` of one check; `early_confidence` while samples still come in,
    where the many looks would each have a chance to be wrong. The last three are the samples below which a check is
    inconclusive: requests a fleet, and different pictures that both fleets answered.
    """

    slower: float = 0.10
    more_errors: float = 0.005
    less_accurate: float = 0.02
    least_agreement: float = 0.5
    confidence: float = 0.99
    early_confidence: float = 0.9999
    least_requests: int = 100
    least_requests_early: int = 20
    least_pictures: int = 30


@dataclass(frozen=True)
class Judgement:
    """What the judge says of a release, and why."""

    outcome: Outcome
    checks: tuple[JudgeCheck, ...] = field(default=())

    @property
    def why(self) -> str:
        """The sentence on the checks that did not pass; on all where all did."""
        decisive = [each for each in self.checks if each.outcome == self.outcome]
        return "; ".join(f"{each.name}: {each.why}" for each in decisive)


def judge(answers: Iterable[Answer], tolerances: Tolerances | None = None, *, final: bool = True) -> Judgement:
    """Compare the fleets.

    Parameters: `final` False while samples still come in: then only what is beyond doubt is a failure, and whatever is
    no failure yet is inconclusive.
    """
    limits = tolerances or Tolerances()
    by_fleet: dict[str, list[Answer]] = {"old": [], "new": []}
    for answer in answers:
        by_fleet[answer.fleet].append(answer)
    old, new = by_fleet["old"], by_fleet["new"]
    doubt = 1 - (limits.confidence if final else limits.early_confidence)
    least = limits.least_requests if final else limits.least_requests_early
    checks = (
        _errors(old, new, limits, doubt, least),
        _latency(old, new, limits, doubt, least),
        *_answers(old, new, limits, doubt),
    )
    outcomes = {each.outcome for each in checks}
    if "fail" in outcomes:
        return Judgement("fail", checks)
    return Judgement("pass" if final and outcomes == {"pass"} else "inconclusive", checks)


def latency(answers: Iterable[Answer], tolerances: Tolerances) -> JudgeCheck:
    """Compare nothing but the fleets' latencies."""
    found = list(answers)
    old, new = ([each for each in found if each.fleet == fleet] for fleet in ("old", "new"))
    return _latency(old, new, tolerances, 1 - tolerances.confidence, tolerances.least_requests)


def _errors(old: Sequence[Answer], new: Sequence[Answer], limits: Tolerances, doubt: float, least: int) -> JudgeCheck:
    """Fisher's exact test: has the new fleet more errors than chance explains?"""
    from scipy.stats import fisher_exact

    counts = len(old), len(new)
    failed = tuple(sum(not each.succeeded for each in fleet) for fleet in (old, new))
    shares = tuple(_share(bad, count) for bad, count in zip(failed, counts, strict=True))
    found = {"old": shares[0], "new": shares[1], "samples": counts}
    few = _few(counts, least)
    # An old fleet that nobody asks any more (it is gone) leaves a new one that fails: that needs no comparison.
    if few and not (counts[1] >= least and shares[1] and shares[1] > 0.5):
        return JudgeCheck(name=ERRORS, outcome="inconclusive", why=few, **found)
    table = [[failed[1], counts[1] - failed[1]], [failed[0], counts[0] - failed[0]]]
    p_value = float(fisher_exact(table, alternative="greater").pvalue) if all(counts) else 0.0
    more = (shares[1] or 0) - (shares[0] or 0)
    found |= {"difference": more, "p_value": p_value}
    said = f"{failed[1]} of {counts[1]} requests to the new fleet failed, {failed[0]} of {counts[0]} to the old one"
    if more <= limits.more_errors or p_value >= SUSPICION:
        return JudgeCheck(name=ERRORS, outcome="pass", why=said, **found)
    if p_value < doubt:
        return JudgeCheck(name=ERRORS, outcome="fail", why=said, **found)
    return JudgeCheck(name=ERRORS, outcome="inconclusive", why=f"{said}, which may be chance or not", **found)


def _latency(old: Sequence[Answer], new: Sequence[Answer], limits: Tolerances, doubt: float, least: int) -> JudgeCheck:
    """Mann-Whitney test on the logarithms: is the new fleet slower by more than the tolerance?

    The shift is Hodges' and Lehmann's estimate, the median of all pairs' differences, which on logarithms is a ratio.
    """
    import numpy as np
    from scipy.stats import mannwhitneyu

    times = [np.array([each.latency_ms for each in fleet if each.succeeded], dtype=float) for fleet in (old, new)]
    counts = len(times[0]), len(times[1])
    if few := _few(counts, least):
        return JudgeCheck(name=LATENCY, outcome="inconclusive", why=few, samples=counts)
    before, after = (np.log(np.maximum(each, 1e-3)) for each in times)
    slower = mannwhitneyu(after - math.log1p(limits.slower), before, alternative="greater")
    effect = float(mannwhitneyu(after, before).statistic) / (counts[0] * counts[1])
    shift, low, high = _shift(before, after, doubt)
    ratio, medians = math.exp(shift), tuple(float(np.median(each)) for each in times)
    said = (
        f"a request to the new fleet takes {ratio:.2f} times as long as one to the old one "
        f"({math.exp(low):.2f} to {math.exp(high):.2f}), {1 + limits.slower:.2f} is let pass"
    )
    return JudgeCheck(
        name=LATENCY,
        outcome="fail" if slower.pvalue < doubt else "pass",
        why=said,
        old=medians[0],
        new=medians[1],
        difference=ratio,
        low=math.exp(low),
        high=math.exp(high),
        p_value=float(slower.pvalue),
        effect=effect,
        samples=counts,
    )


def _shift(before, after, doubt: float) -> tuple[float, float, float]:
    """Hodges' and Lehmann's estimate of how far `after` lies above `before`, with its interval of confidence 1 - doubt.

    The interval's ends are the pairs' differences whose ranks the Mann-Whitney test would no longer reject.
    """
    import numpy as np
    from scipy.stats import norm

    before, after = (_evenly(np.sort(each)) for each in (before, after))
    pairs = np.sort(np.subtract.outer(after, before), axis=None)
    m, n = len(after), len(before)
    reach = norm.isf(doubt / 2) * math.sqrt(m * n * (m + n + 1) / 12)
    first = max(0, math.floor(m * n / 2 - reach))
    return float(np.median(pairs)), float(pairs[first]), float(pairs[-1 - first])


def _evenly(values):
    """At most MOST_PAIRED of sorted values, evenly from all of their range."""
    import numpy as np

    if len(values) <= MOST_PAIRED:
        return values
    return values[np.linspace(0, len(values) - 1, MOST_PAIRED).round().astype(int)]


def _answers(
    old: Sequence[Answer], new: Sequence[Answer], limits: Tolerances, doubt: float
) -> tuple[JudgeCheck, JudgeCheck]:
    """Accuracy and agreement on the pictures that both fleets answered; each picture counts once.

    A model gives a picture the same answer every time: sending it again makes nobody surer. Accuracy is McNemar's exact
    test, on the pictures that only one of the two told right.
    """
    from scipy.stats import binomtest

    said = [{each.picture: each for each in fleet if each.predicted is not None} for fleet in (old, new)]
    both = sorted(said[0].keys() & said[1].keys())
    count = len(both), len(both)
    if len(both) < limits.least_pictures:
        few = f"{len(both)} pictures were answered by both fleets, {limits.least_pictures} are needed"
        return (
            JudgeCheck(name=ACCURACY, outcome="inconclusive", why=few, samples=count),
            JudgeCheck(name=AGREEMENT, outcome="inconclusive", why=few, samples=count),
        )
    right = [[fleet[each].predicted == fleet[each].label for each in both] for fleet in said]
    lost = sum(was and not now for was, now in zip(*right, strict=True))
    won = sum(now and not was for was, now in zip(*right, strict=True))
    before, after = (sum(each) / len(both) for each in right)
    p_value = float(binomtest(lost, lost + won, 0.5, alternative="greater").pvalue) if lost + won else 1.0
    bad = p_value < doubt and before - after > limits.less_accurate
    accuracy = JudgeCheck(
        name=ACCURACY,
        outcome="fail" if bad else "pass",
        why=f"of {len(both)} labelled pictures the new fleet tells {after:.1%} right, the old one {before:.1%} "
        f"({lost} lost, {won} won)",
        old=before,
        new=after,
        difference=after - before,
        p_value=p_value,
        samples=count,
    )
    same = sum(said[0][each].predicted == said[1][each].predicted for each in both)
    interval = binomtest(same, len(both)).proportion_ci(1 - 2 * doubt, method="wilson")
    agreement = JudgeCheck(
        name=AGREEMENT,
        outcome="fail" if interval.high < limits.least_agreement else "pass",
        why=f"both fleets say the same of {same} of {len(both)} pictures",
        new=same / len(both),
        low=float(interval.low),
        high=float(interval.high),
        samples=count,
    )
    return accuracy, agreement


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _few(counts: tuple[int, int], least: int) -> str:
    """The sentence that says that there are too few samples; empty when there are enough."""
    if min(counts) >= least:
        return ""
    return f"{counts[1]} answers of the new fleet and {counts[0]} of the old one, {least} of each are needed"
