"""What stopping a broken training saves, and whether its remedy heals it.

    .venv-ml/bin/python benchmarks/diagnostics_actions.py [--seeds 2] [--photos FOLDER] [--no-whole]

Trains the heads of diagnostics_rules.py's broken cases on two drawn data sets, to the end and with rules that stop; a
rule that has a remedy is retried with it, at most three times, as Airflow does by default. Seconds are CPU seconds of
the training on features that are there already; USD are those seconds on an ml.m5.xlarge. A training is healed where
the accuracy of its last attempt is within two points of the healthy one of the same seed. The last line is of a whole
network, small.
"""

import contextlib
import io
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import diagnostics_rules as cases
import torch
import train as script
from _options import options
from backbones import KINDS, build_head
from diagnostics.choice import choose
from diagnostics.session import Diagnostics
from distributed import Group
from errors import UserError
from features import Cached
from precision import Precision
from precision import choose as choose_precision
from training import Plan, Stop, Task, train

sys.path.append(str(cases.ROOT / "plugins"))

from musher.diagnostics.rules import (
    OUT_OF_MEMORY,
    RETRY,
    RULES,
    STOP,
    Tried,
    allowed,
    changes,
    for_a_job,
    in_vain,
)

ON_ISSUE = {rule: RETRY if RETRY in allowed(rule) else STOP for rule in RULES if rule != OUT_OF_MEMORY}
MOST_REMEDIES = 3
WITHIN = 0.02
PRICES = cases.ROOT / "plugins/musher/costs/prices.json"
FIRED = re.compile(r"DiagnosticRule (\w+):.*\(step (\d+)\)", re.DOTALL)

Values = dict[str, str]


@dataclass
class Trained:
    """One job: the rule that ended it and at which step, epochs, CPU seconds, and the accuracy of its best epoch."""

    ended_by: str | None
    step: int | None
    epochs: int
    seconds: float
    accuracy: float


@dataclass
class Case:
    """What a case came to, over data sets and seeds."""

    ended_by: Counter = field(default_factory=Counter)
    full: list[float] = field(default_factory=list)
    stopped: list[float] = field(default_factory=list)
    remedies: list[list[str]] = field(default_factory=list)
    healed: list[bool | None] = field(default_factory=list)
    broken: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    healthy: list[float] = field(default_factory=list)


def run_job(job: Callable[[Diagnostics, Plan], object], diagnostics: Diagnostics, plan: Plan) -> Trained:
    """Train, and say how it ended."""
    began, ended_by, step = time.process_time(), None, None
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            job(diagnostics, plan)
        except UserError as error:
            found = FIRED.search(str(error))
            ended_by, step = (found[1], int(found[2])) if found else ("(the loss)", None)
    seconds, epochs = time.process_time() - began, diagnostics.seen.epochs
    best = min(epochs, key=lambda each: each["valid_loss"], default={"valid_accuracy": 0.0})
    return Trained(ended_by or diagnostics.ended_by, step, len(epochs), seconds, best["valid_accuracy"])


def head_job(run: cases.Run, rules: str, values: Values) -> Trained:
    """Train a head on features that are there already; ``values`` are what a remedy changed."""
    pictures, group = run.pictures, Group()
    lr, seed = float(values.get("lr", run.lr)), int(values.get("seed", run.seed))
    diagnostics = Diagnostics(
        choose(rules), group, pictures.splits, pictures.classes, "head", run.batch_size, run.epochs
    )
    diagnostics._inputs = pictures.watched

    def job(diagnostics: Diagnostics, plan: Plan) -> None:
        diagnostics.readable(pictures.splits)
        torch.manual_seed(plan.seed)
        head = build_head("hidden", KINDS[cases.BACKBONE].features, len(pictures.classes))
        run.spoil(head)
        task = Task(head, Cached(pictures.features), Precision(torch.device("cpu"), None), group)
        train(task, plan, Stop(), None, lambda entry: None, diagnostics)

    return run_job(job, diagnostics, Plan(run.epochs, lr, run.batch_size, seed))


def whole_job(folder: Path, weights: Path, lr: float, seed: int, rules: str, values: Values) -> Trained:
    """Train a whole network for four epochs at 96 pixels."""
    folders = [f"--{split}={folder / split}" for split in ("train", "valid", "test")]
    places = [f"--pretrained-dir={weights}", f"--model-dir={folder}", f"--output-dir={folder}"]
    how = ["--finetune=all", "--image-size=96", "--epochs=4", "--batch-size=16"]
    told = {"lr": str(lr), "seed": str(seed), **values}
    settings = cases.settings_module.parse(
        [*folders, *places, *how, *(f"--{name}={value}" for name, value in told.items()), f"--rules={rules}"], {}
    )
    classes, splits = cases.read_splits(settings.train, settings.valid, settings.test)
    group, stop = Group(), Stop()
    diagnostics = Diagnostics(
        settings.chosen_rules(), group, splits, classes, "all", settings.batch_size, settings.epochs
    )

    def job(diagnostics: Diagnostics, plan: Plan) -> None:
        classifier = script.build(settings, len(classes), group)
        task, kept, _ = script.prepare(
            settings, classifier, splits, choose_precision(training=True), group, stop, diagnostics
        )
        diagnostics.readable(kept)
        train(task, plan, stop, None, lambda entry: None, diagnostics)

    return run_job(job, diagnostics, script.plan_of(settings))


def act(case: Case, job: Callable[[str, Values], Trained], told: Values, healthy: float) -> None:
    """The same job to its end, then as Airflow runs it."""
    full = job("default", {})
    stopping = for_a_job("default", ON_ISSUE)
    values: Values = {}
    last = first = job(stopping, values)
    remedies, tried = [], []
    while last.ended_by in ON_ISSUE and ON_ISSUE[last.ended_by] == RETRY and len(remedies) < MOST_REMEDIES:
        changed = changes(last.ended_by, {**told, **values}, 1, [each.rule for each in tried])
        if changed is None:  # it has ended by itself, with its best epoch
            break
        tried.append(Tried(last.ended_by, last.step, frozenset(changed)))
        if len(tried) > 1 and in_vain(*tried[-2:]):
            break
        values |= changed
        remedies.append(", ".join(f"{name} {value}" for name, value in changed.items()))
        last = job(stopping, values)
    case.ended_by[first.ended_by or "-"] += 1
    case.full.append(full.seconds)
    case.stopped.append(first.seconds)
    case.remedies.append(remedies)
    acted = remedies or first.ended_by == "Overtraining"
    failed = last.ended_by is not None and last.ended_by != "Overtraining"
    case.healed.append((not failed and last.accuracy >= healthy - WITHIN) if acted else None)
    case.broken.append(full.accuracy)
    if last.epochs:
        case.after.append(last.accuracy)
    case.healthy.append(healthy)


def once(run: cases.Run) -> cases.Run:
    """Weights of zero from one seed only, as a draw that was bad by chance."""
    calls = iter((True, True))

    def spoil(head: torch.nn.Module) -> None:
        if next(calls, False):
            cases.zero(head)

    return replace(run, spoil=spoil)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def show(found: dict[str, Case], usd_per_second: float) -> None:
    print("\n| broken | ended by | to the end, s | stopped, s | saved | saved USD | accuracy | remedies | healed |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, case in found.items():
        ended = ", ".join(f"{rule} {count}" for rule, count in case.ended_by.most_common())
        full, stopped = mean(case.full), mean(case.stopped)
        saved = max(0.0, full - stopped)
        remedies = Counter(" then ".join(each) for each in case.remedies if each)
        told = "; ".join(f"{words} ({count})" for words, count in remedies.most_common(3)) or "-"
        tried = [each for each in case.healed if each is not None]
        healed = f"{sum(tried)} of {len(tried)}" if tried else "no remedy"
        after = f"{mean(case.after):.2f}" if case.after else "none"
        accuracy = f"{mean(case.broken):.2f} to {after}, healthy {mean(case.healthy):.2f}"
        print(
            f"| {name} | {ended} | {full:.2f} | {stopped:.2f} | {saved / full:.0%} | {saved * usd_per_second:.2g} | "
            f"{accuracy} | {told} | {healed} |",
            flush=True,
        )


def main() -> int:
    parser = options("Measure what the diagnostics' actions save and heal.", seeds=2)
    parser.add_argument("--no-whole", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    hourly = json.loads(PRICES.read_text())["sagemaker_per_hour"]["ml.m5.xlarge"]["usd"]
    found: dict[str, Case] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        weights = folder / "weights"
        subprocess.run(
            [sys.executable, cases.ROOT / "ml_scripts/pretrained.py", weights], check=True, capture_output=True
        )
        for number, (name, place) in enumerate(cases.data_sets(folder, given.photos).items()):
            pictures = cases.read(name, place, weights)
            raw = cases.read(name, place, weights, cases.Unshifted)
            leaking = cases.read(name, cases.leak(place, folder / f"leak-{number}"), weights)
            for seed in range(given.seeds):
                healthy = head_job(cases.Run(pictures, seed), "default", {}).accuracy
                runs = cases.broken_runs(pictures, raw, leaking, seed)
                runs["zero initialisation, one seed's"] = once(runs["zero initialisation"])
                for case, run in runs.items():
                    told = {"lr": str(run.lr), "seed": str(run.seed), "batch-size": str(run.batch_size)}
                    act(
                        found.setdefault(case, Case()),
                        lambda rules, values, run=run: head_job(run, rules, values),
                        told,
                        healthy,
                    )
            print(f"{name}: done", flush=True)
        if not given.no_whole:
            cases.draw(folder / "few", breeds=3, train=40, valid=8, test=8)
            for seed in range(given.seeds):
                healthy = whole_job(folder / "few", weights, 0.001, seed, "default", {})
                act(
                    found.setdefault("learning rate x1000, whole network", Case()),
                    lambda rules, values, seed=seed: whole_job(folder / "few", weights, 1.0, seed, rules, values),
                    {"lr": "1.0", "seed": str(seed), "batch-size": "16"},
                    healthy.accuracy,
                )
    show(found, hourly / 3600)
    return 0


if __name__ == "__main__":
    sys.exit(main())
