"""The plugins, imported before Airflow forks tasks and parsers of DAG files: it would take each a fifth of a second.

What is edited takes effect with the next of them all the same: a forked process looks whether a file has changed, and
then imports all of them anew.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

# What DAGs name; the rest of the package comes with it.
ENTRANCES = ("config", "hooks", "operators", "triggers")

Seen = dict[str, tuple[int, int]]


def preload(package: str = "musher") -> None:
    """Import a package here, for all processes that are forked from here for as long as no file of it changes.

    One that cannot be imported is left to those who need it: Airflow shows their errors.
    """
    if package in sys.modules:
        return
    try:
        folder = Path(importlib.import_module(package).__path__[0])
        before = files(folder)
        for file in sorted(path for entrance in ENTRANCES for path in (folder / entrance).glob("*.py")):
            name = ".".join((package, *file.relative_to(folder).with_suffix("").parts))
            importlib.import_module(name.removesuffix(".__init__"))
    except Exception:
        forget(package)
        return
    os.register_at_fork(after_in_child=lambda: files(folder) == before or forget(package))


def files(folder: Path) -> Seen:
    """When each of a folder's Python files was changed (nanoseconds) and its size (bytes): 2 ms for all of musher."""
    found: Seen = {}
    folders = [str(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir():
                        folders.append(entry.path)
                    elif entry.name.endswith(".py"):
                        facts = entry.stat()
                        found[entry.path] = facts.st_mtime_ns, facts.st_size
        except OSError:  # one that is being deleted
            return {}
    return found


def forget(package: str) -> None:
    """Let a package be imported anew."""
    for name in list(sys.modules):
        if name == package or name.startswith(f"{package}."):
            del sys.modules[name]
    importlib.invalidate_caches()
