"""The same training on one process and on two, one thread each, process start included.

    .venv-ml/bin/python benchmarks/data_parallel.py

Two dozen augmented views of the drawn sample data set's pictures: some 45 seconds of work for one thread. Needs two
cores that nobody else is using; on a busy machine the two processes wait for each other and the figure falls.
"""

import os
import socket
import tempfile
import time
from pathlib import Path

from cached_features import prepare, start

GOAL = 1.7
VIEWS = 24


def wall_seconds(arguments: list[str], world: int) -> float:
    """Seconds until every process of the job has ended."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": world}
    started = time.monotonic()
    processes = [start(arguments, RANK=rank, LOCAL_RANK=rank, **place) for rank in range(world)]
    if hasattr(os, "sched_setaffinity"):
        # An instance of one thread has one core, as the local AWS gives it: reading pictures ahead must not take two.
        for rank, process in enumerate(processes):
            os.sched_setaffinity(process.pid, {sorted(os.sched_getaffinity(0))[rank]})
    for process in processes:
        process.communicate()
        if process.returncode:
            raise SystemExit(f"train.py ended with status {process.returncode}")
    return time.monotonic() - started


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        arguments = [*prepare(Path(folder)), f"--augment-views={VIEWS}"]
        alone, together = (wall_seconds(arguments, world) for world in (1, 2))
    print(
        f"two processes, one thread each: {alone / together:.2f} times faster than one "
        f"({together:.1f} s against {alone:.1f} s; goal {GOAL} times)"
    )


if __name__ == "__main__":
    main()
