"""How busy instances are, minute by minute: the CPU time, memory and disk of their processes.

AWS: SageMaker developer guide, "Amazon SageMaker AI metrics in Amazon CloudWatch", instance metrics of jobs and
endpoints. Without those of GPUs, which no instance here has.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from local_aws.aws import LocalAws
    from local_aws.iam.acting import Acting
    from local_aws.instances import Instance

ENDPOINTS = "/aws/sagemaker/Endpoints"
TRAINING_JOBS = "/aws/sagemaker/TrainingJobs"


def publish(
    aws: LocalAws, namespace: str, dimensions: Mapping[str, str], instance: Instance, at: float, acting: Acting | None
) -> None:
    """What an instance has used since it was last asked of it; `at` is Unix seconds, `acting` whose name it is in."""
    if not may_publish(namespace, acting):
        return
    family = []
    for pid in _family(instance.supervisor_pid):
        with contextlib.suppress(psutil.Error):
            family.append(psutil.Process(pid))
    for metric, value in (
        ("CPUUtilization", _cpu_percent(instance, family)),
        ("MemoryUtilization", 100 * sum(map(_memory, family)) / psutil.virtual_memory().total),
        ("DiskUtilization", _disk_percent(instance.folder)),
    ):
        aws.metrics.put(namespace, metric, dimensions, value, "Percent", at)


def may_publish(namespace: str, acting: Acting | None) -> bool:
    """Whether SageMaker may put metrics in a role's name; without it there are none, and nobody is told."""
    return acting is None or acting.may("cloudwatch", "PutMetricData", Namespace=namespace)


def _cpu_percent(instance: Instance, family: list[psutil.Process]) -> float:
    """Per cent of one core: two busy cores are 200."""
    now = time.monotonic(), sum(map(_cpu_seconds, family))
    before, instance.cpu_seen = instance.cpu_seen, now
    passed = now[0] - before[0]
    return max(0.0, 100 * (now[1] - before[1]) / passed) if passed > 0 else 0.0


def _cpu_seconds(process: psutil.Process) -> float:
    """Of a process and of those of its children that have ended."""
    with contextlib.suppress(psutil.Error):
        times = process.cpu_times()
        return times.user + times.system + times.children_user + times.children_system
    return 0.0


def _memory(process: psutil.Process) -> float:
    """Bytes: what it shares with others, as forked processes do, is divided among them where the system tells."""
    with contextlib.suppress(psutil.Error, OSError):
        if sys.platform.startswith("linux"):
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
            return 1024 * sum(float(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return process.memory_info().rss
    return 0.0


def _disk_percent(folder: Path) -> float:
    """Of the disk that instances share with this machine: it is when that is full that they have no space left."""
    with contextlib.suppress(OSError):
        used = shutil.disk_usage(folder)
        return 100 * used.used / used.total
    return 0.0


def _family(root: int) -> Iterator[int]:
    """A process and its descendants. psutil would read all of the machine's for that, every time."""
    yield root
    if not sys.platform.startswith("linux"):
        with contextlib.suppress(psutil.Error):
            yield from (each.pid for each in psutil.Process(root).children(recursive=True))
        return
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{root}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from _family(int(child))
