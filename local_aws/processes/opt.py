"""Processes with an /opt of their own, as programs in AWS's containers and functions' environments have it."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

MOUNTS = Path(__file__).with_name("opt.sh")
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount", "--propagation", "private")


def command(
    run: Sequence[str], *, scratch: Path, folder: Path, first: Mapping[str, Path] | None = None,
    then: Mapping[str, Path] | None = None,
) -> list[str]:  # fmt: skip
    """A command that sees these files and folders by their names in /opt.

    Parameters
    ----------
    scratch
        A folder that is made for it, and is empty to everybody else.
    folder
        Where it starts, as it sees it itself.
    first, then
        What goes before what this machine's /opt has by the same name, and what comes after it.
    """
    entries = [*_entries(first), "-", *_entries(then)]
    return [*UNSHARE, "sh", str(MOUNTS), str(scratch), str(folder), *entries, "--", *run]


def _entries(named: Mapping[str, Path] | None) -> list[str]:
    return [f"{name}={path}" for name, path in (named or {}).items()]


@functools.cache
def refusal() -> str | None:
    """Why a process cannot have mounts of its own here; None when it can."""
    try:
        tried = [*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/opt"]
        done = subprocess.run(tried, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stderr.strip() or "it failed" if done.returncode else None
