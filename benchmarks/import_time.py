"""How long `lambda/handler.py` takes to import beyond boto3, and how long each DAG file takes to be parsed.

    python benchmarks/import_time.py

Best of three fresh processes each; DAG files are parsed with every connection refused.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HANDLER_GOAL_MS, DAG_GOAL_SECONDS, ROUNDS = 50.0, 1.0, 3
HANDLER = """
import sys, time
import boto3, botocore.config, botocore.exceptions
sys.path.insert(0, "lambda")
started = time.perf_counter()
import handler
print(time.perf_counter() - started)
"""
# What every DAG file needs is loaded by Airflow's DAG processor before it parses the first file.
DAG = """
import runpy, socket, sys, time
sys.path[:0] = ["plugins", "dags"]
import airflow.sdk
def refuse(*_, **__):
    raise OSError("a DAG file must not use the network")
socket.socket.connect = refuse
started = time.perf_counter()
runpy.run_path(sys.argv[1])
print(time.perf_counter() - started)
"""


def best(code: str, *arguments: str) -> float:
    """Seconds, the best of a few processes."""
    command = [sys.executable, "-c", code, *arguments]
    runs = [subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True) for _ in range(ROUNDS)]
    return min(float(each.stdout.split()[-1]) for each in runs)


def main() -> int:
    milliseconds = best(HANDLER) * 1000
    print(f"import of lambda/handler.py beyond boto3: {milliseconds:.1f} ms (goal: at most {HANDLER_GOAL_MS:g} ms)")
    slow = milliseconds > HANDLER_GOAL_MS
    for path in sorted((ROOT / "dags").glob("*.py")):
        seconds = best(DAG, str(path))
        slow |= seconds > DAG_GOAL_SECONDS
        print(f"parsing of dags/{path.name}: {seconds:.2f} s (goal: at most {DAG_GOAL_SECONDS:g} s, no network)")
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
