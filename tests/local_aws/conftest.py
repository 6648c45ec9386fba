"""A local AWS as a real process, for the tests of every service."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.local_aws.daemon import (
    JOBS_PYTHON,
    Daemon,
    make_role,
    wait_for,
)
from tests.local_aws.iam_callers import aws, role  # noqa: F401, the fixtures of the tests of IAM


@pytest.fixture(scope="session")
def local_aws(tmp_path_factory: pytest.TempPathFactory, start_daemon: Callable[..., Daemon]) -> Iterator[Daemon]:
    """One local AWS, with an AWS minute of one second, for the whole session."""
    daemon = start_daemon(tmp_path_factory.mktemp("local_aws"))
    yield daemon
    daemon.stop()
    ignored = ", ".join(daemon.ignored)
    assert not ignored, f"given, called carried out in members.toml, and looked at by nobody: {ignored}"


@pytest.fixture
def new_local_aws(tmp_path: Path, start_daemon: Callable[..., Daemon]) -> Iterator[Callable[..., Daemon]]:
    """Starts local AWSs of a test's own: `new_local_aws(minute=1.0, state=None, anew=False)`."""
    daemons: list[Daemon] = []

    def start(**options: Any) -> Daemon:
        daemons.append(start_daemon(tmp_path / f"daemon-{len(daemons)}", **options))
        return daemons[-1]

    yield start
    for daemon in daemons:
        daemon.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def role_arn(local_aws: Daemon) -> str:
    """A role that SageMaker and Lambda may take."""
    return make_role(local_aws)


@pytest.fixture(scope="session")
def bucket(local_aws: Daemon) -> str:
    """A bucket in the session's local AWS."""
    local_aws.client("s3").create_bucket(Bucket="test-bucket")
    return "test-bucket"


@pytest.fixture(scope="session", name="wait_for")
def wait_for_fixture() -> Callable[..., Any]:
    """`wait_for(condition, seconds=60, message="")` for tests, which cannot import from a conftest."""
    return wait_for


@pytest.fixture
def shared_environment() -> Iterator[None]:
    """Nothing that the test does changes the environment that all jobs and endpoints share."""
    before = _installed()
    yield
    assert _installed() == before


def _installed() -> set[str]:
    (packages,) = JOBS_PYTHON.parents[1].glob("lib/python3*/site-packages")
    return {path.name for folder in (packages, JOBS_PYTHON.parent) for path in folder.iterdir()} - {"__pycache__"}
