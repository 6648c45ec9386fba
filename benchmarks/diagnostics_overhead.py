"""What the diagnostics cost a training: CPU time with and without them, in interleaved pairs.

    .venv-ml/bin/python benchmarks/diagnostics_overhead.py [--pairs 8]

One thread, 300 random pictures of 10 classes. A head: 20 epochs on features that are there already, without the start
of the job and the computing of the features, which take longer. A whole network: EfficientNet-Lite0, 3 epochs of
pictures that are decoded already, of 96 pixels: at 224 a step takes five times as long and the diagnostics hardly
longer. Printed are the mean of the pairs' differences in percent, without a fifth of them at either end, since other
programs on the machine disturb some, and its 95 % confidence interval (Yuen, 1974).
"""

import argparse
import contextlib
import io
import random
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "ml_scripts"))

import torch  # noqa: E402
from backbones import KINDS, Classifier, build_head, settle_statistics  # noqa: E402
from data import Split  # noqa: E402
from diagnostics.choice import choose  # noqa: E402
from diagnostics.session import Diagnostics  # noqa: E402
from distributed import Group  # noqa: E402
from features import Cached, Features  # noqa: E402
from images import Normalisation  # noqa: E402
from precision import Precision, keep_freed_memory  # noqa: E402
from precision import choose as choose_precision  # noqa: E402
from training import Plan, Stop, Task, train  # noqa: E402

BACKBONE, PICTURES, CLASSES, BATCH, SIZE = "efficientnet_lite0", 300, 10, 32, 96
GOALS = {"a head": 3.0, "a whole network": 1.0}
# Student's t for a 95 % confidence interval, by degrees of freedom; beyond the last one it hardly changes.
T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 7: 2.36, 9: 2.26, 11: 2.20, 15: 2.13, 19: 2.09, 29: 2.05}
TRIMMED = 0.2


class Noise:
    """A source of pictures that were decoded before: only normalising is left, and training."""

    everywhere = False

    def __init__(self, normalise) -> None:
        self.normalise = normalise
        self.pixels = torch.randint(0, 256, (BATCH, SIZE, SIZE, 3), dtype=torch.uint8)

    def samples(self, name: str) -> int:
        return PICTURES if name == "train" else BATCH

    def stream(self, name, batches, epoch):
        for batch in batches:
            yield self.normalise(self.pixels[: len(batch)]), batch % CLASSES


def labelled(name: str, count: int) -> Split:
    return Split(name, Path(), [str(index) for index in range(count)], [index % CLASSES for index in range(count)])


def head(rules: str) -> float:
    """CPU seconds of a head's training."""
    torch.manual_seed(0)
    features = {
        name: Features(torch.rand(1, count, KINDS[BACKBONE].features), torch.arange(count) % CLASSES)
        for name, count in (("train", PICTURES), ("valid", 50))
    }
    module = build_head("hidden", KINDS[BACKBONE].features, CLASSES)
    plain = Precision(torch.device("cpu"), None)
    return seconds(lambda watched: Task(module, Cached(features), plain, Group()), rules, "head", 20)


def whole(rules: str) -> float:
    """CPU seconds of a whole network's training."""
    torch.manual_seed(0)
    precision = choose_precision(training=True)
    classifier = precision.place(Classifier(BACKBONE, "hidden", CLASSES, SIZE))
    settle_statistics(classifier.backbone, 64)
    kind = KINDS[BACKBONE]

    def task(watched) -> Task:
        normalise = watched(Normalisation(kind.mean, kind.std, precision.device))
        return Task(classifier, Noise(normalise), precision, Group())

    return seconds(task, rules, "all", 3)


def seconds(make, rules: str, trained: str, epochs: int) -> float:
    splits = {"train": labelled("train", PICTURES), "valid": labelled("valid", 50)}
    classes = [str(index) for index in range(CLASSES)]
    # The comparison of files is left out: there are none.
    chosen = choose(rules if rules == "none" else f"{rules},LeakedValidation:off")
    with contextlib.redirect_stdout(io.StringIO()):
        diagnostics = Diagnostics(chosen, Group(), splits, classes, trained, BATCH, epochs)
        task = make(diagnostics.watched)
        started = time.process_time()
        diagnostics.readable(splits)
        train(task, Plan(epochs, 0.001, BATCH, 0), Stop(), None, lambda entry: None, diagnostics)
        diagnostics.judge()
        return time.process_time() - started


def trimmed(values: list[float]) -> tuple[float, float]:
    """The mean without the ends, and half of its confidence interval."""
    ordered, cut = sorted(values), int(TRIMMED * len(values))
    kept = ordered[cut : len(ordered) - cut]
    pulled_in = [min(max(value, kept[0]), kept[-1]) for value in ordered]
    error = statistics.stdev(pulled_in) / ((1 - 2 * cut / len(ordered)) * len(ordered) ** 0.5)
    return statistics.mean(kept), T[max(known for known in T if known < len(kept))] * error


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what the diagnostics cost.")
    parser.add_argument("--pairs", type=int, default=8)
    pairs = parser.parse_args().pairs
    torch.set_num_threads(1)
    keep_freed_memory()
    failed = False
    for what, run, count in (("a head", head, 20 * pairs), ("a whole network", whole, pairs)):
        run("default")  # what is imported and allocated once
        percents, plain = [], []
        for _ in range(count):
            order = ["none", "default"]
            random.shuffle(order)
            cost = {rules: run(rules) for rules in order}
            percents.append(100 * (cost["default"] - cost["none"]) / cost["none"])
            plain.append(cost["none"])
        mean, reach = trimmed(percents)
        print(
            f"{what}: {mean:.2f} % more CPU time ({mean - reach:.2f} to {mean + reach:.2f}), {count} pairs of "
            f"{statistics.median(plain):.2f} s; goal {GOALS[what]:g} %",
            flush=True,
        )
        failed |= mean > GOALS[what]
    return failed


if __name__ == "__main__":
    sys.exit(main())
