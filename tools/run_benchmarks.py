"""`make bench`: every benchmark, one after the other, each in the environment that its docstring names."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON, JOBS_PYTHON = ".venv/bin/python", ".venv-ml/bin/python"


def main() -> int:
    failed = []
    for file in sorted((ROOT / "benchmarks").glob("[!_]*.py")):
        docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
        print(f"== {docstring.splitlines()[0] if docstring else file.name}", flush=True)
        python = JOBS_PYTHON if JOBS_PYTHON in docstring else PYTHON
        # As in the tests, benchmarks may import any room.
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}"}
        if subprocess.run([python, str(file.relative_to(ROOT))], cwd=ROOT, env=environment).returncode:
            failed.append(file.name)
    if failed:
        print(f"Failed: {', '.join(failed)}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
