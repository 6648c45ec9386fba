"""What an instance does meanwhile: a thread that looks at it every so often and adds a line to a file.

psutil is what AWS's training toolkit itself needs, so it is in every image that has that; a GPU is looked at where
NVIDIA's nvidia-ml-py is, which comes with the images for them. Without these there are no such figures.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from profiling.recorded import COLUMNS, GPU_COLUMNS, Host

FOLDER = "profile"
MEGABYTE = 1e6
# In memory two neighbours become one beyond so many; the file has them all.
MOST_SAMPLES = 20_000


def host_name() -> str:
    """What SageMaker calls this instance, else what it calls itself."""
    return os.environ.get("SM_CURRENT_HOST") or socket.gethostname()


class Sampler:
    """Samples this instance every ``interval`` seconds from :meth:`start` to :meth:`stop`, into ``folder``."""

    def __init__(self, interval: float, folder: Path) -> None:
        self.interval = interval
        self.file = folder / FOLDER / f"system-{host_name()}.csv"
        self.rows: list[list[float]] = []
        self.seconds_each = interval
        self.why_not = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="profiler", daemon=True)

    def start(self) -> None:
        """Begin, if there is anything to sample with."""
        try:
            self._look = _looks()
        except ImportError as error:
            self.why_not = f"{error.name} is not installed"
            return
        self._thread.start()

    def stop(self) -> None:
        """End; what was sampled stays."""
        self._over.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()

    def host(self) -> Host:
        """What was sampled."""
        rows = list(self.rows)
        names = (*COLUMNS, *(GPU_COLUMNS if rows and len(rows[0]) > len(COLUMNS) else ()))
        columns = {name: [row[number] for row in rows] for number, name in enumerate(names)} if rows else {}
        return Host(host_name(), self.seconds_each, os.cpu_count() or 1, torch.cuda.device_count(), columns)

    def _sample(self) -> None:
        began = time.monotonic()
        pending: list[list[float]] = []
        file = self._open()
        try:
            self._look()
            number = 0
            while True:
                number += 1
                if self._over.wait(max(0.0, began + number * self.interval - time.monotonic())):
                    return
                seconds = time.monotonic() - began
                row = [round(value, 3) for value in (seconds, *self._look())]
                if file:
                    file.write(",".join(f"{value:g}" for value in row) + "\n")
                pending.append(row)
                if len(pending) * self.interval >= self.seconds_each * (1 - 1e-9):
                    self.rows.append(_mean(pending))
                    pending = []
                if len(self.rows) > MOST_SAMPLES:
                    self.rows[:] = [_mean(self.rows[at : at + 2]) for at in range(0, len(self.rows), 2)]
                    self.seconds_each *= 2
                # A thread that falls behind goes on from now instead of running after what it missed.
                number = max(number, int((time.monotonic() - began) / self.interval))
        except Exception as error:  # whatever a system does not tell must not end the training
            self.why_not = f"{type(error).__name__}: {error}"
        finally:
            if file:
                file.close()

    def _open(self) -> Any:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            file = self.file.open("w", buffering=1)
        except OSError:  # figures in memory are better than none
            return None
        gpu = GPU_COLUMNS if torch.cuda.is_available() and _gpus() else ()
        file.write(",".join((*COLUMNS, *gpu)) + "\n")
        return file


def _mean(rows: list[list[float]]) -> list[float]:
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def _looks() -> Callable[[], list[float]]:
    """A function that gives the columns but the first, since it was called before. Raises ImportError."""
    import psutil

    gpus = _gpus() if torch.cuda.is_available() else None
    cores = psutil.cpu_count() or 1
    last: dict[str, Any] = {}

    def look() -> list[float]:
        now, cpu, own = time.monotonic(), psutil.cpu_times(), time.process_time()
        # Counters that begin anew are seen below; to have psutil look for them takes longer than all the rest.
        disk, net = psutil.disk_io_counters(nowrap=False), psutil.net_io_counters(nowrap=False)
        counts = [
            getattr(disk, "read_bytes", 0),
            getattr(disk, "write_bytes", 0),
            getattr(net, "bytes_recv", 0),
            getattr(net, "bytes_sent", 0),
        ]
        # Linux counts guests' time among that of users as well.
        total = sum(cpu) - getattr(cpu, "guest", 0.0) - getattr(cpu, "guest_nice", 0.0)
        waiting = getattr(cpu, "iowait", 0.0)
        before = last or {"now": now, "total": total, "idle": cpu.idle, "wait": waiting, "own": own, "counts": counts}
        seconds, ticks = max(now - before["now"], 1e-9), max(total - before["total"], 1e-9)
        idle, waited = cpu.idle - before["idle"], waiting - before["wait"]
        row = [
            100 * min(1.0, max(0.0, 1 - (idle + waited) / ticks)),
            100 * min(1.0, max(0.0, waited / ticks)),
            100 * (own - before["own"]) / seconds / cores,
            psutil.virtual_memory().percent,
            *(max(0, new - old) / seconds / MEGABYTE for new, old in zip(counts, before["counts"], strict=True)),
        ]
        last.update(now=now, total=total, idle=cpu.idle, wait=waiting, own=own, counts=counts)
        return row + (gpus() if gpus else [])

    return look


def _gpus() -> Callable[[], list[float]] | None:
    """A function that gives the mean use of all GPUs and of their memory, in percent; None where nothing tells."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
    except Exception:  # not installed, or no driver that answers
        return None

    def look() -> list[float]:
        use = [pynvml.nvmlDeviceGetUtilizationRates(each).gpu for each in handles]
        memory = [pynvml.nvmlDeviceGetMemoryInfo(each) for each in handles]
        return [sum(use) / len(use), 100 * sum(each.used / each.total for each in memory) / len(memory)]

    return look if handles else None
