"""Processes with an /opt of their own, as programs in AWS's containers and functions' environments have it."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

MOUNTS = Path(__file__).with_name("opt.sh")
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount", "--propagation", "private")


class Opt(NamedTuple):
    """What is in an /opt."""

    scratch: Path
    """A folder that is made for it, and is empty to everybody else."""
    first: Mapping[str, Path] = {}
    """By their names in it, what goes before what this machine's /opt has by the same name."""
    then: Mapping[str, Path] = {}
    """What comes after it."""

    def entries(self) -> list[str]:
        """As opt.sh and mounts.py take them."""
        first, then = ([f"{name}={path}" for name, path in each.items()] for each in (self.first, self.then))
        return [*first, "-", *then]

    def command(self, run: Sequence[str], folder: Path) -> list[str]:
        """A command that sees it; `folder` is where it starts, as it sees that itself."""
        return [*UNSHARE, "sh", str(MOUNTS), str(self.scratch), str(folder), *self.entries(), "--", *run]


@functools.cache
def refusal() -> str | None:
    """Why a process cannot have mounts of its own here; None when it can."""
    try:
        tried = [*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/opt"]
        done = subprocess.run(tried, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stderr.strip() or "it failed" if done.returncode else None
