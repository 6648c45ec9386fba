"""What the diagnostics and the profiler cost a training: CPU time with and without them, step by step in turn.

    .venv-ml/bin/python benchmarks/diagnostics_overhead.py [--pairs 8] [--only "a head"]

One thread, 300 random pictures of 10 classes. A head: 20 epochs on features that are there already, without the start
of the job and the computing of the features, which take longer. A whole network: EfficientNet-Lite0, 3 epochs of
pictures that are decoded already, of 96 pixels: at 224 a step takes five times as long and what is added hardly longer.

Two trainings, one with and one without, take turns: each takes a step and hands over to the other, so that whatever
else the machine does disturbs both alike; counted is the CPU time (user and system) of each one's thread, turn by turn.
Of each turn of a training (its first step, its second one, ...) the mean of what the pairs differ by is taken, without
a fifth of them at either end; the sum of these, in percent of the sum of what the turns take without, is printed with
its 95 % confidence interval, from 2000 resamplings of the pairs (Efron, 1979). What samples the instance runs beside a
training; its CPU time is measured apart, printed as a share of one CPU and added to the others. Fails where the upper
end of an interval, with the sampling, is above the goal.
"""

import argparse
import contextlib
import functools
import io
import json
import os
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

import numpy  # noqa: E402
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

BACKBONE, PICTURES, CLASSES, BATCH = "efficientnet_lite0", 300, 10, 32
GOALS = {"a head": 3.0, "a whole network": 1.0}
TRIMMED, RESAMPLINGS = 0.2, 2000

WATCHED, PLAIN = 0, 1
RULES, PROFILE = "default,LeakedValidation:off", "default,system:off"  # there are no files to compare
SAMPLES = 40


class Turns:
    """Who of two threads goes on; what is measured must not see the other one's clock. ``took`` are CPU seconds."""

    def __init__(self) -> None:
        self.may_go = [threading.Semaphore(1), threading.Semaphore(0)]
        self.over = [False, False]
        self.took: list[list[float]] = [[], []]

    def begin(self, me: int) -> None:
        self.may_go[me].acquire()
        CLOCK.on = me == WATCHED and PROFILE != "none"
        self.began = time.thread_time()

    def ended(self, me: int) -> None:
        self.took[me].append(time.thread_time() - self.began)

    def hand_over(self, me: int) -> None:
        self.ended(me)
        if not self.over[1 - me]:
            self.may_go[1 - me].release()
            self.may_go[me].acquire()
        CLOCK.on = me == WATCHED and PROFILE != "none"
        self.began = time.thread_time()

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

    def __init__(self, size: int, normalise) -> None:
        self.normalise = normalise
        self.pixels = torch.randint(0, 256, (BATCH, size, size, 3), dtype=torch.uint8)

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


def whole(size: int, watched: Callable) -> Task:
    """A whole network."""
    torch.manual_seed(0)
    precision = choose_precision(training=True)
    classifier = precision.place(Classifier(BACKBONE, "hidden", CLASSES, size))
    settle_statistics(classifier.backbone, 64)
    kind = KINDS[BACKBONE]
    normalise = watched(Normalisation(kind.mean, kind.std, precision.device))
    return Task(classifier, Noise(size, normalise), precision, Group())


def pair(make: Callable, trained: str, epochs: int, number: int) -> list[list[float]]:
    """CPU seconds of each turn of a training that is watched, and of one that is not.

    Which of the two begins, and which has the thread (and its memory) that was there first, goes by ``number``.
    """
    turns = Turns()
    if number % 2:
        turns.may_go.reverse()
    threads = [
        threading.Thread(target=run, args=(make, trained, epochs, turns, me))
        for me in ((WATCHED, PLAIN) if number // 2 % 2 else (PLAIN, WATCHED))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return turns.took


def run(make: Callable, trained: str, epochs: int, turns: Turns, me: int) -> None:
    turns.begin(me)
    splits = {"train": labelled("train", PICTURES), "valid": labelled("valid", 50)}
    classes = [str(index) for index in range(CLASSES)]
    chosen = choose(RULES if me == WATCHED else "none")
    diagnostics = Diagnostics(chosen, Group(), splits, classes, trained, BATCH, epochs)
    task = make(diagnostics.watched)
    task.source = InTurn(task.source, turns, me)
    profiler = profiling_session.Profiler(choose_profile(PROFILE if me == WATCHED else "none"), Path(), trained, BATCH)
    turns.began = time.thread_time()  # what is built here would have been built before
    if me == WATCHED:
        profiler.__enter__()
    diagnostics.readable(splits)
    train(task, Plan(epochs, 0.001, BATCH, 0), Stop(), None, lambda entry: None, diagnostics)
    diagnostics.judge()
    if me == WATCHED:
        judged(profiler)
    turns.ended(me)
    turns.leave(me)


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


def overhead(watched: numpy.ndarray, plain: numpy.ndarray) -> float:
    """Percent, of (pairs, turns)."""

    def means(values: numpy.ndarray) -> numpy.ndarray:
        cut = int(TRIMMED * len(values))
        return numpy.sort(values, axis=0)[cut : len(values) - cut].mean(0)

    return 100 * means(watched - plain).sum() / means(plain).sum()


def interval(watched: numpy.ndarray, plain: numpy.ndarray) -> tuple[float, float]:
    """The 95 % confidence interval of :func:`overhead`."""
    chance = numpy.random.default_rng(0)
    drawn = [chance.integers(0, len(plain), len(plain)) for _ in range(RESAMPLINGS)]
    return tuple(numpy.percentile([overhead(watched[some], plain[some]) for some in drawn], [2.5, 97.5]))


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what the diagnostics and the profiler cost.")
    parser.add_argument("--pairs", type=int, default=8, help="of a whole network; of a head twenty times as many")
    parser.add_argument("--only", choices=GOALS, help="one of the two trainings")
    parser.add_argument("--size", type=int, default=96, help="pixels of a whole network's pictures")
    given = parser.parse_args()
    keep_freed_memory()
    failed = False
    each = sampling()
    share = each / (10 * choose_profile("default").system)
    print(f"sampling the instance: {each:.2f} ms of CPU time, {share:.3f} % of one CPU", flush=True)
    for what, make, trained, epochs, count in (
        ("a head", head, "head", 20, 20 * given.pairs),
        ("a whole network", functools.partial(whole, given.size), "all", 3, given.pairs),
    ):
        if given.only not in (None, what):
            continue
        with contextlib.redirect_stdout(io.StringIO()):
            pair(make, trained, 1, 0)  # what is imported and allocated once
            took = numpy.array([pair(make, trained, epochs, number) for number in range(count)])
        watched, plain = took[:, WATCHED], took[:, PLAIN]
        found, (low, high) = overhead(watched, plain), interval(watched, plain)
        print(
            f"{what}: {found:.2f} % more CPU time ({low:.2f} to {high:.2f}), with the sampling {found + share:.2f} % "
            f"({low + share:.2f} to {high + share:.2f}); {count} pairs of {numpy.median(plain.sum(1)):.2f} s; "
            f"goal {GOALS[what]:g} %",
            flush=True,
        )
        failed |= high + share > GOALS[what]
    return failed


if __name__ == "__main__":
    sys.exit(main())
