"""AWS: the loss decreases by less than ``diff_percent`` over ``num_steps``, or increases by more than
``increase_threshold_percent``.

What is compared are means over ``average`` steps: 1 is AWS's single loss, 0 an epoch, so that both means are of the
same pictures. A loss below ``learnt`` of the loss of guessing may stand still: most trainings end so.
"""

from diagnostics.rule import Issue, NotApplicable, rule, were
from diagnostics.statistics import Statistics


@rule(
    "LossNotDecreasing",
    of_aws=True,
    num_steps=10,
    diff_percent=0.1,
    increase_threshold_percent=5.0,
    average=1,
    learnt=0.0,
    here={"average": 0, "learnt": 0.5},
    advice="change the learning rate: lower it where the loss jumps, raise it where it stands still",
)
def check(
    seen: Statistics,
    num_steps: int,
    diff_percent: float,
    increase_threshold_percent: float,
    average: int,
    learnt: float,
) -> Issue | None:
    """The first time that the loss did not decrease enough."""
    width = average or seen.steps_per_epoch
    distance = max(num_steps, width)
    distance += -distance % width  # the same part of an epoch
    if len(seen.losses) < distance + width:
        raise NotApplicable(f"{were(len(seen.losses), 'step')} taken, and {distance + width} are needed to compare")
    for end in range(distance + width, len(seen.losses) + 1, distance):
        now = sum(seen.losses[end - width : end]) / width
        before = sum(seen.losses[end - width - distance : end - distance]) / width
        decrease = 100 * (before - now) / before if before > 0 else 0.0
        if decrease >= diff_percent or now < learnt * seen.chance_loss:
            continue
        step = seen.first_step + end - 1
        if -decrease > increase_threshold_percent:
            sentence = f"the loss rose by {-decrease:.3g} % over {distance} steps, from {before:.4g} to {now:.4g}"
            return Issue(sentence, -decrease, increase_threshold_percent, step)
        return Issue(
            f"the loss decreased by {decrease:.3g} % over {distance} steps, from {before:.4g} to {now:.4g}, "
            f"less than {diff_percent:g} %",
            decrease,
            diff_percent,
            step,
        )
    return None
