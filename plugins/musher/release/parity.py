"""Parity: whether what serves is what was judged. Answers are held against the evaluation's, picture by picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from musher import record
from musher.load.outcome import Outcome

# The same weights do not give the same probabilities everywhere: an instance may compute in another number format than
# the machine that evaluated, and Pillow decodes a large JPEG to another size where the training also made random views.
# Measured, EfficientNet-Lite0 on 100 photos of ten breeds and on 120 drawn pictures, largest difference of the judged
# label's probability (training and serving on one CPU with avx512_bf16, 224 pixels unless said otherwise):
#   the same number format, any fine-tuning or augmentation of pictures that are decoded whole   below 0.00001
#   evaluated in bfloat16, served in float32                                     0.016 to 0.046, at 96 pixels 0.054
#   evaluated in float32, served in bfloat16                                                                  0.011
#   photos of 2,048 pixels, trained with random views                                                         0.031
# The label differed in 4 of about 1,640 comparisons, between labels whose probabilities were at most 0.047 apart.
TOLERANCE = 0.1
MOST_DIFFERENCES = 5

Prediction = tuple[str, float]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to a test picture: its `file` below the test folder, its `bytes` and its true `label`; labels
    and their probabilities, the most probable one first, none where the answer has no predictions."""

    file: str
    bytes: int
    label: str
    predictions: Sequence[Prediction]

    @property
    def served(self) -> str:
        return self.predictions[0][0]


def predictions_in(answer: Any) -> tuple[Prediction, ...]:
    """The labels and probabilities of an answer in JSON (ml_scripts/inference.py), the most probable one first; none
    where it is no such answer."""
    try:
        found = [(str(each["label"]), float(each["probability"])) for each in answer["predictions"]]
    except (TypeError, KeyError, ValueError):
        return ()
    if any(not 0 <= probability <= 1 for _, probability in found):
        return ()
    return tuple(sorted(found, key=lambda prediction: -prediction[1]))


def accuracy(answers: Iterable[Answer]) -> float | None:
    """The share of the answers with predictions that have the true label; None without one."""
    told = [each.served == each.label for each in answers if each.predictions]
    return sum(told) / len(told) if told else None


def compare(
    answers: Sequence[Answer], judged: record.Predictions | None, tolerance: float = TOLERANCE
) -> record.Comparison:
    """Hold answers against what the evaluation said of the same pictures.

    An answer agrees when it has the evaluation's label, with a probability no further from the evaluation's than
    `tolerance`. Another label is no disagreement where the evaluation's label still has its probability and the two
    are a near tie: both are within the tolerance of each other, and either may win by a rounding. Pictures that were
    not evaluated, or have another number of bytes since, are left out.
    """
    if judged is None:
        return record.Comparison(tolerance=tolerance, not_compared="the model has no predictions of its evaluation")
    known = {each.file: each for each in judged.pictures}
    pairs = [
        (each, known[each.file])
        for each in answers
        if each.predictions and each.file in known and known[each.file].bytes == each.bytes
    ]
    if not pairs:
        return record.Comparison(
            tolerance=tolerance,
            judged_weights=judged.weights,
            not_compared="no answer is about a picture as the model was judged on it",
        )
    counted: Counter[str] = Counter()
    away: dict[str, tuple[float, record.Difference]] = {}
    largest = 0.0
    for answer, before in pairs:
        label = judged.classes[before.predicted]
        now = _probability(answer, label, before.probability)
        difference = abs(now - before.probability)
        largest = max(largest, difference)
        lead = answer.predictions[0][1] - now
        if difference <= tolerance and (answer.served == label or lead <= tolerance):
            counted["agreed" if answer.served == label else "near_ties"] += 1
        elif answer.file not in away or difference > away[answer.file][0]:
            away[answer.file] = difference, _difference(answer, before, label)
    worst = sorted(away.values(), key=lambda each: -each[0])
    return record.Comparison(
        compared=len(pairs),
        **counted,
        largest_difference=round(largest, 6),
        tolerance=tolerance,
        judged_weights=judged.weights,
        judged_accuracy=sum(before.predicted == before.label for _, before in pairs) / len(pairs),
        differences=[each for _, each in worst[:MOST_DIFFERENCES]],
    )


def _probability(answer: Answer, label: str, before: float) -> float:
    """What the answer gives a label. One that is not among those it names has at most what the last of them has."""
    named = dict(answer.predictions)
    return named[label] if label in named else min(before, answer.predictions[-1][1])


def _difference(answer: Answer, before: record.JudgedPicture, label: str) -> record.Difference:
    return record.Difference(
        file=answer.file,
        label=answer.label,
        judged=label,
        judged_probability=before.probability,
        served=answer.served,
        served_probability=round(answer.predictions[0][1], 6),
    )


def why_not(
    comparison: record.Comparison,
    answers: Sequence[Answer],
    outcomes: Sequence[Outcome],
    load: record.LoadPhase,
    latency_limit_ms: float | None,
) -> list[str]:
    """What does not hold, a clause each; none where the function may go on.

    Parameters: `answers` of the calls that succeeded, `outcomes` of all calls, `load` what the timed ones measured;
    `latency_limit_ms` None where somebody else looks at that.
    """
    reasons = [*_other_weights(comparison, outcomes)]
    off = comparison.compared - comparison.agreed - comparison.near_ties
    if off:
        worst = comparison.differences[0]
        reasons.append(
            f"{off} of {comparison.compared} answers are further than {comparison.tolerance:g} from the evaluation's: "
            f"{worst.file} was judged to be {worst.judged} with {worst.judged_probability:.3f} "
            f"and is {worst.served} with {worst.served_probability:.3f} now"
        )
    if empty := sum(not each.predictions for each in answers):
        reasons.append(f"{empty} of {len(answers)} answers are no predictions")
    for status, became in (("failed", "failed"), ("throttled", "were throttled")):
        calls = [each for each in outcomes if each.status == status]
        if calls:
            reasons.append(f"{len(calls)} of {len(outcomes)} calls {became} ({calls[0].kind}: {calls[0].message})")
    if slow := too_slow(load, latency_limit_ms):
        reasons.append(slow)
    return reasons


def too_slow(load: record.LoadPhase, latency_limit_ms: float | None) -> str | None:
    """That the calls took longer than they may, as a clause; None where they did not, or nobody asks."""
    if load.p99_ms is None or latency_limit_ms is None or load.p99_ms <= latency_limit_ms:
        return None
    return f"99 of 100 calls took up to {load.p99_ms:.0f} ms, and latency_limit_ms allows {latency_limit_ms:g}"


def _other_weights(comparison: record.Comparison, outcomes: Iterable[Outcome]) -> Iterable[str]:
    """Where the answers come from other weights than those that were judged, or from several."""
    answered = told(outcomes, "weights")
    if len(answered) > 1:
        yield f"answers came from different weights: {', '.join(each or 'some that do not say' for each in answered)}"
    elif answered and answered[0] and comparison.judged_weights not in (None, answered[0]):
        yield f"the weights {answered[0]} answer, and {comparison.judged_weights} were judged"


def told(outcomes: Iterable[Outcome], field: str) -> list[str]:
    """The different values that the answers tell of themselves, "" for those that do not tell."""
    return sorted({getattr(each, field) for each in outcomes if each.status == "succeeded"})
