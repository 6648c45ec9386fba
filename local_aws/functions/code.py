"""A function's code: a zip checked as Lambda checks it, and unpacked once for all of its environments."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import stat
import uuid
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from local_aws.errors import AwsError
from local_aws.storage import Storage

# AWS: Lambda developer guide, "Lambda quotas": 50 MB zipped in a request, 250 MB unzipped.
LARGEST_ZIP = 50 * 1024 * 1024
LARGEST_UNZIPPED = 262_144_000


@dataclass(frozen=True)
class Code:
    """Unpacked code. `sha256` is base64, as CodeSha256 is."""

    folder: Path
    archive: Path
    sha256: str
    size: int

    def moved(self, folder: Path) -> Code:
        """The same code below another folder. Raises FileNotFoundError when it is not there."""
        target = folder / self.archive.parent.name
        moved = replace(self, folder=target / self.folder.name, archive=target / self.archive.name)
        if not moved.archive.exists():
            raise FileNotFoundError(f"the code {moved.archive} is missing")
        return moved


def invalid(message: str) -> AwsError:
    """The error that Lambda gives for most wrong parameters."""
    return AwsError("InvalidParameterValueException", message)


def unzipped(code: Code) -> int:
    """How many bytes unpacked code has."""
    with zipfile.ZipFile(code.archive) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def unpack(data: bytes, folder: Path, *, direct: bool, operation: str = "CreateFunction") -> Code:
    """Check a zip and unpack it under `folder/<digest>/`; the same zip is unpacked once.

    Raises AwsError("InvalidParameterValueException") for what Lambda refuses.
    """
    if direct and len(data) > LARGEST_ZIP:
        raise AwsError(
            "RequestTooLargeException",
            f"Request must be smaller than {LARGEST_ZIP} bytes for the {operation} operation; this zip "
            f"has {len(data)}.",
            status=413,
        )
    digest = hashlib.sha256(data)
    target = folder / digest.hexdigest()
    code = Code(target / "code", target / "code.zip", base64.b64encode(digest.digest()).decode(), len(data))
    if code.archive.exists():
        return code
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError):
        raise invalid("Could not unzip uploaded file. Please check your file, then try to upload again.") from None
    if not any(not entry.is_dir() for entry in entries):
        raise invalid("Uploaded file must be a non-empty zip")
    if sum(entry.file_size for entry in entries) > LARGEST_UNZIPPED:
        raise invalid(f"Unzipped size must be smaller than {LARGEST_UNZIPPED} bytes")
    for entry in entries:
        if entry.filename.startswith(("/", "\\")) or ".." in Path(entry.filename.replace("\\", "/")).parts:
            raise invalid(f"The zip's entry {entry.filename!r} would be unpacked outside of the function's folder.")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise invalid(f"The zip's entry {entry.filename!r} is a link, which the local AWS does not unpack.")
    scratch = folder / f"unpacking-{uuid.uuid4().hex}"
    try:
        archive.extractall(scratch / "code")
        (scratch / "code.zip").write_bytes(data)
        try:
            scratch.rename(target)
        except OSError:
            # Another call unpacked the same zip in the meantime.
            if not code.archive.exists():
                raise
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError):
        raise invalid("Could not unzip uploaded file. Please check your file, then try to upload again.") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return code


def fetched(s3: Storage, folder: Path, source: dict[str, Any], operation: str) -> Code:
    """The code that a request gives, unpacked below a folder. Raises AwsError for what Lambda refuses."""
    if source.get("ZipFile") is not None:
        return unpack(source["ZipFile"], folder, direct=True, operation=operation)
    bucket, key = source.get("S3Bucket"), source.get("S3Key")
    if not bucket or not key:
        raise invalid("Please provide a source for function code.")
    try:
        data = s3.read(bucket, key)
    except FileNotFoundError:
        code, message = ("NoSuchKey", "The specified key does not exist.")
        if not s3.bucket_exists(bucket):
            code, message = ("NoSuchBucket", "The specified bucket does not exist.")
        raise invalid(
            f"Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message} (s3://{bucket}/{key})"
        ) from None
    return unpack(data, folder, direct=False)
