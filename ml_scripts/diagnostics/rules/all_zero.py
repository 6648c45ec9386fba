"""AWS: all, or ``threshold`` percent, of the values of a tensor are zero."""

from diagnostics.rule import Issue, rule, samples
from diagnostics.statistics import Statistics


@rule(
    "AllZero",
    of_aws=True,
    threshold=100.0,
    advice="give the layer other first weights, and look at the activations before it",
)
def check(seen: Statistics, threshold: float) -> Issue | None:
    """The first weight or gradient that is zero."""
    for sample in samples(seen):
        for each in sample.parameters:
            for what, zeros in (("the weight", each.weight_zeros), ("the gradient of", each.gradient_zeros)):
                share = 100 * zeros / each.numbers
                if share >= threshold:
                    return Issue(
                        f"{share:.4g} % of {what} {each.name} is zero, {threshold:g} % are too many",
                        share,
                        threshold,
                        sample.step,
                    )
    return None
