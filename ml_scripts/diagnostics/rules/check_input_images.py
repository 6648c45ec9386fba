"""AWS: the mean of the input pictures is more than ``threshold_mean`` away from 0, in ``threshold_samples`` of them.

The mean says little of how pictures were normalised: a data set of dark pictures has another one than ImageNet, and
rightly so. With ``signed`` the pictures have to have numbers on both sides of 0, which those on the scale 0..1 or
0..255 have not, and no mean is more than 2.7 away from 0 after ImageNet's normalisation.
"""

from diagnostics.rule import Issue, NotApplicable, rule, were
from diagnostics.statistics import Statistics


@rule(
    "CheckInputImages",
    of_aws=True,
    threshold_mean=0.2,
    threshold_samples=500,
    signed=False,
    here={"threshold_mean": 3.0, "threshold_samples": 1, "signed": True},
    advice="normalise with the mean and the deviation that the backbone was trained with",
)
def check(seen: Statistics, threshold_mean: float, threshold_samples: int, signed: bool) -> Issue | None:
    """The first colour that is out of bounds."""
    if seen.inputs is None or not seen.inputs.pictures:
        raise NotApplicable("no picture was read: the features of all of them were kept from an earlier start")
    if seen.inputs.pictures < threshold_samples:
        raise NotApplicable(f"{were(seen.inputs.pictures, 'picture')} seen, and {threshold_samples} are needed")
    what = f"over {seen.inputs.pictures} input pictures"
    for index, colour in enumerate(("red", "green", "blue")):
        mean, least = seen.inputs.mean[index], seen.inputs.minimum[index]
        if not abs(mean) <= threshold_mean:
            sentence = f"the mean of {colour} {what} is {mean:.3g}, more than {threshold_mean:g} away from 0"
            return Issue(sentence, mean, threshold_mean, seen.step)
        if signed and not least < 0 < seen.inputs.maximum[index]:
            extreme = least if least >= 0 else seen.inputs.maximum[index]
            side = "below" if least >= 0 else "above"
            return Issue(
                f"no number of {colour} {what} is {side} 0, they end at {extreme:.3g}", extreme, 0.0, seen.step
            )
    return None
