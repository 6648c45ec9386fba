"""AWS: neither loss has improved by more than ``delta``, the training loss for ``patience_train``, the validation
loss for ``patience_validation`` steps.

AWS counts steps at which a loss is known; here those are the epochs. AWS's page gives 0.1 for ``delta`` in its older
version and 0.01 in the newer one, which is followed.
"""

from diagnostics.rule import Issue, NotApplicable, rule, were
from diagnostics.statistics import Statistics


@rule(
    "Overtraining",
    of_aws=True,
    patience_train=5,
    patience_validation=10,
    delta=0.01,
    advice="train fewer epochs, or set patience: the model of the best epoch is kept either way",
)
def check(seen: Statistics, patience_train: int, patience_validation: int, delta: float) -> Issue | None:
    """The first epoch at which both losses had stood still for too long."""
    patience = {"train_loss": patience_train, "valid_loss": patience_validation}
    if len(seen.epochs) <= max(patience.values()):
        raise NotApplicable(f"{were(len(seen.epochs), 'epoch')} finished, and {max(patience.values()) + 1} are needed")
    best: dict[str, tuple[float, int]] = {}
    for number, entry in enumerate(seen.epochs):
        for loss in patience:
            if loss not in best or entry[loss] < best[loss][0] - delta:
                best[loss] = entry[loss], number
        waited = {loss: number - since for loss, (_, since) in best.items()}
        if all(waited[loss] >= patience[loss] for loss in patience):
            since = int(seen.epochs[best["valid_loss"][1]]["epoch"])
            return Issue(
                f"the validation loss has not improved by {delta:g} since epoch {since}, for "
                f"{waited['valid_loss']} epochs, and the training loss for {waited['train_loss']}",
                waited["valid_loss"],
                patience_validation,
                int(entry["epoch"]) * seen.steps_per_epoch,
            )
    return None
