"""AWS: a tensor did not change in ``num_steps`` steps in a row, as numpy.allclose sees it (``rtol``, ``atol``).

As on AWS, the steps that are compared are those that were recorded, whatever lies between them.
"""

from diagnostics.rule import Issue, NotApplicable, rule, samples, were
from diagnostics.statistics import Statistics


@rule(
    "UnchangedTensor",
    of_aws=True,
    num_steps=3,
    rtol=1e-5,
    atol=1e-8,
    advice="raise the learning rate, or look at what keeps this layer's gradient small",
)
def check(seen: Statistics, num_steps: int, rtol: float, atol: float) -> Issue | None:
    """The first trained tensor that stood still; the recorder has compared with the tolerances already."""
    if len(samples(seen)) < num_steps:
        raise NotApplicable(f"{were(len(seen.samples), 'step')} recorded, and {num_steps} are compared")
    still: dict[str, int] = {}
    for sample in seen.samples:
        for each in sample.parameters:
            still[each.name] = 0 if each.changed else still.get(each.name, 0) + 1
            if still[each.name] >= num_steps:
                return Issue(
                    f"{each.name} did not change in {num_steps} recorded steps (rtol {rtol:g}, atol {atol:g})",
                    still[each.name],
                    num_steps,
                    sample.step,
                )
    return None
