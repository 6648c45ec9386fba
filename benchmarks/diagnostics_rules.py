"""Which rule of the diagnostics fires on which broken training, and how often one fires on a healthy training.

    .venv-ml/bin/python benchmarks/diagnostics_rules.py [--photos FOLDER] [--seeds 50] [--rules default]

Trains the head, as configured by default, on two drawn data sets, and on photos where a folder with train/, valid/ and
test/ is named; then with other rates, batches and epochs, which are healthy, too; then with one thing broken. The
features of a data set are computed once; everything after that is train.py's own code. The last lines are whole
networks, few and small. Fails when more than one healthy training in 50 of the default or of a whole network has a
false alarm, or when a broken one has none; false alarms of the other healthy ones are shown.
"""

import contextlib
import io
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "ml_scripts")]

import settings as settings_module  # noqa: E402
import torch  # noqa: E402
import train as script  # noqa: E402
from _options import options  # noqa: E402
from backbones import KINDS, build_head  # noqa: E402
from data import Split, read_splits  # noqa: E402
from diagnostics.choice import choose  # noqa: E402
from diagnostics.session import Diagnostics  # noqa: E402
from distributed import Group  # noqa: E402
from errors import UserError  # noqa: E402
from features import Cached, Features  # noqa: E402
from images import Normalisation  # noqa: E402
from precision import Precision  # noqa: E402
from precision import choose as choose_precision  # noqa: E402
from training import Plan, Stop, Task, train  # noqa: E402

from tools.sample_dataset import draw  # noqa: E402

BACKBONE = "efficientnet_lite0"
BROKEN_SEEDS = 5
GOAL = 1 / 50


@dataclass
class Pictures:
    """A data set with its features, and the diagnostics' view of the pictures that they were computed from."""

    name: str
    classes: list[str]
    splits: dict[str, Split]
    features: dict[str, Features]
    watched: object


@dataclass
class Run:
    """One training; ``spoil`` breaks the head before it starts."""

    pictures: Pictures
    seed: int
    epochs: int = 10
    lr: float = 0.001
    batch_size: int = 32
    spoil: Callable[[torch.nn.Module], None] = lambda head: None


def read(name: str, folder: Path, weights: Path, broken: Callable | None = None) -> Pictures:
    """The features of a data set; ``broken`` takes the place of its normalisation."""
    folders = [f"--{split}={folder / split}" for split in ("train", "valid", "test")]
    settings = settings_module.parse(
        [*folders, f"--pretrained-dir={weights}", f"--model-dir={folder}", f"--output-dir={folder}"], {}
    )
    classes, splits = read_splits(settings.train, settings.valid, settings.test)
    group, stop = Group(), Stop()
    diagnostics = Diagnostics(choose("default"), group, splits, classes, "head", 32, 1)
    classifier = script.build(settings, len(classes), group)
    if broken:
        script.Normalisation = broken
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            task, splits, _ = script.prepare(settings, classifier, splits, choose_precision(), group, stop, diagnostics)
    finally:
        script.Normalisation = Normalisation
    return Pictures(name, classes, splits, task.source.features, diagnostics._inputs)


def train_head(run: Run, rules: str) -> set[str]:
    """The rules that fired."""
    pictures, group = run.pictures, Group()
    diagnostics = Diagnostics(
        choose(rules), group, pictures.splits, pictures.classes, "head", run.batch_size, run.epochs
    )
    diagnostics._inputs = pictures.watched
    diagnostics.readable(pictures.splits)
    torch.manual_seed(run.seed)
    head = build_head("hidden", KINDS[BACKBONE].features, len(pictures.classes))
    run.spoil(head)
    task = Task(head, Cached(pictures.features), Precision(torch.device("cpu"), None), group)
    plan = Plan(run.epochs, run.lr, run.batch_size, run.seed)
    with contextlib.redirect_stdout(io.StringIO()):
        with contextlib.suppress(UserError):
            train(task, plan, Stop(), None, lambda entry: None, diagnostics)
        diagnostics.judge()
    return fired(diagnostics)


def fired(diagnostics: Diagnostics) -> set[str]:
    failed = [name for name, outcome in diagnostics.outcomes.items() if outcome.status == "Error"]
    assert not failed, [diagnostics.outcomes[name].details for name in failed]
    return {name for name, outcome in diagnostics.outcomes.items() if outcome.status == "IssuesFound"}


def shuffled(pictures: Pictures, seed: int) -> Pictures:
    """The training pictures with each other's labels."""
    split, features = pictures.splits["train"], pictures.features["train"]
    labels = list(split.labels)
    random.Random(seed).shuffle(labels)
    return replace(
        pictures,
        splits={**pictures.splits, "train": Split(split.name, split.root, split.files, labels)},
        features={**pictures.features, "train": Features(features.values, torch.tensor(labels))},
    )


def one_class(pictures: Pictures) -> Pictures:
    """All training pictures of the first class, and a single one of each of the others."""
    split, features = pictures.splits["train"], pictures.features["train"]
    kept = [i for i, label in enumerate(split.labels) if label == 0 or split.labels.index(label) == i]
    return replace(
        pictures,
        splits={**pictures.splits, "train": split.keep(kept)},
        features={**pictures.features, "train": Features(features.values[:, kept], features.labels[kept])},
    )


def leak(folder: Path, target: Path) -> Path:
    """A copy of a data set, its validation pictures among the training pictures as well."""
    shutil.copytree(folder, target)
    for path in (target / "valid").rglob("*"):
        if path.is_file():
            shutil.copyfile(path, target / "train" / path.parent.name / f"leaked_{path.name}")
    return target


class Unshifted(Normalisation):
    """Pictures on the scale 0..1, as they are before they are normalised."""

    def __init__(self, mean, std, device):
        super().__init__((0.0,) * 3, (1.0,) * 3, device)


def zero(head: torch.nn.Module) -> None:
    for parameter in head.parameters():
        parameter.data.zero_()


def kill(head: torch.nn.Module) -> None:
    head[0].bias.data.fill_(-1000.0)


def broken_runs(pictures: Pictures, raw: Pictures, leaking: Pictures, seed: int) -> dict[str, Run]:
    healthy = Run(pictures, seed)
    return {
        "learning rate x1000": replace(healthy, lr=1.0),
        "zero initialisation": replace(healthy, spoil=zero),
        "shuffled labels": replace(healthy, pictures=shuffled(pictures, seed)),
        "one class only": replace(healthy, pictures=one_class(pictures)),
        "not normalised": replace(healthy, pictures=raw),
        "leaked validation": replace(healthy, pictures=leaking),
        "ReLUs killed": replace(healthy, spoil=kill),
        "200 epochs": replace(healthy, epochs=200),
        "batch of everything": replace(healthy, batch_size=len(pictures.splits["train"])),
    }


def other_runs(pictures: Pictures, seed: int) -> dict[str, Run]:
    """Not the default configuration, but what a tuning job may well try."""
    healthy = Run(pictures, seed)
    return {
        "learning rate x10": replace(healthy, lr=0.01),
        "learning rate /10": replace(healthy, lr=0.0001),
        "batches of 16": replace(healthy, batch_size=16),
        "3 epochs": replace(healthy, epochs=3),
    }


def train_whole(folder: Path, weights: Path, seed: int, rules: str, lr: float, spoil: Callable) -> set[str]:
    """The rules that fired on a whole network."""
    folders = [f"--{split}={folder / split}" for split in ("train", "valid", "test")]
    places = [f"--pretrained-dir={weights}", f"--model-dir={folder}", f"--output-dir={folder}"]
    how = ["--finetune=all", "--image-size=96", "--epochs=3", "--batch-size=16", f"--lr={lr}", f"--seed={seed}"]
    settings = settings_module.parse([*folders, *places, *how, f"--rules={rules}"], {})
    classes, splits = read_splits(settings.train, settings.valid, settings.test)
    group, stop = Group(), Stop()
    diagnostics = Diagnostics(
        settings.chosen_rules(), group, splits, classes, "all", settings.batch_size, settings.epochs
    )
    classifier = script.build(settings, len(classes), group)
    spoil(classifier.head)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(UserError):
        task, splits, _ = script.prepare(
            settings, classifier, splits, choose_precision(training=True), group, stop, diagnostics
        )
        diagnostics.readable(splits)
        plan = Plan(settings.epochs, settings.lr, settings.batch_size, settings.seed)
        train(task, plan, stop, None, lambda entry: None, diagnostics)
    with contextlib.redirect_stdout(io.StringIO()):
        diagnostics.judge()
    return fired(diagnostics)


def data_sets(folder: Path, photos: Path | None) -> dict[str, Path]:
    draw(folder / "six", breeds=6, train=40, valid=8, test=8)
    draw(folder / "eight", seed=1, breeds=8, train=30, valid=8, test=8)
    found = {"six drawn breeds": folder / "six", "eight drawn breeds": folder / "eight"}
    return found | ({"photos": photos} if photos else {})


def show(title: str, counts: dict[str, Counter], runs: dict[str, int], names: list[str]) -> None:
    print(f"\n{title}\n{'':28}" + " ".join(f"{i + 1:>3}" for i in range(len(names))))
    for row, count in counts.items():
        cells = " ".join(f"{count[name] or '.':>3}" for name in names)
        print(f"{row:28}{cells}   of {runs[row]}", flush=True)


def main() -> int:
    parser = options("Evaluate the rules of the diagnostics.", seeds=50)
    parser.add_argument("--rules", default="default")
    given = parser.parse_args()
    torch.set_num_threads(1)
    names = [each.rule.name for each in choose(given.rules)]
    for index, name in enumerate(names):
        print(f"{index + 1:>3} {name}")
    healthy: dict[str, Counter] = {}
    broken: dict[str, Counter] = {}
    others: dict[str, Counter] = {}
    whole: dict[str, Counter] = {}
    runs: Counter = Counter()
    alarms = missed = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        subprocess.run(
            [sys.executable, ROOT / "ml_scripts/pretrained.py", folder / "weights"], check=True, capture_output=True
        )
        for name, place in data_sets(folder, given.photos).items():
            pictures = read(name, place, folder / "weights")
            healthy[name] = Counter()
            for seed in range(given.seeds):
                found = train_head(Run(pictures, seed), given.rules)
                healthy[name].update(found)
                alarms += bool(found)
            runs[name] = given.seeds
            raw = read(name, place, folder / "weights", Unshifted)
            leaking = read(name, leak(place, folder / f"leak-{len(healthy)}"), folder / "weights")
            for seed in range(BROKEN_SEEDS):
                for case, run in other_runs(pictures, seed).items():
                    others.setdefault(case, Counter()).update(train_head(run, given.rules))
                    runs[case] += 1
                for case, run in broken_runs(pictures, raw, leaking, seed).items():
                    found = train_head(run, given.rules)
                    broken.setdefault(case, Counter()).update(found)
                    runs[case] += 1
                    missed += not found
        draw(folder / "few", breeds=3, train=40, valid=8, test=8)
        for case, lr, spoil, seeds in (
            ("healthy", 0.001, lambda head: None, 3),
            ("learning rate x1000", 1.0, lambda head: None, 1),
            ("zero initialisation", 0.001, zero, 1),
            ("ReLUs killed", 0.001, kill, 1),
        ):
            for seed in range(seeds):
                found = train_whole(folder / "few", folder / "weights", seed, given.rules, lr, spoil)
                whole.setdefault(f"{case}, whole", Counter()).update(found)
                runs[f"{case}, whole"] += 1
                alarms += case == "healthy" and bool(found)
                missed += case != "healthy" and not found
    show("healthy trainings of a head, by rule: how many had an alarm", healthy, runs, names)
    show("other healthy trainings of a head", others, runs, names)
    show("whole networks", whole, runs, names)
    show("broken trainings of a head", broken, runs, names)
    total = given.seeds * len(healthy) + runs["healthy, whole"]
    print(f"\nfalse alarms: {alarms} of {total} healthy trainings; broken trainings without an alarm: {missed}")
    return 1 if alarms > GOAL * total or missed else 0


if __name__ == "__main__":
    sys.exit(main())
