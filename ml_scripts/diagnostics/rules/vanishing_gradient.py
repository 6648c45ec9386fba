"""AWS: the mean of the absolute values of a gradient drops below ``threshold``.

The gradient of a training that has learnt everything vanishes, too: steps whose loss is below ``learnt`` of the loss of
guessing are left out.
"""

from diagnostics.rule import Issue, rule, samples
from diagnostics.statistics import Statistics


@rule(
    "VanishingGradient",
    of_aws=True,
    threshold=1e-7,
    learnt=0.0,
    here={"learnt": 0.1},
    advice="look at the layer's activation function and its first weights, or raise the learning rate",
)
def check(seen: Statistics, threshold: float, learnt: float) -> Issue | None:
    """The first tensor of the first sampled step whose gradient is too small."""
    for sample in samples(seen):
        if sample.loss < learnt * seen.chance_loss:
            continue
        for each in sample.parameters:
            if each.gradient_mean < threshold:
                return Issue(
                    f"the mean of the absolute values of the gradient of {each.name} is {each.gradient_mean:.3g}, "
                    f"below {threshold:g}",
                    each.gradient_mean,
                    threshold,
                    sample.step,
                )
    return None
