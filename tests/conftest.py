"""For all tests: which of them are slow, how they are spread over several processes, and where their time went."""

from __future__ import annotations

import contextlib
import gc
from collections import defaultdict
from pathlib import Path

import pytest

with contextlib.suppress(ImportError):  # .venv-ml need not have it
    from tests.botocore_once import work_out_once

    work_out_once()

# What is collected stays: to look through it for garbage, again and again, takes a second of each process. Afterwards
# only what tests make is looked through.
gc.disable()

ROOT = Path(__file__).parents[1]
# What uses one of these starts Airflow, a copy of the whole project, a local AWS, a training of several processes, or a
# server to put load on: the longest first.
SLOW_FIXTURES = ("start_stack", "copy", "start_daemon", "ranks", "serve")
# Files that take long, of those that share no stack and judge no latency: they start behind those that share one.
LONGEST = (
    "tests/tools/test_stack.py",
    "tests/plugins/ec2/test_train_on_ec2.py",
    "tests/local_aws/test_state.py",
    "tests/local_aws/test_state_faults.py",
    "tests/plugins/report/test_page.py",
    "tests/plugins/dataset/test_sync.py",
)


@pytest.fixture(scope="session")
def start_daemon():
    """`tests.local_aws.daemon.start_daemon`. Every fixture that starts a local AWS asks for it: its tests are slow."""
    from tests.local_aws.daemon import start_daemon

    return start_daemon


def place(item: pytest.Item) -> int:
    """How early a test has to start: 0 is first."""
    names = getattr(item, "fixturenames", ())
    found = [number for number, name in enumerate(SLOW_FIXTURES) if name in names]
    if found:
        return found[0]
    return len(SLOW_FIXTURES) + (item.get_closest_marker("slow") is None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the slow tests, and order files: the one with the longest tests first."""
    longest = {ROOT / file: number for number, file in enumerate(LONGEST)}
    first: dict[Path, int] = {}
    for item in items:
        number = place(item)
        if number < len(SLOW_FIXTURES):
            item.add_marker(pytest.mark.slow)
        first[item.path] = min(number, first.get(item.path, number))
    daemons = SLOW_FIXTURES.index("start_daemon")
    items.sort(key=lambda item: (first[item.path] >= daemons, longest.get(item.path, len(longest)), first[item.path]))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)  # .venv-ml has no xdist
def pytest_xdist_make_scheduler(config, log):
    from tests.spreading import LongOnesFirst

    return LongOnesFirst(config, log)


def pytest_terminal_summary(terminalreporter) -> None:
    """Say which folders the seconds went to."""
    seconds: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                folders = report.nodeid.split("::")[0].split("/")[:-1]
                seconds["/".join(folders[:3])] += report.duration
    longest = sorted(seconds.items(), key=lambda item: -item[1])
    if longest:
        terminalreporter.write_sep("=", "seconds by folder")
        terminalreporter.write_line(", ".join(f"{folder} {spent:.0f}" for folder, spent in longest if spent >= 0.5))
