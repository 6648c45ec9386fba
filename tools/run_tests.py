"""`make test`: lint, then the tests of both environments; all of them run even if the first fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STEPS = {
    "ruff check": [".venv/bin/python", "-m", "ruff", "check", "--quiet", "."],
    "ruff format": [".venv/bin/python", "-m", "ruff", "format", "--quiet", "--check", "."],
    "pytest in .venv": [".venv/bin/python", "-m", "pytest", "-q", "--ignore=tests/ml_scripts"],
    "pytest in .venv-ml": [".venv-ml/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/ml_scripts"],
}


def main() -> int:
    failed = []
    for name, command in STEPS.items():
        print(f"== {name}", flush=True)
        if subprocess.run(command, cwd=ROOT).returncode:
            failed.append(name)
    print(f"Failed: {', '.join(failed)}." if failed else "All passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
