"""What the diagnostics and the profiler cost a training: CPU time with and without them, step by step in turn.

    .venv-ml/bin/python benchmarks/diagnostics_overhead.py [--pairs 8]

One thread, 300 random pictures of 10 classes. A head: 20 epochs on features that are there already, without the start
of the job and the computing of the features, which take longer. A whole network: EfficientNet-Lite0, 3 epochs of
pictures that are decoded already, of 96 pixels: at 224 a step takes five times as long and what is added hardly longer.

Two trainings, one with and one without, take turns: each takes a step and hands over to the other, so that whatever
else the machine does disturbs both alike; counted is the CPU time of each one's thread. Printed is the mean of the
differences of such pairs in percent, without a fifth of them at either end, and its 95 % confidence interval (Yuen,
1974). What samples the instance runs beside a training; its CPU time is measured apart and printed as a share of one
CPU.
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

# Of every thread here, so that its own CPU time is all that its training takes.
os.environ["OMP_NUM_THREADS"] = "1"
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
from profiling import session as profiling_session  # noqa: E402
from profiling.choice import choose_profile  # noqa: E402
from profiling.clock import CLOCK  # noqa: E402
from profiling.system import Sampler  # noqa: E402
from training import Plan, Stop, Task, train  # noqa: E402

BACKBONE, PICTURES, CLASSES, BATCH, SIZE = "efficientnet_lite0", 300, 10, 32, 96
GOALS = {"a head": 3.0, "a whole network": 1.0}
# Student's t for a 95 % confidence interval, by degrees of freedom; beyond the last one it hardly changes.
T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 7: 2.36, 9: 2.26, 11: 2.20, 15: 2.13, 19: 2.09, 29: 2.05}
TRIMMED = 0.2


WATCHED, PLAIN = 0, 1
RULES, PROFILE = "default,LeakedValidation:off", "default,system:off"  # there are no files to compare
SAMPLES = 40


class Turns:
    """Who of two threads goes on; what is measured must not see the other one's clock."""

    def __init__(self) -> None:
        self.may_go = [threading.Semaphore(1), threading.Semaphore(0)]
        self.over = [False, False]

    def begin(self, me: int) -> None:
        self.may_go[me].acquire()
        CLOCK.on = me == WATCHED and PROFILE != "none"

    def hand_over(self, me: int) -> None:
        if self.over[1 - me]:
            return
        self.may_go[1 - me].release()
        self.begin(me)

    def leave(self, me: int) -> None:
        CLOCK.on = False
        self.over[me] = True
        self.may_go[1 - me].release()


class InTurn:
    """A source of pictures or features that hands over before each batch."""

    def __init__(self, source, turns: Turns, me: int) -> None:
        self.source, self.turns, self.me = source, turns, me
        self.everywhere = source.everywhere

    def samples(self, name: str) -> int:
        return self.source.samples(name)

    def stream(self, name, batches, epoch):
        for item in self.source.stream(name, batches, epoch):
            self.turns.hand_over(self.me)
            yield item


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


def head(watched: Callable) -> Task:
    """A head on features."""
    torch.manual_seed(0)
    features = {
        name: Features(torch.rand(1, count, KINDS[BACKBONE].features), torch.arange(count) % CLASSES)
        for name, count in (("train", PICTURES), ("valid", 50))
    }
    module = build_head("hidden", KINDS[BACKBONE].features, CLASSES)
    return Task(module, Cached(features), Precision(torch.device("cpu"), None), Group())


def whole(watched: Callable) -> Task:
    """A whole network."""
    torch.manual_seed(0)
    precision = choose_precision(training=True)
    classifier = precision.place(Classifier(BACKBONE, "hidden", CLASSES, SIZE))
    settle_statistics(classifier.backbone, 64)
    kind = KINDS[BACKBONE]
    normalise = watched(Normalisation(kind.mean, kind.std, precision.device))
    return Task(classifier, Noise(normalise), precision, Group())


def pair(make: Callable, trained: str, epochs: int, number: int) -> tuple[float, float]:
    """CPU seconds of a training that is watched, and of one that is not.

    Which of the two begins, and which has the thread (and its memory) that was there first, goes by ``number``.
    """
    turns, took = Turns(), [0.0, 0.0]
    if number % 2:
        turns.may_go.reverse()
    threads = [
        threading.Thread(target=lambda me=me: took.__setitem__(me, seconds(make, trained, epochs, turns, me)))
        for me in ((WATCHED, PLAIN) if number // 2 % 2 else (PLAIN, WATCHED))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took[WATCHED], took[PLAIN]


def seconds(make: Callable, trained: str, epochs: int, turns: Turns, me: int) -> float:
    turns.begin(me)
    splits = {"train": labelled("train", PICTURES), "valid": labelled("valid", 50)}
    classes = [str(index) for index in range(CLASSES)]
    chosen = choose(RULES if me == WATCHED else "none")
    diagnostics = Diagnostics(chosen, Group(), splits, classes, trained, BATCH, epochs)
    task = make(diagnostics.watched)
    task.source = InTurn(task.source, turns, me)
    profiler = profiling_session.Profiler(choose_profile(PROFILE if me == WATCHED else "none"), Path(), trained, BATCH)
    started = time.thread_time()
    if me == WATCHED:
        profiler.__enter__()
    diagnostics.readable(splits)
    train(task, Plan(epochs, 0.001, BATCH, 0), Stop(), None, lambda entry: None, diagnostics)
    diagnostics.judge()
    if me == WATCHED:
        judged(profiler)
    ended = time.thread_time()
    turns.leave(me)
    return ended - started


def judged(profiler: profiling_session.Profiler) -> None:
    """What a profiler does at the end, but for writing the file."""
    rank, _ = profiler._part()
    profile = profiling_session.Profile(profiler.trained, BATCH, [rank], [])
    outcomes = profiling_session.evaluate(profiler.chosen.rules, profile)
    issues = {name: each.issue for name, each in outcomes.items() if each.issue}
    json.dumps(profiling_session.content(profile, [], profiling_session.verdict(profile, issues), None))


def sampling() -> float:
    """CPU milliseconds of a sample of the instance."""
    with tempfile.TemporaryDirectory() as folder:
        sampler = Sampler(0.1, Path(folder))
        took: list[float] = []
        sample = sampler._sample

        def timed() -> None:
            sample()
            took.append(time.thread_time())

        sampler._thread = threading.Thread(target=timed)
        sampler.start()
        while sampler._thread.is_alive() and len(sampler.rows) < SAMPLES:
            time.sleep(0.1)
        sampler.stop()
    return 1000 * took[0] / SAMPLES


def trimmed(values: list[float]) -> tuple[float, float]:
    """The mean without the ends, and half of its confidence interval."""
    ordered, cut = sorted(values), int(TRIMMED * len(values))
    kept = ordered[cut : len(ordered) - cut]
    pulled_in = [min(max(value, kept[0]), kept[-1]) for value in ordered]
    error = statistics.stdev(pulled_in) / ((1 - 2 * cut / len(ordered)) * len(ordered) ** 0.5)
    return statistics.mean(kept), T[max(known for known in T if known < len(kept))] * error


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what the diagnostics and the profiler cost.")
    parser.add_argument("--pairs", type=int, default=8)
    pairs = parser.parse_args().pairs
    keep_freed_memory()
    failed = False
    each = sampling()
    interval = 1000 * choose_profile("default").system
    print(f"sampling the instance: {each:.2f} ms of CPU time, {100 * each / interval:.3f} % of one CPU", flush=True)
    for what, make, trained, epochs, count in (
        ("a head", head, "head", 20, 20 * pairs),
        ("a whole network", whole, "all", 3, pairs),
    ):
        with contextlib.redirect_stdout(io.StringIO()):
            pair(make, trained, epochs, 0)  # what is imported and allocated once
            found = [pair(make, trained, epochs, number) for number in range(count)]
        percents = [100 * (watched - plain) / plain for watched, plain in found]
        mean, reach = trimmed(percents)
        print(
            f"{what}: {mean:.2f} % more CPU time ({mean - reach:.2f} to {mean + reach:.2f}), {count} pairs of "
            f"{statistics.median(plain for _, plain in found):.2f} s; goal {GOALS[what]:g} %",
            flush=True,
        )
        failed |= mean > GOALS[what]
    return failed


if __name__ == "__main__":
    sys.exit(main())
