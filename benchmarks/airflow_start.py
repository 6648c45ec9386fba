"""What the page costs where nobody looks at it: the start of Airflow's API server and of its other processes.

Pairs of processes in turn, with the plugin and without; the differences' median, and the range of their middle half.
Seconds of CPU and not of a clock, which on a busy machine would say how busy it is.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAIRS = int(os.environ.get("PAIRS", "7"))
PLUGIN = "musher_page.py"
WHAT = {
    "the API server's start": "from airflow.api_fastapi.app import create_app; create_app()",
    "loading plugins, as each of its processes does, and one DAG file": (
        "from airflow import plugins_manager; plugins_manager.get_timetables_plugins()\n"
        f"import runpy; runpy.run_path({str(ROOT / 'dags/train_image_classifier.py')!r})"
    ),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        for with_it in (True, False):
            folder = Path(home, str(with_it))
            folder.mkdir()
            for each in (ROOT / "plugins").iterdir():
                if with_it or each.name != PLUGIN:
                    (folder / each.name).symlink_to(each)
        print(f"load of the machine: {os.getloadavg()[0]:.0f}")
        for name, code in WHAT.items():
            seconds(code, home, True)  # what is compiled once
            pairs = [(seconds(code, home, True), seconds(code, home, False)) for _ in range(PAIRS)]
            more = [a - b for a, b in pairs]
            low, middle, high = statistics.quantiles(more, n=4)
            print(
                f"{name}: {statistics.median(b for _, b in pairs):.2f} s of CPU without the page, {middle:+.2f} s "
                f"with it ({low:+.2f} to {high:+.2f})",
                flush=True,
            )


def seconds(code: str, home: str, with_it: bool) -> float:
    """Seconds of CPU of a process that runs code of Airflow's."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(Path(home, str(with_it))),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(ROOT / "plugins"),
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=home, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
