"""A window of training steps as torch.profiler sees them, in a file that Perfetto opens (https://ui.perfetto.dev)."""

from pathlib import Path
from typing import Any

import torch

from profiling.clock import CLOCK
from profiling.system import FOLDER

# The first steps allocate and warm up: they are like no others.
SKIPPED = 3


class Trace:
    """Records ``steps`` steps, the first ones but three, into ``profile/trace-<rank>.json.gz``."""

    def __init__(self, steps: int, folder: Path, rank: int) -> None:
        self.steps, self.file = steps, folder / FOLDER / f"trace-{rank}.json.gz"
        self._seen = 0
        self._profiler: Any = None

    def step(self) -> None:
        """A step has ended."""
        self._seen += 1
        if self._seen == SKIPPED:
            activities = [torch.profiler.ProfilerActivity.CPU]
            if torch.cuda.is_available():
                activities.append(torch.profiler.ProfilerActivity.CUDA)
            self._profiler = torch.profiler.profile(activities=activities)
            self._profiler.start()
            CLOCK.trace(True)
        elif self._seen == SKIPPED + self.steps:
            self.stop()

    def stop(self) -> None:
        """Write what was recorded, if that was not done; a training may have fewer steps."""
        if self._profiler is None:
            return
        profiler, self._profiler = self._profiler, None
        CLOCK.trace(False)
        profiler.stop()
        if self._seen == SKIPPED:
            return
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            profiler.export_chrome_trace(str(self.file))
        except (OSError, RuntimeError) as error:
            print(f"{self.file} could not be written: {error}", flush=True)
