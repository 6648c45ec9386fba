"""What the Makefile gives to all the programs that it starts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_what_python_compiles_is_kept_whatever_the_caller_prefers():
    # GIVEN a shell that has Python write no bytecode, as those of container images often do
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}

    # WHEN make runs a program
    question = "import sys; print(sys.dont_write_bytecode)"
    command = ["make", "--silent", "--no-print-directory", "-f", "Makefile", "-f", "-", "asked"]
    rule = f"asked: ; @$(PYTHON) -c '{question}'\n"
    done = subprocess.run(command, cwd=ROOT, env=environment, input=rule, capture_output=True, text=True, timeout=60)

    # THEN it does: compiling Airflow takes two seconds of each start
    assert done.stdout == "False\n", done.stderr
