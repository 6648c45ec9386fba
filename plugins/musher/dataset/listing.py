"""What a data set consists of, whether it lies in a folder or under an S3 prefix: paths, sizes and checksums."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from musher.errors import DatasetError

SPLITS = ("train", "valid", "test")

_JUNK = {"__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir"}


def is_junk(path: str) -> bool:
    """Whether a path is what operating systems leave behind (`.DS_Store`, `__MACOSX/...`, hidden files), not data."""
    return any(part.startswith(".") or part in _JUNK for part in PurePosixPath(path).parts)


@dataclass(frozen=True)
class Item:
    """One file: path relative to the data set, size in bytes, checksum (MD5 in hex; an ETag for what lies on S3)."""

    path: str
    size: int
    checksum: str = ""


@dataclass(frozen=True)
class Listing:
    """The files of a data set and its folders (relative paths); a folder may be empty, which S3 cannot tell."""

    items: tuple[Item, ...]
    folders: frozenset[str]

    @classmethod
    def of(cls, items: Iterable[Item], folders: Iterable[str] = ()) -> Listing:
        """A listing without junk, in order of the paths; the folders that files lie in need not be given."""
        kept = sorted((item for item in items if not is_junk(item.path)), key=lambda item: item.path)
        found = {folder for folder in folders if not is_junk(folder)}
        for item in kept:
            found.update(str(parent) for parent in PurePosixPath(item.path).parents)
        return cls(tuple(kept), frozenset(found - {"."}))

    def below(self, root: str) -> Listing:
        """The part of it in the folder `root` ("" for all), with paths relative to that."""
        if not root:
            return self
        prefix = root + "/"
        return Listing(
            tuple(replace(i, path=i.path.removeprefix(prefix)) for i in self.items if i.path.startswith(prefix)),
            frozenset(f.removeprefix(prefix) for f in self.folders if f.startswith(prefix)),
        )

    def top(self) -> list[str]:
        """The names at the top, files included."""
        return sorted({path.split("/")[0] for path in (*self.folders, *(item.path for item in self.items))})


def version(items: Iterable[Item]) -> str:
    """The data set's version: 16 hex digits of the SHA-256 over all paths, sizes and checksums, in order."""
    digest = hashlib.sha256()
    for item in sorted(items, key=lambda item: item.path):
        digest.update(f"{item.path}\0{item.size}\0{item.checksum}\n".encode())
    return digest.hexdigest()[:16]


def find_root(listing: Listing) -> str:
    """The folder that holds train/, valid/ and test/, at any depth ("" when they are at the top).

    Where none holds all three, the one that holds most of them, so that a message can say what is missing.
    Raises DatasetError when two folders are equally good.
    """
    held: dict[str, int] = {}
    for folder in listing.folders:
        parent, _, name = folder.rpartition("/")
        if name in SPLITS:
            held[parent] = held.get(parent, 0) + 1
    if not held:
        return ""

    def rank(folder: str) -> tuple[int, int]:
        return -held[folder], len(PurePosixPath(folder).parts)

    best, *others = sorted(held, key=lambda folder: (*rank(folder), folder))
    if others and held[best] == len(SPLITS) and rank(others[0]) == rank(best):
        raise DatasetError(
            f"the data set is there twice, in {best or 'the top'}/ and in {others[0]}/: "
            "each holds train/, valid/ and test/; give one of them."
        )
    return best


def _walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        here = os.path.realpath(folder)
        if here in seen:  # a link back up
            folders.clear()
            continue
        seen.add(here)
        yield Path(folder), folders, files


def md5(path: Path) -> str:
    """The file's MD5 in hex: what S3 calls the ETag of an object sent in one piece."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def list_folder(root: Path, *, checksums: bool = True, workers: int = 8) -> Listing:
    """Everything below a local folder; `checksums` reads every file."""
    paths, folders = [], []
    for folder, subfolders, files in _walk(root):
        relative = folder.relative_to(root)
        folders += [(relative / name).as_posix() for name in subfolders]
        paths += [(relative / name).as_posix() for name in files if (folder / name).is_file()]
    paths = [path for path in paths if not is_junk(path)]
    with ThreadPoolExecutor(workers) as pool:
        sums = pool.map(lambda path: md5(root / path) if checksums else "", paths)
        return Listing.of(
            (Item(path, (root / path).stat().st_size, checksum) for path, checksum in zip(paths, sums, strict=True)),
            folders,
        )


def list_prefix(client: Any, bucket: str, prefix: str) -> Listing:
    """Everything under an S3 prefix that ends with a slash (or is empty), by listing alone; checksums are ETags.

    Raises DatasetError when the bucket is missing or may not be read.
    """
    from botocore.exceptions import ClientError

    items = []
    try:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", ()):
                path = entry["Key"].removeprefix(prefix)
                if path and not path.endswith("/"):  # the console's "folders" are empty objects
                    items.append(Item(path, entry["Size"], entry["ETag"].strip('"')))
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code not in ("NoSuchBucket", "AccessDenied", "InvalidBucketName", "403", "404"):
            raise  # not about what was asked for: throttled, or out of order
        raise DatasetError(f"s3://{bucket}/{prefix} cannot be listed: {code}, {message.rstrip('.')}.") from None
    return Listing.of(items)
