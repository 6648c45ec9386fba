"""Repositories to pack, and a local AWS to deploy to."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.local_aws.daemon import Daemon
from tools import package

ROOT = Path(__file__).resolve().parents[2]


def git(root: Path, *arguments: str) -> None:
    known = ("-c", "user.name=Musher", "-c", "user.email=musher@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(root), *known, *arguments], check=True, capture_output=True)


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "a state to pack")


@pytest.fixture(scope="session")
def sources(tmp_path_factory) -> Path:
    """A repository with what is packed, as it lies in this checkout, committed or not."""
    root = tmp_path_factory.mktemp("sources")
    for name in package.INPUTS:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    git(root, "init", "--quiet")
    commit(root)
    return root


@pytest.fixture
def checkout(sources: Path, tmp_path: Path) -> Path:
    """A repository of the test's own."""
    return Path(shutil.copytree(sources, tmp_path / "checkout"))


@pytest.fixture(scope="session")
def packed(sources: Path) -> package.Package:
    return package.pack(sources)


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory, start_daemon: Callable[..., Daemon]) -> Iterator[Daemon]:
    """One local AWS for all tests that deploy; each of them has a project of its own in it."""
    daemon = start_daemon(tmp_path_factory.mktemp("account"))
    yield daemon
    daemon.stop()
