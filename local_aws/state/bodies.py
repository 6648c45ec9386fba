"""S3's objects in the state folder: each body once, in a file named by its digest, and not in every snapshot.

Moto holds a body in an object's `_value_buffer`, a temporary file that is in memory up to 5 MB. Nothing changes it once
the object is made, but its position is everybody's, and moto takes no lock to digest an object: here it is read without
moving that.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

BLOCK = 1 << 20
SYNCED_AT_ONCE = 8
MARK = "_local_aws_body"


class StoredBody:
    """A body that stays in its file: what moto does with `_value_buffer`, with no file held open."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size
        self._at = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset if whence == io.SEEK_SET else self.size + offset
        return self._at

    def read(self, count: int = -1) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self._at)
            data = file.read(count)
        self._at += len(data)
        return data

    def close(self) -> None:
        """Nothing is open."""


class Bodies:
    """The folder of bodies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._there: set[str] = set()
        self._unsynced: list[Path] = []

    def open(self, digest: str, size: int) -> StoredBody:
        """The body of an object that was saved. Raises FileNotFoundError when it is not there, or not whole."""
        path = self.folder / digest
        if not path.is_file() or path.stat().st_size != size:
            raise FileNotFoundError(f"the object body {path} is missing or not whole")
        self._there.add(digest)
        return StoredBody(path, size)

    def look(self) -> None:
        """See which bodies are there: somebody can have removed one."""
        with contextlib.suppress(FileNotFoundError):
            self._there.intersection_update(os.listdir(self.folder))

    def missing(self, keys: Iterable[Any]) -> list[Any]:
        """Those of these objects of moto whose body is not stored yet."""
        return [key for key in keys if getattr(key, MARK, None) not in self._there]

    def store(self, key: Any) -> None:
        """Store the body of one of moto's objects and mark it with the digest; one that was deleted meanwhile has none.

        Raises OSError.
        """
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if shutil.disk_usage(self.folder).free < key.contentsize:
            # Found out by writing, it would have taken the last of the disk from everybody else for a while.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        aside, digest = self.folder / f"{uuid.uuid4().hex}.new", hashlib.sha256()
        try:
            try:
                with aside.open("xb") as file:
                    for block in _blocks(key._value_buffer):
                        digest.update(block)
                        file.write(block)
            except ValueError:
                return  # closed: moto deletes it, and marks it as deleted only after that
            if key.disposed:
                return
            if aside.stat().st_size != key.contentsize:
                raise OSError(errno.EIO, f"{aside.stat().st_size} of {key.contentsize} bytes were read", key.name)
            name = digest.hexdigest()
            if name not in self._there:
                aside.replace(self.folder / name)
                self._unsynced.append(self.folder / name)
                self._there.add(name)
        finally:
            aside.unlink(missing_ok=True)
        setattr(key, MARK, name)

    def sync(self) -> None:
        """Bring to the disk what was stored since the last time. Raises OSError."""
        # Together: a disk that is asked for many at once writes them at once.
        with ThreadPoolExecutor(SYNCED_AT_ONCE) as pool:
            list(pool.map(sync, self._unsynced))
        self._unsynced.clear()
        if self.folder.exists():
            sync(self.folder)

    def keep(self, digests: Iterable[str]) -> None:
        """Delete every file but these bodies."""
        kept = set(digests)
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self.folder):
                if name not in kept:
                    self._there.discard(name)
                    self._unsynced = [path for path in self._unsynced if path.name != name]
                    (self.folder / name).unlink(missing_ok=True)


def sync(path: Path) -> None:
    """fsync a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _blocks(buffer: Any) -> Iterator[bytes]:
    """The body that one of moto's objects has in its buffer. Raises ValueError once that is closed."""
    if isinstance(buffer, StoredBody):
        yield buffer.path.read_bytes()
        return
    file = buffer._file
    if isinstance(file, io.BytesIO):
        yield file.getvalue()
        return
    file.flush()
    # A number that is this reader's alone: the object's own is somebody else's once the object is deleted.
    descriptor = os.dup(file.fileno())
    try:
        position = 0
        while block := os.pread(descriptor, BLOCK, position):
            position += len(block)
            yield block
    finally:
        os.close(descriptor)
