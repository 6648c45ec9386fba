"""The archives of our own code: ml_scripts with the packages that AWS's image lacks, and the function's zip."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from musher.errors import StagingError
from musher.staging import packages

# What ml_scripts imports and AWS's PyTorch images do not have; safetensors as in requirements/ml.txt.
VENDORED = ("efficientnet_lite_pytorch==0.1.0", "safetensors==0.8.0")

ARCHIVE = "sourcedir.tar.gz"
LARGEST_CODE = 2**28  # bytes of the tar; ours has a few

_LEFT_OUT = {"__pycache__", "tests", "vendor"}


@dataclass(frozen=True)
class StagedCode:
    """The code archive on S3: the folder's URI (ends with a slash), its digest, whether it was sent just now."""

    uri: str
    sha256: str
    sent: bool


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") or part in _LEFT_OUT for part in relative.parts)
        if path.is_file() and not hidden and path.suffix != ".pyc":
            yield relative.as_posix(), path


def source_tar(ml_scripts: Path, cache: Path | None = None) -> bytes:
    """A tar, not compressed, of ml_scripts and of the vendored packages in vendor/: equal content, equal bytes.

    Raises StagingError when a package cannot be obtained.
    """
    with tempfile.TemporaryDirectory() as folder:
        vendor = Path(folder)
        for requirement in VENDORED:
            packages.unpack_wheel(packages.wheel(requirement, cache), vendor)
        files = dict(_files(ml_scripts))
        files |= {f"vendor/{name}": path for name, path in _files(vendor)}
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for name, path in sorted(files.items()):
                content = path.read_bytes()
                info = tarfile.TarInfo(name)  # time 0, owner 0: nothing of the machine that made it
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return buffer.getvalue()


def stage_code(client: Any, bucket: str, ml_scripts: Path, cache: Path | None = None) -> StagedCode:
    """Put the code archive at `code/<sha256>/sourcedir.tar.gz`, unless it is there.

    The digest is of the tar before compression, whose bytes depend on the compressor's version.
    Raises StagingError, also where what is there is something else.
    """
    if not (ml_scripts / "train.py").is_file():
        raise StagingError(f"{ml_scripts} holds no train.py; it has to be the folder ml_scripts.")
    tar = source_tar(ml_scripts, cache)
    digest = hashlib.sha256(tar).hexdigest()
    key = f"code/{digest}/{ARCHIVE}"
    sent = not exists(client, bucket, key)
    if sent:
        client.put_object(Bucket=bucket, Key=key, Body=gzip.compress(tar, mtime=0))
    else:
        staged_code(client, f"s3://{bucket}/code/{digest}/")
    return StagedCode(f"s3://{bucket}/code/{digest}/", digest, sent)


def staged_code(client: Any, folder: str) -> bytes:
    """The archive that `stage_code` has put into a folder, given by its s3:// URI, as it is stored.

    Raises StagingError when its content is not what the folder is named after.
    """
    where = urlparse(folder)
    expected, uri = where.path.strip("/").rpartition("/")[2], f"{folder}{ARCHIVE}"
    body = client.get_object(Bucket=where.netloc, Key=f"{where.path.lstrip('/')}{ARCHIVE}")["Body"].read(LARGEST_CODE)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as unpacked:
            digest = hashlib.sha256(unpacked.read(LARGEST_CODE)).hexdigest()
    except (OSError, EOFError, zlib.error) as error:
        digest = f"cannot be told ({error})"
    if digest != expected:
        raise StagingError(
            f"{uri} has the SHA-256 {digest}; it has to be {expected}: somebody has changed it, so it is not used. "
            "Delete it, and clear stage_inputs of a training run, which stores it again."
        )
    return body


def function_archive(folder: Path) -> bytes:
    """The function's zip: the Python files of `folder`, equal content giving equal bytes.

    Stored, not compressed, so that Lambda's digest of it does not depend on who made it, and no version is published
    twice. Raises StagingError when `folder` is another one.
    """
    if not (folder / "handler.py").is_file():
        raise StagingError(f"{folder} holds no handler.py; it has to be the folder lambda.")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, path in _files(folder):
            if path.suffix == ".py":
                info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
                info.create_system = 3  # Unix, so that the mode below is read
                info.external_attr = 0o100644 << 16
                archive.writestr(info, path.read_bytes())
    return buffer.getvalue()


def exists(client: Any, bucket: str, key: str) -> bool:
    """Whether an object is there."""
    from botocore.exceptions import ClientError

    try:
        client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
            return False
        raise
    return True
