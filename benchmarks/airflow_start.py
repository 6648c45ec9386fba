"""What the page costs each process of Airflow where nobody looks at it: the seconds of CPU of importing its plugin.

That is all that Airflow does with a plugin as it starts or parses DAGs, beside putting its application behind an
address. Fresh processes, in which Airflow and its plugin manager are there already; the median and the most of them.
Seconds of CPU and not of a clock, which on a busy machine would say how busy it is.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TIMES = 5
PROGRAM = """
import sys, time
import airflow.plugins_manager
before, modules = time.process_time(), set(sys.modules)
import musher_page
print(time.process_time() - before, len(set(sys.modules) - modules))
"""


def main() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "plugins"), "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
    found = []
    for _ in range(TIMES):
        command = [sys.executable, "-c", PROGRAM]
        done = subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True)
        seconds, modules = done.stdout.split()[-2:]
        found.append(float(seconds))
    print(
        f"importing the plugin, {modules} modules: {statistics.median(found) * 1000:.1f} ms of CPU, at most "
        f"{max(found) * 1000:.1f} ms in {TIMES} processes (load of the machine {os.getloadavg()[0]:.0f})"
    )


if __name__ == "__main__":
    main()
