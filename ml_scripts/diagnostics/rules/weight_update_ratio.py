"""AWS: the ratio of the updates to the weights gets above ``large_threshold`` or below ``small_threshold``.

The ratio of a tensor is that of two norms, its update's in one step and its own before (plus ``epsilon``). AWS
compares the weights of two saved steps (``num_steps``); here the step itself is measured, so there is no such
parameter. A tensor of zeros has no ratio: it is AllZero's.
"""

from diagnostics.rule import Issue, rule, samples
from diagnostics.statistics import Statistics


@rule(
    "WeightUpdateRatio",
    of_aws=True,
    large_threshold=10.0,
    small_threshold=1e-8,
    epsilon=1e-9,
    advice="lower the learning rate where the ratio is too large, raise it where it is too small",
)
def check(seen: Statistics, large_threshold: float, small_threshold: float, epsilon: float) -> Issue | None:
    """The first tensor whose update was out of proportion."""
    for sample in samples(seen):
        for each in sample.parameters:
            if each.weight_norm == 0:
                continue
            ratio = each.update_norm / (each.weight_norm + epsilon)
            if ratio > large_threshold:
                side, threshold = "above", large_threshold
            elif ratio < small_threshold:
                side, threshold = "below", small_threshold
            else:
                continue
            what = f"a step changed {each.name} by {ratio:.3g} times its own size, {side} {threshold:g}"
            return Issue(what, ratio, threshold, sample.step)
    return None
