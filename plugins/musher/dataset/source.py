"""Where a data set comes from: what a person typed as `dataset`, made into a folder here or a prefix on S3."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from musher.dataset.archive import unpack
from musher.download import fetch
from musher.errors import DatasetError

_ARCHIVES = (".zip", ".tgz", ".tar.gz")


@dataclass(frozen=True)
class Limits:
    """How much a data set may take: a download and what it unpacks to, in bytes; files; seconds without an answer.

    What unpacks is limited by the free disk space as well: nine tenths of it.
    """

    download_bytes: int = 20 * 2**30
    unpacked_bytes: int = 50 * 2**30
    files: int = 2_000_000
    timeout_seconds: float = 60


@dataclass(frozen=True)
class S3Prefix:
    """Pictures that are on S3 already; `prefix` ends with a slash or is empty."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


def resolve(dataset: str, workspace: Path, limits: Limits = Limits()) -> Path | S3Prefix:
    """What `dataset` names: a local folder, or a prefix on S3, which stays there.

    Parameters: `dataset` a folder, a .zip, .tgz or .tar.gz, an http(s) address of one, or an s3:// prefix; `workspace`
    an empty folder that archives are downloaded to and unpacked in, the caller's to remove.
    Raises DatasetError with one sentence.
    """
    if dataset.startswith("s3://"):
        return _on_s3(dataset)
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", dataset):
        if not dataset.startswith(("http://", "https://")):
            raise DatasetError(f"dataset is {dataset!r}; an address has to begin with http://, https:// or s3://.")
        archive = workspace / "download"
        fetch(
            dataset,
            archive,
            max_bytes=limits.download_bytes,
            timeout_seconds=limits.timeout_seconds,
            error=DatasetError,
        )
        return _unpacked(archive, workspace, limits, dataset)
    path = Path(dataset).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        return _unpacked(path, workspace, limits, dataset)
    raise DatasetError(
        f"dataset is {dataset!r}, and there is no such file or folder on this machine; it has to be a folder, "
        "a .zip, .tgz or .tar.gz, an http(s) address of one, or an s3:// prefix."
    )


def _on_s3(dataset: str) -> S3Prefix:
    bucket, _, prefix = dataset.removeprefix("s3://").partition("/")
    if not bucket:
        raise DatasetError(f"dataset is {dataset!r}; an S3 prefix looks like s3://bucket/pictures/.")
    if prefix.endswith(_ARCHIVES):
        raise DatasetError(
            f"dataset is {dataset!r}, an archive; on S3 it has to be a prefix with the pictures themselves: "
            "give the archive as a file or an http(s) address, or unpack it there."
        )
    return S3Prefix(bucket, prefix if not prefix or prefix.endswith("/") else prefix + "/")


def _unpacked(archive: Path, workspace: Path, limits: Limits, shown: str) -> Path:
    target = workspace / "unpacked"
    target.mkdir()
    space = int(shutil.disk_usage(workspace).free * 0.9)
    unpack(archive, target, max_bytes=min(limits.unpacked_bytes, space), max_files=limits.files, shown=shown)
    return target
