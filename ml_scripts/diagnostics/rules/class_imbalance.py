"""AWS: the largest class is more than ``threshold_imbalance`` times the smallest, or a class is mostly mispredicted.

AWS counts the labels that pass, from ``samples`` on, and compares them with the predictions of the training. Here the
training pictures of each class are known from the start, and the share of mispredictions, above
``threshold_misprediction`` with ``certainty``, is of the validation pictures at the best epoch, once it is known.
"""

from diagnostics.rule import Issue, NotApplicable, rule, were
from diagnostics.shares import bounds
from diagnostics.statistics import Statistics


@rule(
    "ClassImbalance",
    of_aws=True,
    threshold_imbalance=10.0,
    threshold_misprediction=0.7,
    samples=500,
    certainty=0.5,
    here={"samples": 0, "certainty": 0.99},
    advice="bring pictures of the smallest class, or leave it out",
)
def check(
    seen: Statistics, threshold_imbalance: float, threshold_misprediction: float, samples: int, certainty: float
) -> Issue | None:
    """The smallest class, or the one that is mispredicted most."""
    passed = sum(seen.labels) + seen.batch_size * (seen.step if seen.losses else 0)
    if passed < samples:
        raise NotApplicable(f"{were(passed, 'label')} seen, and {samples} are needed")
    smallest, largest = min(seen.labels), max(seen.labels)
    if smallest * threshold_imbalance < largest:
        names = [seen.classes[seen.labels.index(count)] for count in (largest, smallest)]
        ratio = largest / max(smallest, 1)
        return Issue(
            f"class {names[0]} has {largest} training pictures and {names[1]} has {smallest}, more than "
            f"{threshold_imbalance:g} times as many",
            ratio,
            threshold_imbalance,
            0,
        )
    for index, row in enumerate((seen.finished and seen.confusion) or ()):
        wrong = sum(row) - row[index]
        if sum(row) and bounds(wrong, sum(row), 1 - (1 - certainty) / len(seen.classes))[0] > threshold_misprediction:
            return Issue(
                f"of class {seen.classes[index]} {wrong} of {sum(row)} validation pictures are mispredicted, "
                f"more than {threshold_misprediction:g} of them",
                wrong / sum(row),
                threshold_misprediction,
                seen.step,
            )
    return None
