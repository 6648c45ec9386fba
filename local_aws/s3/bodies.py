"""What objects hold: each body once, in a file that is named by its digest."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from local_aws.s3.checksums import CHECKSUMS, encoded

BLOCK = 1 << 20
SYNCED_AT_ONCE = 8


class Readable(Protocol):
    def read(self, count: int, /) -> bytes: ...


@dataclass
class Received:
    """A body that has come, and is nobody's yet."""

    size: int
    digest: str
    """SHA-256, hexadecimal."""
    md5: bytes
    checksums: dict[str, str] = field(default_factory=dict)
    """Algorithm -> what was computed, in base 64."""
    data: bytes | None = None
    aside: Path | None = None
    """Where it is: in memory, or in a file of its own."""


class Bodies:
    """The folder of bodies. Whoever keeps or drops one holds the lock of the index that names it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._asides = itertools.count(1)
        self._unsynced: set[str] = set()

    def receive(self, stream: Readable, algorithms: Iterable[str] = ()) -> Received:
        """Take a body in, with further checksums. Raises OSError, such as for a full disk."""
        sums = {name: CHECKSUMS[name]() for name in algorithms}
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        digests = [sha256, md5, *sums.values()]
        block = _read(stream, BLOCK)
        for each in digests:
            each.update(block)
        size, whole = len(block), len(block) < BLOCK
        aside = None
        if not whole or not os.path.exists(f"{self.folder}/{sha256.hexdigest()}"):
            aside = self._aside()
            try:
                with aside.open("xb", buffering=0) as file:
                    _write(file, block)
                    while not whole and (block := _read(stream, BLOCK)):
                        size += len(block)
                        for each in digests:
                            each.update(block)
                        _write(file, block)
            except BaseException:
                aside.unlink(missing_ok=True)
                raise
        computed = {name: encoded(each) for name, each in sums.items()}
        data = block if whole else None
        return Received(size, sha256.hexdigest(), md5.digest(), computed, data, aside)

    def join(self, digests: list[str], algorithms: Iterable[str] = ()) -> Received:
        """Bodies that are kept, one after the other, as a new one, with further checksums of it.

        Raises FileNotFoundError when one is dropped meanwhile, OSError.
        """
        digest, sums = hashlib.sha256(), {name: CHECKSUMS[name]() for name in algorithms}
        aside, size = self._aside(), 0
        try:
            with aside.open("xb", buffering=0) as whole:
                for each in digests:
                    with self.open(each) as part:
                        while block := part.read(BLOCK):
                            for known in (digest, *sums.values()):
                                known.update(block)
                            _write(whole, block)
                            size += len(block)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        computed = {name: encoded(known) for name, known in sums.items()}
        return Received(size, digest.hexdigest(), b"", computed, aside=aside)

    def keep(self, body: Received) -> str:
        """Give a body its name. Raises OSError."""
        path = self.folder / body.digest
        if os.path.exists(path):
            self.discard(body)
        elif body.aside is not None:
            body.aside.replace(path)
            self._unsynced.add(body.digest)
        else:
            # It was there when this one came, and has been dropped since.
            assert body.data is not None
            aside = self._aside()
            aside.write_bytes(body.data)
            aside.replace(path)
            self._unsynced.add(body.digest)
        body.aside = body.data = None
        return body.digest

    def _aside(self) -> Path:
        """A file of its own for a body that has no name yet; the next start clears away what was left."""
        return self.folder / f"{next(self._asides)}.new"

    def discard(self, body: Received) -> None:
        if body.aside is not None:
            body.aside.unlink(missing_ok=True)

    def drop(self, digest: str) -> None:
        self._unsynced.discard(digest)
        (self.folder / digest).unlink(missing_ok=True)

    def open(self, digest: str) -> BinaryIO:
        """Whoever has opened one can read it to its end, also when it is dropped."""
        return (self.folder / digest).open("rb")

    def path(self, digest: str) -> Path:
        return self.folder / digest

    def take_unsynced(self) -> list[str]:
        """The names of what was kept since the last time."""
        names, self._unsynced = list(self._unsynced), set()
        return names

    def sync(self, names: list[str]) -> None:
        """Bring these to the disk: what a SIGKILL leaves alone, a power cut does not."""
        # Together: a disk that is asked for many at once writes them at once.
        with ThreadPoolExecutor(SYNCED_AT_ONCE) as pool:
            list(pool.map(lambda name: _sync(self.folder / name), names))
        _sync(self.folder)

    def sizes(self) -> dict[str, int]:
        """Every file's name and size."""
        with os.scandir(self.folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries}


def _read(stream: Readable, count: int) -> bytes:
    """That many bytes, unless the stream ends before."""
    block = stream.read(count)
    if len(block) == count or not block:
        return block
    blocks, missing = [block], count - len(block)
    while missing and (block := stream.read(missing)):
        blocks.append(block)
        missing -= len(block)
    return b"".join(blocks)


def _write(file: Any, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[file.write(view) :]


def _sync(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
