"""How busy an endpoint's instances are: the CPU time of their processes, minute by minute."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from local_aws.endpoints.instance import EndpointInstance

# Where SageMaker publishes what instances use. AWS: SageMaker developer guide, "Amazon SageMaker AI metrics in Amazon
# CloudWatch", instance metrics: per cent of a core, so that two busy cores are 200.
NAMESPACE = "/aws/sagemaker/Endpoints"


def cpu_percent(instance: EndpointInstance) -> float:
    """The CPU that an instance has used since this was last asked of it, in per cent of one core."""
    now = time.monotonic(), _cpu_seconds(instance.instance.supervisor_pid)
    before, instance.cpu_seen = instance.cpu_seen, now
    passed = now[0] - before[0]
    return max(0.0, 100 * (now[1] - before[1]) / passed) if passed > 0 else 0.0


def _cpu_seconds(root: int) -> float:
    total = 0.0
    for pid in _family(root):
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(pid).cpu_times()
            total += times.user + times.system
    return total


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
