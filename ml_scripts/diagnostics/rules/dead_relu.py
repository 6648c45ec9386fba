"""AWS: more than ``threshold_layer`` percent of a layer's ReLUs are active less than ``threshold_inactivity`` percent.

``threshold_inactivity`` counts in whole percents, rounded up. A unit of a head that has learnt its classes is active
for few pictures, and for none of many a batch, without being dead: half of a layer is no sign of harm.
"""

from diagnostics.rule import Issue, layers, rule, samples
from diagnostics.statistics import Statistics


@rule(
    "DeadRelu",
    of_aws=True,
    threshold_inactivity=1.0,
    threshold_layer=50.0,
    here={"threshold_layer": 90.0},
    advice="lower the learning rate, or give the layer other first weights and biases",
)
def check(seen: Statistics, threshold_inactivity: float, threshold_layer: float) -> Issue | None:
    """The first layer of which too many units are dead."""
    layers(seen, "ReLU")
    for sample in samples(seen):
        for each in sample.activations:
            if each.kind == "ReLU" and (share := each.below(threshold_inactivity)) > threshold_layer:
                return Issue(
                    f"{share:.4g} % of the ReLUs of {each.name} are active for less than {threshold_inactivity:g} % "
                    f"of {each.inputs} inputs, more than {threshold_layer:g} %",
                    share,
                    threshold_layer,
                    sample.step,
                )
    return None
