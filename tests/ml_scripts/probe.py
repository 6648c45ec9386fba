"""One process of a group: trains a little and writes down its gradients, its weights and what its diagnostics saw.
Run by test_distributed.py.

Usage: probe.py head|all FOLDER (with RANK, WORLD_SIZE, ... in the environment).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "ml_scripts"))

import torch
from backbones import Classifier, build_head, settle_statistics
from checkpoints import State
from data import Split
from diagnostics.choice import choose
from diagnostics.session import NOTHING, Diagnostics
from distributed import Group
from features import Cached, Features
from optimiser import FlatParameters, adam
from precision import Precision
from training import Task, batch_gradient, epoch_batches

# Eleven samples in global batches of five: five, five, one. Two ranks get 3 + 2, 3 + 2 and 1 + 0 of them.
SAMPLES, BATCH, STEPS = 11, 5, 3


class Noise:
    """A source of random pictures, the same on every rank."""

    everywhere = False

    def samples(self, name):
        return SAMPLES

    def __init__(self):
        chance = torch.Generator().manual_seed(2)
        self.pictures = torch.randn(SAMPLES, 3, 32, 32, generator=chance)
        self.labels = torch.randint(0, 3, (SAMPLES,), generator=chance)

    def stream(self, name, batches, epoch):
        for batch in batches:
            yield self.pictures[batch], self.labels[batch]


def task_of(kind: str, group: Group) -> Task:
    precision = Precision(torch.device("cpu"), None)
    torch.manual_seed(1)
    if kind == "head":
        features = Features(torch.randn(1, SAMPLES, 20), torch.randint(0, 3, (SAMPLES,)))
        # A rank's own random state must not matter.
        torch.manual_seed(1 + group.rank)
        return Task(build_head("hidden", 20, 3), Cached({"train": features}), precision, group)
    classifier = Classifier("efficientnet_lite0", "linear", 3, 32)
    settle_statistics(classifier.backbone, 32)
    return Task(precision.place(classifier), Noise(), precision, group)


def run(kind: str, group: Group) -> dict[str, torch.Tensor]:
    """Three steps over one epoch: the gradients and losses of each, the weights at the end, and what was recorded."""
    task = task_of(kind, group)
    flat = FlatParameters(task.module)
    group.broadcast(flat.values)
    state, found = State.fresh(flat.values), {}
    splits = {"train": Split("train", Path(), ["x"] * SAMPLES, [0] * SAMPLES)}
    # Of a head on features every rank takes whole batches in a training, though not here.
    chosen = choose("none,DeadRelu" if kind == "all" else "none")
    diagnostics = Diagnostics(chosen, group, splits, ["a", "b", "c"], kind, BATCH, 1)
    diagnostics.begin(task, flat, state)
    batches = epoch_batches(SAMPLES, BATCH, 0, 0)
    assert [len(batch) for batch in batches] == [5, 5, 1]
    mine = [batch[group.rank :: group.world] for batch in batches]
    for step, (inputs, labels) in enumerate(task.source.stream("train", mine, 0)):
        with diagnostics.watching() if state.step + 1 == diagnostics.next_sample else NOTHING as sampled:
            gradient, loss = batch_gradient(task, flat, inputs, labels, len(batches[step]))
        found[f"gradient {step}"], found[f"loss {step}"] = gradient.clone(), loss.clone()
        before = diagnostics.before(flat.values) if sampled else None
        adam(state, flat, gradient, 0.001)
        if sampled:
            diagnostics.took(state, loss.item(), gradient, before, flat.values)
    for sample in diagnostics.seen.samples:
        for each in sample.activations:
            seen = [each.inputs, each.variance, *each.activity]
            found[f"{each.name} in step {sample.step}"] = torch.tensor(seen, dtype=torch.double)
    return found | {"weights": flat.values.clone()}


if __name__ == "__main__":
    everyone = Group.join(30)
    torch.save(run(sys.argv[1], everyone), Path(sys.argv[2]) / f"{everyone.rank}.pt")
    everyone.leave()
