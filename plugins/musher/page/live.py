"""Live pictures against trained ones: what the model says of callers' pictures, beside what it said of the test set's.

Captured calls (captured.py) are held beside the predictions that the model's run has in its record. How sure a model is
of its answers is what tells strange pictures best without labels ("Failing Loudly", arXiv 1810.11953: tests on the
softmax's outputs). Equal pictures count once, since one caller may send the same one a thousand times; the test set's
own, which smoke tests and load tests send, not at all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any
from urllib.parse import urlparse

from musher import names, record
from musher.hooks.in_service import InService, NotToBeTold, in_service
from musher.hooks.serving import found
from musher.page import captured
from musher.page.aws import Aws
from musher.page.captured import Call, Captured
from musher.page.samples import chance, distance, least
from musher.page.thumbnails import thumbnails
from musher.release.registered import CONFIDENCE, wilson

EVERY_SECONDS = 60.0
# So many pictures before anything is said of them, and how seldom that may be wrong.
FEWEST, LEVEL = 30, 0.01
BINS, CLASSES, FOREIGN = 10, 12, 6


@dataclass(frozen=True)
class ClassShare:
    """A class among callers' pictures and the test set's: counts, shares, and the interval of the callers' share. All
    intervals hold at once with CONFIDENCE. `label` "" stands for the `classes` that are not listed."""

    label: str
    classes: int
    callers: int
    test: int
    share: float
    interval: tuple[float, float]
    test_share: float


@dataclass(frozen=True)
class Foreign:
    """A picture that the model is least sure of: `lower` of the test pictures it is as unsure of, or more."""

    call: Call
    lower: int | None
    thumbnail: str = ""


@dataclass(frozen=True)
class Compared:
    """Callers' pictures beside the test set's.

    `calls` those captured; of them `others` answered by other weights, `own` with a picture of the test set; `pictures`
    the different ones that are left, the newest call of each. Confidences in BINS as counts; `distance` and `p_value`
    of Kolmogorov and Smirnov, None where too few are there; `sentence` what follows.
    """

    calls: int
    others: int
    own: int
    pictures: tuple[Call, ...]
    tested: int
    shares: tuple[ClassShare, ...]
    bins: tuple[int, ...]
    test_bins: tuple[int, ...]
    median: float | None
    test_median: float | None
    sentence: str
    differs: bool = False
    distance: float | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Live:
    """What the panel shows: `deployed` False where nothing serves. `percent` of the calls are captured now, 0 where
    none are; `elsewhere` the destination, where that is none that the page reads; `untold` why there is nothing to hold
    them beside."""

    deployed: bool = False
    percent: int = 0
    elsewhere: str = ""
    captured: Captured = field(default_factory=Captured)
    judged: record.Predictions | None = None
    untold: str = ""
    compared: Compared | None = None
    foreign: tuple[Foreign, ...] = ()
    made: Mapping[str, str] = field(default_factory=dict)
    run_key: str | None = None


def read(aws: Aws, before: Live | None) -> Live:
    """What the panel shows, given what it showed before."""
    before, env = before or Live(), aws.environment
    sagemaker, s3 = aws.client("sagemaker"), aws.client("s3")
    endpoint = names.Stack(env.project).endpoint
    now = found(lambda: sagemaker.describe_endpoint(EndpointName=endpoint))
    if now is None:
        return Live()
    percent, elsewhere = _capturing(now.get("DataCaptureConfig") or {}, env.bucket)
    model, untold = _model(sagemaker, endpoint)
    key = model.properties.get("run_key") if model else None
    judged, problem = _judged(s3, env.bucket, key, before)
    prefix = f"capture/{endpoint}/{names.VARIANT}/"
    # Logits have the order of the classes: what was read with those of another model is read again.
    known = before.captured if before.run_key == key else Captured()
    calls = captured.read(s3, env.bucket, prefix, judged.classes if judged else (), known)
    shown = Live(True, percent, elsewhere, calls, judged, untold or problem, run_key=key)
    if calls.calls == before.captured.calls and judged is before.judged and before.compared:
        return replace(shown, compared=before.compared, foreign=before.foreign, made=before.made)
    compared = compare(calls.calls, judged)
    least_sure = foreign(compared.pictures, judged)
    made = _small(s3, env.bucket, [each.call for each in least_sure], before.made)
    return replace(
        shown,
        compared=compared,
        foreign=tuple(replace(each, thumbnail=made.get(each.call.picture, "")) for each in least_sure),
        made=made,
    )


def _capturing(told: Mapping[str, Any], bucket: str) -> tuple[int, str]:
    """The share of the calls that is captured, and where to, if that is not where the page reads."""
    if not told.get("EnableCapture") or told.get("CaptureStatus") != "Started":
        return 0, ""
    destination = told.get("DestinationS3Uri", "")
    parts = urlparse(destination)
    ours = (parts.netloc, parts.path.strip("/")) == (bucket, "capture")
    return told.get("CurrentSamplingPercentage", 0), "" if ours else destination


def _model(sagemaker: Any, endpoint: str) -> tuple[InService | None, str]:
    try:
        return in_service(sagemaker, endpoint), ""
    except NotToBeTold as reason:
        return None, f"Which model serves is not known: {reason}."


def _judged(s3: Any, bucket: str, run_key: str | None, before: Live) -> tuple[record.Predictions | None, str]:
    """What the model said of the test set when it was judged; or why that is not known, as a sentence."""
    if not run_key:
        return None, "The model that serves was registered by no run of ours."
    if before.judged is not None and before.run_key == run_key:
        return before.judged, ""
    try:
        judged = record.read(s3, bucket, run_key, record.Predictions)
    except record.RecordError as error:
        return None, str(error)
    if judged is None or not judged.pictures:
        return None, "The model's run has no predictions of its test pictures in its record."
    return judged, ""


def _small(s3: Any, bucket: str, calls: Sequence[Call], made: Mapping[str, str]) -> dict[str, str]:
    """Small pictures of calls, as base64, by their `picture`; each is made once."""
    missing = [each for each in calls if each.picture not in made]
    there = captured.pictures(s3, bucket, missing) if missing else {}
    new = dict(zip(there, thumbnails(list(there.values())), strict=True))
    return {each.picture: made.get(each.picture, new.get(each.picture, "")) for each in calls}


def compare(calls: Sequence[Call], judged: record.Predictions | None) -> Compared:
    """Captured calls, the newest first, beside the predictions of the test set."""
    tested = judged.pictures if judged else []
    weights = judged.weights if judged else ""
    same = [each for each in calls if not each.weights or not weights or each.weights == weights]
    known = {(each.bytes, judged.classes[each.predicted]) for each in tested}
    theirs = [each for each in same if (each.bytes, each.label) not in known]
    pictures = tuple({each.picture: each for each in reversed(theirs)}.values())[::-1]
    sure = [each.probability for each in pictures]
    test_sure = [each.probability for each in tested]
    compared = Compared(
        calls=len(calls),
        others=len(calls) - len(same),
        own=len(same) - len(theirs),
        pictures=pictures,
        tested=len(tested),
        shares=shares(pictures, judged),
        bins=_bins(sure),
        test_bins=_bins(test_sure),
        median=median(sure) if sure else None,
        test_median=median(test_sure) if test_sure else None,
        sentence="",
    )
    return _said(compared, sure, test_sure)


def _said(compared: Compared, sure: Sequence[float], test_sure: Sequence[float]) -> Compared:
    n, m = len(sure), len(test_sure)
    if not n or not m:
        return compared
    few = min(n, m)
    if few < FEWEST:
        whose = "callers' pictures" if few == n else "test pictures"
        return replace(
            compared,
            sentence=f"{few} {whose} are too few to say whether the two are alike: it takes {FEWEST} of each.",
        )
    d = distance(sure, test_sure)
    p = chance(d, n, m)
    told = replace(compared, distance=d, p_value=p, differs=p < LEVEL)
    if not told.differs:
        return replace(
            told,
            sentence="By how sure the model is of them, callers' pictures cannot be told from the test set's. The "
            f"two distributions are {_points(d)} apart; {_points(least(n, m, LEVEL))} would have been noticed.",
        )
    how = "less" if _below(sure, test_sure) > 0.5 else "more"
    likely = f"p {p:.3f}" if p >= 0.001 else "p below 0.001"
    return replace(
        told,
        sentence=f"The model is {how} sure of callers' pictures than of the test set's: the two distributions are "
        f"{_points(d)} apart, which is no chance ({likely}, Kolmogorov-Smirnov test). "
        + ("Look at the pictures below: they may be none of what it was trained for." if how == "less" else ""),
    )


def _points(share: float) -> str:
    return f"{100 * share:.0f} points"


def _below(a: Sequence[float], b: Sequence[float]) -> float:
    """How often one of a is below one of b."""
    ordered = sorted(a)
    return sum(bisect_right(ordered, each) for each in b) / (len(a) * len(b))


def _bins(sure: Sequence[float]) -> tuple[int, ...]:
    counts = Counter(min(BINS - 1, int(each * BINS)) for each in sure)
    return tuple(counts[number] for number in range(BINS))


def shares(pictures: Sequence[Call], judged: record.Predictions | None) -> tuple[ClassShare, ...]:
    """The classes that callers' pictures are taken for, the most frequent ones first, and the rest in one line."""
    callers = Counter(each.label for each in pictures)
    test = Counter(judged.classes[each.predicted] for each in judged.pictures) if judged else Counter()
    if not callers:
        return ()
    n, m = len(pictures), sum(test.values())
    order = sorted({*callers, *test}, key=lambda label: (-max(callers[label] / n, test[label] / (m or 1)), label))
    alone = order if len(order) <= CLASSES else order[: CLASSES - 1]
    rest = order[len(alone) :]
    lines = [(label, 1, callers[label], test[label]) for label in alone]
    if rest:
        lines.append(("", len(rest), sum(callers[each] for each in rest), sum(test[each] for each in rest)))
    confidence = 1 - (1 - CONFIDENCE) / len(lines)  # Bonferroni
    return tuple(
        ClassShare(
            label, classes, of_callers, of_test, of_callers / n, wilson(of_callers, n, confidence), of_test / (m or 1)
        )
        for label, classes, of_callers, of_test in lines
    )


def foreign(pictures: Sequence[Call], judged: record.Predictions | None) -> list[Foreign]:
    """The pictures that the model is least sure of."""
    ordered = sorted(each.probability for each in judged.pictures) if judged else None
    least_sure = sorted(pictures, key=lambda each: each.probability)[:FOREIGN]
    return [Foreign(each, None if ordered is None else bisect_right(ordered, each.probability)) for each in least_sure]
