"""What trains on the local AWS, standing still: a test that waits for something else needs the machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil


@contextlib.contextmanager
def frozen(state: Path) -> Iterator[None]:
    """Suspend all processes of the training jobs of the local AWS with this state folder, and let them go on at the
    end: a stop or an interruption reaches them only then."""
    jobs = state / "instances/training"
    stopped: dict[int, psutil.Process] = {}
    try:
        while new := [
            process for process in psutil.process_iter() if process.pid not in stopped and _in(jobs, process)
        ]:
            for process in new:
                stopped[process.pid] = process
                with contextlib.suppress(psutil.Error):
                    process.suspend()
        assert stopped, f"nothing runs in {jobs}"
        yield
    finally:
        for process in stopped.values():
            with contextlib.suppress(psutil.Error):
                process.resume()


def _in(folder: Path, process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return Path(process.cwd()).is_relative_to(folder)
    return False
