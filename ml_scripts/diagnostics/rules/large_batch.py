"""Not one of AWS's: the batch leaves so few steps that the training ended while it was still learning.

An epoch has less than ``least_steps`` steps, the training loss is still above ``learnt`` of the loss of guessing, and
the last epoch lowered it by more than ``still_percent``.
"""

from diagnostics.rule import Issue, NotApplicable, counted, rule
from diagnostics.statistics import Statistics


@rule(
    "LargeBatch",
    least_steps=4,
    learnt=0.1,
    still_percent=2.0,
    advice="take a smaller batch, for more steps an epoch",
)
def check(seen: Statistics, least_steps: int, learnt: float, still_percent: float) -> Issue | None:
    """Whether the last epochs say that there was more to learn, in more steps."""
    if not seen.finished:
        raise NotApplicable("the training has not reached its end")
    if len(seen.epochs) < 2:
        raise NotApplicable("one epoch was trained, and two are compared")
    before, last = (entry["train_loss"] for entry in seen.epochs[-2:])
    decrease = 100 * (before - last) / before if before > 0 else 0.0
    if seen.steps_per_epoch >= least_steps or last <= learnt * seen.chance_loss or decrease <= still_percent:
        return None
    steps = counted(seen.steps_per_epoch, "step")
    return Issue(
        f"a batch of {seen.batch_size} leaves {steps} an epoch, less than {least_steps}, and the last epoch still "
        f"lowered the training loss by {decrease:.3g} %, to {last:.4g}",
        seen.steps_per_epoch,
        least_steps,
        len(seen.epochs) * seen.steps_per_epoch,
    )
