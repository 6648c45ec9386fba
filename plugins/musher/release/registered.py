"""What a model was registered with: its accuracy, held against its answers where there is nothing closer to hold them
against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

from musher import record
from musher.release.judge import Tolerances
from musher.release.parity import Answer

# A model's accuracy on so many pictures would be within this interval in so many of 100 test sets.
CONFIDENCE = 0.95


def wilson(successes: int, count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Between which shares the one behind so many successes of a count above 0 lies (Wilson's score interval)."""
    # By hand: SciPy takes a second and 60 MB, which Airflow's API server has better uses for.
    z, share = NormalDist().inv_cdf((1 + confidence) / 2), successes / count
    middle, spread = share + z * z / (2 * count), z * sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return tuple(min(1.0, max(0.0, end / (1 + z * z / count))) for end in (middle - spread, middle + spread))


@dataclass(frozen=True)
class Accuracy:
    """A model's share of right answers, and on how many pictures; None where nobody counted them."""

    share: float
    images: int | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Between which shares it lies with CONFIDENCE (Wilson); None where the pictures were not counted."""
        return wilson(round(self.share * self.images), self.images) if self.images else None

    def __str__(self) -> str:
        if (interval := self.interval) is None:
            return f"{self.share:.1%}"
        return f"{self.share:.1%} ({interval[0]:.1%} to {interval[1]:.1%}, {self.images:,} pictures)"


def known(package: Mapping[str, Any], evaluation: record.Evaluation | None) -> Accuracy | None:
    """The accuracy that a model was registered with; None where its registration says none.

    Parameters: `package` as DescribeModelPackage describes it; `evaluation` the one that it names, where that can be
    read.
    """
    if evaluation:
        return Accuracy(evaluation.accuracy, evaluation.images or None)
    try:
        share = float((package.get("CustomerMetadataProperties") or {})["test_accuracy"])
    except (KeyError, ValueError):
        return None
    return Accuracy(share) if 0 <= share <= 1 else None


def compare(answers: Sequence[Answer], registration: Accuracy, *, allowed: float) -> record.AccuracyCheck | None:
    """Hold answers against the accuracy of the registration, each picture once; None without answers.

    Less is what Fisher's exact test is sure of, as sure as the judge of a release has to be, and what is more than
    `allowed` (a share of the pictures) below. A registration that does not say on how many pictures it was measured
    counts as one that was measured on as many as were asked about here.
    """
    from scipy.stats import fisher_exact

    right = {each.file: bool(each.predictions) and each.served == each.label for each in answers}
    if not right:
        return None
    told, count = sum(right.values()), len(right)
    images = registration.images or count
    then = round(registration.share * images)
    p_value = float(fisher_exact([[told, count - told], [then, images - then]], alternative="less").pvalue)
    less = p_value < 1 - Tolerances.confidence and registration.share - told / count > allowed
    return record.AccuracyCheck(
        right=told,
        pictures=count,
        registered=registration.share,
        registered_pictures=registration.images,
        p_value=p_value,
        less=less,
        why=f"{Accuracy(told / count, count)} of what is asked is told right, and the registration says {registration}",
    )
