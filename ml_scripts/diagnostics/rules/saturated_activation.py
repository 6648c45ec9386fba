"""AWS: too many tanh or sigmoid units of a layer have inputs so far out that their gradient vanishes.

A unit is saturated when less than ``threshold_inactivity`` percent of its inputs lie within the limits, a layer when
more than ``threshold_layer`` percent of its units are.
"""

from diagnostics.rule import Issue, layers, rule, samples
from diagnostics.statistics import Statistics


@rule(
    "SaturatedActivation",
    of_aws=True,
    threshold_tanh_min=-9.4999,
    threshold_tanh_max=9.4999,
    threshold_sigmoid_min=-23.0,
    threshold_sigmoid_max=16.99999,
    threshold_inactivity=1.0,
    threshold_layer=50.0,
    advice="give the layer smaller first weights, or normalise what goes into it",
)
def check(seen: Statistics, threshold_inactivity: float, threshold_layer: float, **limits: float) -> Issue | None:
    """The first layer of which too many units are saturated; the recorder has compared with the limits already."""
    layers(seen, "tanh", "sigmoid")
    for sample in samples(seen):
        for each in sample.activations:
            if each.kind in ("tanh", "sigmoid") and (share := each.below(threshold_inactivity)) > threshold_layer:
                return Issue(
                    f"{share:.4g} % of the {each.kind} units of {each.name} are saturated, "
                    f"more than {threshold_layer:g} %",
                    share,
                    threshold_layer,
                    sample.step,
                )
    return None
