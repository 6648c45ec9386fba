"""`make test-compose`: docker-compose.yaml, really up, in a copy of this checkout.

    python -m tests.compose.run

With a Docker engine it uses that, and the upstream images. On a Debian machine without one, as root, it brings up a
private engine and stand-ins for the upstream images (docs/compose.md says what those do not prove). Whatever it has
started is down at the end, also after Ctrl-C; images and packages stay in build/compose-test for the next time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from tests.compose import standins
from tests.compose.containers import ComposeError, Containers
from tests.compose.engine import Engine, EngineError, why_not
from tests.ports import free_port
from tools.demo_lock import DemoRunning, only_one
from tools.sample_dataset import draw
from tools.stack import ROOT

WORK = ROOT / "build/compose-test"
TESTS = Path(__file__).with_name("in_containers.py")
Result = TypeVar("Result")
IMAGES = ("musher-airflow:3.3.1", "musher-local-aws:0.1.0", "musher-tests:3.3.1")


def main() -> int:
    # As Ctrl-C: what was started is taken down.
    signal.signal(signal.SIGTERM, interrupt)
    try:
        with only_one(WORK / "lock"):
            return tested()
    except DemoRunning:
        print("Another `make test-compose` is running in this checkout.", file=sys.stderr)
    except (EngineError, ComposeError) as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        print("\nInterrupted; everything is taken down.", file=sys.stderr)
    return 1


def interrupt(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def tested() -> int:
    began = time.monotonic()
    with engine() as settings:
        containers = prepared(settings)
        with taken_down(containers):
            timed("The images are built", lambda: containers.compose("--profile", "test", "build", "--quiet"))
            for image in IMAGES:
                size = containers.docker("image", "inspect", "--format", "{{.Size}}", image)
                say(f"  {image}: {int(size) / 1e6:.0f} MB")
            passed = passes(containers)
    say(f"Everything is taken down. It took {time.monotonic() - began:.0f} s.")
    return 0 if passed else 1


@contextlib.contextmanager
def engine() -> Iterator[dict[str, str]]:
    """What a Docker client needs: this machine's engine, or a private one with stand-ins. Raises EngineError."""
    if answers("docker", "info"):
        if not answers("docker", "compose", "version"):
            raise EngineError("Docker's compose plugin is missing; see docs.docker.com/compose/install.")
        say("Using this machine's Docker engine.")
        yield {}
        return
    if reason := why_not():
        raise EngineError(f"No Docker engine answers (`docker info`), and {reason}.")
    private = Engine(WORK)
    try:
        timed("A private Docker engine is up", lambda: private.start(say))
        environment = {**os.environ, **private.environment()}
        arguments = timed("The stand-ins are made", lambda: standins.build(WORK, environment, say))
        index = WORK / "package_index.env"
        standins.package_index(index)
        yield {**private.environment(), **arguments, "MUSHER_PACKAGE_INDEX": str(index)}
    finally:
        private.stop()


def prepared(settings: dict[str, str]) -> Containers:
    """A copy of this checkout, for the tests to change, and pictures beside it."""
    checkout, pictures = WORK / "checkout", WORK / "pictures"
    for folder in (checkout, pictures):
        shutil.rmtree(folder, ignore_errors=True)
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            check=True, capture_output=True, text=True).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, checkout / name)
    for wheel in (ROOT / "docker/wheels").glob("*.whl"):
        shutil.copy(wheel, checkout / "docker/wheels")
    standins.wheels(checkout)
    draw(pictures)
    # The containers' user is none of this machine's.
    subprocess.run(["chmod", "-R", "a+rX", str(checkout), str(pictures)], check=True)
    return Containers(
        checkout=checkout,
        project=f"musher-test-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}",
        airflow_port=free_port(),
        local_aws_port=free_port(),
        environment={**settings, "PICTURES": str(pictures)},
    )


def passes(containers: Containers) -> bool:
    """Run the tests; their figures go to the terminal as they are measured."""
    facts = WORK / "containers.json"
    containers.save(facts)
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", str(TESTS)]
    running = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "MUSHER_TEST_COMPOSE": str(facts)})
    try:
        return running.wait() == 0
    finally:
        if running.poll() is None:  # Ctrl-C has reached it too
            running.terminate()
            running.wait()


@contextlib.contextmanager
def taken_down(containers: Containers) -> Iterator[None]:
    """At the end nothing of the project is left: no container, no network, no volume. Raises ComposeError."""
    containers.down("--volumes")  # of a run that was killed
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        containers.down("--volumes")
        if left := containers.left():
            raise ComposeError(f"`docker compose down --volumes` has left behind: {', '.join(left)}.")


def timed(what: str, do: Callable[[], Result]) -> Result:
    began = time.monotonic()
    result = do()
    say(f"{what} after {time.monotonic() - began:.0f} s.")
    return result


def answers(*command: str) -> bool:
    return bool(shutil.which(command[0])) and subprocess.run(command, capture_output=True).returncode == 0


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
