"""A snapshot on the disk: `snapshot.json` says what it is, the pickle that it names has everything in it.

Renaming snapshot.json into place is what makes a snapshot the state; until then the one before it is. A pickle is
code: only a snapshot that this user wrote, and that nobody else can have changed, is read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import hashlib
import json
import os
import pickle
import stat
import sys
import uuid
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

from local_aws.state import moto_state

FORMAT = 6
"""To be raised with every change of what is pickled: classes, their fields, what `remember` gives."""

NAME = "snapshot.json"
PICKLES = "snapshot-*.pickle"


class Refused(Exception):
    """Why a state folder is not read, as one sentence."""


@dataclass(frozen=True)
class Header:
    """What snapshot.json says."""

    format: int
    moto: str
    python: str
    saved_at: str
    """UTC, ISO 8601."""
    file: str
    sha256: str

    @property
    def moment(self) -> dt.datetime:
        return dt.datetime.fromisoformat(self.saved_at)


def versions() -> dict[str, Any]:
    """What a snapshot has to agree with: pickles of moto's objects fit no other moto, and not every Python."""
    return {"format": FORMAT, "moto": version("moto"), "python": f"{sys.version_info.major}.{sys.version_info.minor}"}


def write(payload: Any, file: BinaryIO) -> None:
    """Pickle into a file."""
    pickler = pickle.Pickler(file, 5)
    pickler.dispatch_table = moto_state.reducers()
    pickler.dump(payload)
    file.flush()


def commit(folder: Path, pickled: Path, saved_at: dt.datetime) -> None:
    """Make a pickle in the folder the state, and delete the ones before it. Raises OSError: it is not the state."""
    sync(pickled)
    header = Header(**versions(), saved_at=saved_at.isoformat(), file=pickled.name, sha256=_digest(pickled))
    aside = folder / f"{NAME}.new"
    aside.unlink(missing_ok=True)
    try:
        with _private(aside) as file:
            file.write(json.dumps(dataclasses.asdict(header), indent=1).encode())
            file.flush()
            os.fsync(file.fileno())
        aside.replace(folder / NAME)
    finally:
        aside.unlink(missing_ok=True)
    # From here on it is the state, whatever else goes wrong.
    with contextlib.suppress(OSError):
        sync(folder)
        for other in folder.glob(PICKLES):
            if other != pickled:
                other.unlink(missing_ok=True)


def check(folder: Path) -> Header | None:
    """The header of the folder's snapshot, after every check that needs no unpickling; None when there is none.

    Raises Refused.
    """
    file = folder / NAME
    if not file.exists():
        return None
    try:
        require_own(folder, file)
        found = json.loads(file.read_bytes())
        require_versions(folder, found)
        header = Header(**found)
        pickled = folder / header.file
        require_own(folder, pickled)
        if pickled.parent != folder or _digest(pickled) != header.sha256:
            raise refused(folder, f"is damaged: {header.file} is not what {NAME} says that it is")
        header.moment  # noqa: B018 a malformed time is found here, too
    except FileNotFoundError as error:
        raise refused(folder, f"is damaged: {error.filename} is missing") from None
    except (ValueError, TypeError, KeyError) as error:
        raise refused(folder, f"is damaged: {NAME} cannot be read ({type(error).__name__}: {error})") from None
    except OSError as error:
        raise refused(folder, f"cannot be read ({error.strerror})") from error
    return header


def read(folder: Path, header: Header) -> Any:
    """What was pickled. Raises Refused."""
    try:
        with (folder / header.file).open("rb") as file:
            return pickle.load(file)
    except Exception as error:
        # A pickle can fail in any way that its objects can.
        raise unreadable(folder, error) from error


def clear_aside(folder: Path, header: Header | None) -> None:
    """Delete what saves that never ended have left."""
    for pattern in (PICKLES, "*.new"):
        for file in folder.glob(pattern):
            if header is None or file.name != header.file:
                with contextlib.suppress(OSError):
                    file.unlink()


def create(folder: Path) -> tuple[Path, BinaryIO]:
    """A new file for a pickle, for this user's eyes only. Raises OSError."""
    path = folder / f"snapshot-{uuid.uuid4().hex}.pickle"
    return path, _private(path)


def sync(path: Path) -> None:
    """fsync a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _private(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b")


def require_versions(folder: Path, found: dict[str, Any]) -> None:
    """Raises Refused for what another format, moto or Python has written, KeyError for what says nothing of that."""
    for name, ours in versions().items():
        if found[name] != ours:
            raise refused(folder, f"is of {_named(name, found[name])}, and this is {_named(name, ours)}")


def require_own(folder: Path, file: Path) -> None:
    """Raises Refused for a file that somebody else may have written."""
    found = file.stat()
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise refused(
            folder,
            f"is not safe to read (it can hold code): {file.name} belongs to another user, or another can change it",
        )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _named(name: str, value: Any) -> str:
    return f"format {value} of the state" if name == "format" else f"{name.capitalize()} {value}"


def unreadable(folder: Path, error: Exception) -> Refused:
    """The refusal of a state that something is wrong with that nobody has foreseen."""
    return refused(folder, f"cannot be read ({type(error).__name__}: {error})")


def refused(folder: Path, why: str) -> Refused:
    """The refusal of a state: why, and what can be done."""
    return Refused(
        f"the state in {folder} {why}; name another folder with --state, or remove this one to start with an empty AWS"
    )
