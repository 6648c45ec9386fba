"""Unpacking an archive that somebody else made: zip or gzipped tar, into one folder and nowhere else."""

from __future__ import annotations

import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from musher.dataset.listing import is_junk
from musher.errors import DatasetError

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Entry:
    """One entry of an archive: its name, its declared size in bytes, what it is, and how to read it (files only)."""

    name: str
    size: int
    kind: str  # "file", "folder", or what it is instead
    open: object = None


def unpack(archive: Path, target: Path, *, max_bytes: int, max_files: int, shown: str = "") -> None:
    """Unpack the files of `archive` below the folder `target`.

    Refuses names that lead outside of it, links and devices, and more than `max_bytes` or `max_files`, counted on what
    really comes out, not on what the archive declares. What operating systems leave behind is not unpacked.
    Raises DatasetError naming the archive (as `shown`) and the entry.
    """
    shown = shown or str(archive)
    total = files = 0
    try:
        for entry in _entries(archive, shown):
            relative = _safe(entry, shown)
            if is_junk(str(relative)):
                continue
            path = target / relative
            if entry.kind == "folder":
                path.mkdir(parents=True, exist_ok=True)
                continue
            files += 1
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(entry.open()) as source, path.open("wb") as file:
                for chunk in _chunks(source):
                    total += len(chunk)
                    if total > max_bytes or files > max_files:
                        raise DatasetError(
                            f"{shown} unpacks to more than {max_bytes:,} bytes or {max_files:,} files "
                            f"(reached at {entry.name}), which is the limit."
                        )
                    file.write(chunk)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise DatasetError(f"{shown} is damaged: {str(error).rstrip('.')}; make or download it again.") from None
    except (RuntimeError, NotImplementedError) as error:  # zipfile: encrypted, or an unknown compression
        raise DatasetError(f"{shown} cannot be unpacked: {str(error).rstrip('.')}.") from None
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise DatasetError(f"{shown} holds {error.filename} both as a file and as a folder.") from None
    except OSError as error:
        free = shutil.disk_usage(target).free
        raise DatasetError(
            f"{shown} cannot be unpacked into {target} ({free:,} bytes free there): {error.strerror or error}."
        ) from None


def _entries(archive: Path, shown: str) -> Iterator[Entry]:
    with archive.open("rb") as file:
        head = file.read(4)
    if head[:2] == b"PK":
        return _zip_entries(archive)
    if head[:2] == b"\x1f\x8b":
        return _tar_entries(archive)
    raise DatasetError(f"{shown} is neither a zip nor a gzipped tar archive (.zip, .tgz, .tar.gz).")


def _zip_entries(archive: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(archive) as zipped:
        for info in zipped.infolist():
            mode = info.external_attr >> 16
            kind = "folder" if info.is_dir() else "file"
            if stat.S_IFMT(mode) and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                kind = "a link" if stat.S_ISLNK(mode) else "a special file"
            yield Entry(info.filename, info.file_size, kind, lambda info=info: zipped.open(info))


def _tar_entries(archive: Path) -> Iterator[Entry]:
    with tarfile.open(archive, "r:gz") as tar:
        for info in tar:
            kind = "file" if info.isreg() else "folder" if info.isdir() else "a special file"
            if info.islnk() or info.issym():
                kind = "a link"
            yield Entry(info.name, info.size, kind, lambda info=info: tar.extractfile(info))


def _safe(entry: Entry, shown: str) -> PurePosixPath:
    if entry.kind not in ("file", "folder"):
        raise DatasetError(f"{shown} holds {entry.kind}, {entry.name!r}; only files and folders are unpacked.")
    name = entry.name.replace("\\", "/")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name) or "\0" in name:
        raise DatasetError(f"{shown} holds {entry.name!r}, which leads outside of the folder it is unpacked into.")
    return path


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk
