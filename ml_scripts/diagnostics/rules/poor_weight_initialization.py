"""AWS: the variance of activations differs between layers, gradients are all alike, the loss does not decrease.

Looked at in the first ``steps`` steps only. AWS's page names the three signs and does not say how they go together: its
defaults fire on any one of them. ``signs`` is how many have to be there: a pretrained network has variances of which
one is a hundred times another, and the loss of a small batch goes up and down.
"""

import math

from diagnostics.rule import Issue, NotApplicable, rule
from diagnostics.statistics import Sample, Statistics


@rule(
    "PoorWeightInitialization",
    of_aws=True,
    threshold=10.0,
    distribution_range=0.001,
    patience=5,
    steps=10,
    signs=1,
    here={"threshold": 1000.0, "distribution_range": 1e-6, "signs": 2},
    advice="start from another seed or from pretrained weights",
)
def check(
    seen: Statistics, threshold: float, distribution_range: float, patience: int, steps: int, signs: int
) -> Issue | None:
    """The signs that the first steps show, if they are enough."""
    if seen.first_step > 1:
        raise NotApplicable("the training went on from a checkpoint, so its first steps were not seen")
    first = [sample for sample in seen.samples if sample.step <= steps]
    if not first:
        raise NotApplicable("no step was recorded")
    found: list[tuple[str, float, float, int]] = []
    ratio, step = max((_variance_ratio(sample), sample.step) for sample in first)
    if ratio > threshold:
        found.append((f"the variances of activations differ by {ratio:.3g} times", ratio, threshold, step))
    spread, name, step = min(_narrowest(sample) for sample in first)
    if spread < distribution_range:
        found.append((f"90 % of the gradient of {name} lie within {spread:.3g}", spread, distribution_range, step))
    losses = list(seen.losses[:steps])
    waited = len(losses) - 1 - losses.index(min(losses))
    if waited >= patience:
        found.append((f"the loss did not get lower in {waited} of the first steps", waited, patience, len(losses)))
    if len(found) < signs:
        return None
    sentence = " and ".join(each[0] for each in found)
    _, value, limit, step = found[0]
    return Issue(sentence, value, limit, step)


def _variance_ratio(sample: Sample) -> float:
    variances = [each.variance for each in sample.activations]
    if not variances or not max(variances) > 0:
        return math.inf if variances else 1.0
    return max(variances) / min(variances) if min(variances) > 0 else math.inf


def _narrowest(sample: Sample) -> tuple[float, str, int]:
    known = [(each.spread, each.name, sample.step) for each in sample.parameters if each.spread is not None]
    return min(known, default=(math.inf, "", sample.step))
