"""`make test`: lint, then the tests of both environments; all of them run even if the first fails.

What can run beside others does so in several processes; the tests that are marked `alone` come afterwards. So do, once
more, those few that failed: they start real servers and real trainings on a machine that all share, and whether it was
that is a question with an answer. One that passes then is named at the end.
`make check` is `tools/run_tests.py quick`: lint, the tests that are not slow, and which modules these leave out.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
# Ends with whatever a command leaves behind, and with all of it when this process ends.
SUPERVISOR = [sys.executable, "-I", "-S", str(ROOT / "local_aws/processes/supervisor.py"), "0"]
PYTEST = [".venv/bin/python", "-m", "pytest", "-q", "--ignore=tests/ml_scripts", "--dist=loadfile"]
BESIDE_OTHERS = "pytest in .venv"
LAST_FAILED = ROOT / ".pytest_cache/v/cache/lastfailed"
# More than these are not a matter of the machine.
MOST_REPEATED = 5
ML_PYTEST = [".venv-ml/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/ml_scripts"]
LINT: list[dict[str, list[str]]] = [
    {"ruff check": [".venv/bin/python", "-m", "ruff", "check", "--quiet", "."]},
    {"ruff format": [".venv/bin/python", "-m", "ruff", "format", "--quiet", "--check", "."]},
]
# Else each of the hundreds of processes that tests start would compile the project's modules, and pytest the tests.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def everything(processes: int) -> list[dict[str, list[str]]]:
    """The steps of `make test`. The tests mostly wait: more processes than cores are needed to keep these busy."""
    return [
        *LINT,
        {BESIDE_OTHERS: [*PYTEST, f"-n{processes}", "-m", "not alone"], "pytest in .venv-ml": ML_PYTEST},
        {"pytest in .venv, alone": [*PYTEST, "-m", "alone", *files_with_tests_alone()]},
    ]


def files_with_tests_alone() -> list[str]:
    """To collect all files for these few tests would take as long as they do, on one core."""
    found = [file for file in (ROOT / "tests").rglob("test_*.py") if "mark.alone" in file.read_text(encoding="utf-8")]
    return sorted(str(file.relative_to(ROOT)) for file in found if file.parent.name != "ml_scripts")


def what_is_quick(processes: int, data: Path) -> list[dict[str, list[str]]]:
    """The steps of `make check`; which modules these tests reach is in the folder `data` afterwards.

    For a third of their time these tests wait, and each of their processes has to collect all: there is one process
    more than there are cores.
    """
    reached = str(data / "reached")
    quick = ["-m", "not slow and not alone", "-p", "tests.reached", f"--reached={reached}"]
    folders = [f"--reached-in={folder}" for folder in ("dags", "plugins", "lambda", "local_aws", "tools")]
    return [
        *LINT,
        {
            "quick tests in .venv": [*PYTEST, f"-n{processes}", *quick, *folders],
            "quick tests in .venv-ml": [*ML_PYTEST, *quick, "--reached-in=ml_scripts"],
        },
        {"modules": [".venv/bin/python", "-m", "tools.uncovered_modules", reached]},
    ]


def main() -> int:
    cores, quick = os.cpu_count() or 1, sys.argv[1:] == ["quick"]
    processes = os.environ.get("TEST_PROCESSES") or str(cores + 1 if quick else 3 * cores)
    if not processes.isdigit() or int(processes) < 1:
        print(f"TEST_PROCESSES is {processes!r}; it has to be a whole number from 1.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as data:
        steps = what_is_quick(int(processes), Path(data)) if quick else everything(int(processes))
        LAST_FAILED.unlink(missing_ok=True)
        failed, passed_alone = [], []
        for step in steps:
            failed += run(step)
            if BESIDE_OTHERS in failed and BESIDE_OTHERS in step and (passed_alone := pass_alone(LAST_FAILED)):
                failed.remove(BESIDE_OTHERS)
    if passed_alone:
        print(f"Failed beside others, and passed alone: {', '.join(passed_alone)}.")
    print(f"Failed: {', '.join(failed)}." if failed else "All passed.")
    return 1 if failed else 0


def pass_alone(last_failed: Path) -> list[str]:
    """Run the tests that failed once more with nothing beside them; their names when all of them pass, else none.

    Parameters: `last_failed` where pytest has written down which these are.
    """
    tests = sorted(json.loads(last_failed.read_text(encoding="utf-8"))) if last_failed.exists() else []
    if not 1 <= len(tests) <= MOST_REPEATED or run({"what failed, alone": [*PYTEST, *tests]}):
        return []
    return tests


def run(step: dict[str, list[str]]) -> list[str]:
    """Run commands at the same time, print what each says one after the other, and return the names of those that fail.

    The first one's words are seen as they come.
    """
    started: list[tuple[str, subprocess.Popen[bytes], IO[bytes] | None]] = []
    failed = []
    with contextlib.ExitStack() as at_the_end:
        for name, command in step.items():
            output = at_the_end.enter_context(tempfile.TemporaryFile()) if started else None
            process = subprocess.Popen([*SUPERVISOR, *command], cwd=ROOT, env=ENVIRONMENT, stdin=subprocess.PIPE,
                                       stdout=output, stderr=output and subprocess.STDOUT)  # fmt: skip
            at_the_end.callback(stop, process)
            started.append((name, process, output))
        for name, process, output in started:
            print(f"== {name}", flush=True)
            if process.wait():
                failed.append(name)
            if output:
                output.seek(0)
                print(output.read().decode("utf-8", "replace"), end="", flush=True)
    return failed


def stop(process: subprocess.Popen[bytes], patience: float = 30) -> None:
    """End a command with all that it has started; nothing happens when it has ended."""
    if process.poll() is not None:
        return
    try:
        process.stdin.write(b"T")
        process.stdin.flush()
        process.wait(patience)
    except (OSError, subprocess.TimeoutExpired):
        pass
    process.stdin.close()  # that kills
    process.wait()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
