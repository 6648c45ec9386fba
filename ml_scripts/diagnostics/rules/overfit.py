"""AWS: (validation loss - training loss) / training loss is above ``ratio_threshold`` for ``patience`` steps.

AWS counts steps at which both losses are known; here those are the epochs. The ratio grows without end where the
training loss approaches 0, as it does in every healthy training of a head: with ``of_chance`` the distance is
divided by the loss of guessing instead.
"""

from diagnostics.rule import Issue, NotApplicable, rule
from diagnostics.statistics import Statistics


@rule(
    "Overfit",
    of_aws=True,
    ratio_threshold=0.1,
    patience=1,
    start_step=0,
    of_chance=False,
    here={"ratio_threshold": 0.5, "patience": 2, "of_chance": True},
    advice="give it more pictures or more augmented views, or train fewer layers",
)
def check(seen: Statistics, ratio_threshold: float, patience: int, start_step: int, of_chance: bool) -> Issue | None:
    """The first epoch at which the distance had been too large for too long."""
    if not seen.epochs:
        raise NotApplicable("no epoch was finished")
    waited = 0
    for entry in seen.epochs:
        step = entry["epoch"] * seen.steps_per_epoch
        distance = entry["valid_loss"] - entry["train_loss"]
        ratio = distance / max(seen.chance_loss if of_chance else entry["train_loss"], 1e-12)
        waited = waited + 1 if ratio > ratio_threshold and step >= start_step else 0
        if waited >= patience:
            divisor = "the loss of guessing" if of_chance else "the training loss"
            return Issue(
                f"in epoch {entry['epoch']:.0f} the validation loss, {entry['valid_loss']:.4g}, is above the training "
                f"loss, {entry['train_loss']:.4g}, by {ratio:.3g} times {divisor}, more than {ratio_threshold:g}",
                ratio,
                ratio_threshold,
                step,
            )
    return None
