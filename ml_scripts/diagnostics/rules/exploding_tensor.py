"""AWS: a tensor has a value that is NaN or, unless ``only_nan``, infinite."""

import math

from diagnostics.rule import Issue, NotApplicable, rule
from diagnostics.statistics import Statistics


@rule("ExplodingTensor", of_aws=True, only_nan=False, advice="lower the learning rate, a tenth of it to begin with")
def check(seen: Statistics, only_nan: bool) -> Issue | None:
    """The first loss, gradient or weight that is no finite number."""
    if not seen.losses:
        raise NotApplicable("no step was taken")

    def exploded(value: float) -> bool:
        return math.isnan(value) or (math.isinf(value) and not only_nan)

    found = [(each.step, each.loss, "the loss") for each in seen.samples if exploded(each.loss)]
    if exploded(seen.losses[-1]):
        found.append((seen.step, seen.losses[-1], "the loss"))
    for sample in seen.samples:
        for each in sample.parameters:
            if exploded(each.gradient_mean):
                found.append((sample.step, each.gradient_mean, f"the gradient of {each.name}"))
            if exploded(each.weight_mean):
                found.append((sample.step, each.weight_mean, f"the weight {each.name}"))
    if not found:
        return None
    step, value, what = min(found, key=lambda each: each[0])
    return Issue(f"{what} is no longer finite: {value}", value, 0.0, step)
