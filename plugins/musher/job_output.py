"""What a training job left on S3."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zlib
from typing import Any
from urllib.parse import urlparse

from pydantic import ValidationError

from musher import record
from musher.errors import UserError

EVALUATION = "evaluation.json"
LARGEST_EVALUATION = 64 * 2**20
LARGEST_OUTPUT = 2 * 2**30
LARGEST_UNPACKED = 8 * 2**30


class JobOutputError(UserError):
    """What a training left cannot be used."""


class TooLarge(JobOutputError):
    """More than anybody will read into memory."""


def read(s3: Any, uri: str, most: int = LARGEST_OUTPUT) -> bytes:
    """One object's bytes, by its s3:// URI. Raises TooLarge when it has more than `most`."""
    parts = urlparse(uri)
    found = s3.get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))
    if found["ContentLength"] > most:
        raise TooLarge(f"{uri} has {found['ContentLength']} bytes, and is larger than the {most} that are read.")
    return found["Body"].read()


def sha256(s3: Any, uri: str) -> str:
    """An object's SHA-256 in hexadecimal, by its s3:// URI; it may be larger than what fits into memory."""
    parts = urlparse(uri)
    found, digest = s3.get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/")), hashlib.sha256()
    for chunk in found["Body"].iter_chunks(2**20):
        digest.update(chunk)
    return digest.hexdigest()


def read_evaluation(s3: Any, output_data: str) -> record.Evaluation:
    """evaluation.json out of a job's output.tar.gz, whose script may have written anything.

    Raises JobOutputError when it is not there, or is no evaluation.
    """
    try:
        written = _evaluation(read(s3, output_data), output_data)
        return record.Evaluation.model_validate(json.loads(written), extra="ignore")
    except s3.exceptions.NoSuchKey:
        raise JobOutputError(f"{output_data} is not there: the training has left nothing.") from None
    except ValidationError as error:
        raise JobOutputError(f"{EVALUATION} in {output_data} is no evaluation: {record.sentence(error)}") from None
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, RecursionError) as error:
        raise JobOutputError(
            f"{EVALUATION} in {output_data} cannot be read: {(str(error) or type(error).__name__).splitlines()[0]}."
        ) from None


def _evaluation(archive: bytes, output_data: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        for member in members:
            if member.offset_data > LARGEST_UNPACKED:  # reading on would unpack whatever there is
                break
            if member.isfile() and member.name.rsplit("/", 1)[-1] == EVALUATION:
                if member.size > LARGEST_EVALUATION:
                    raise TooLarge(f"{EVALUATION} in {output_data} is larger than {LARGEST_EVALUATION} bytes.")
                return members.extractfile(member).read()
    raise JobOutputError(f"{output_data} holds no {EVALUATION}: the training script wrote no evaluation.")


def summary(evaluation: record.Evaluation) -> dict[str, Any]:
    """What the quality gate needs of an evaluation, small enough for XCom."""
    return evaluation.model_dump(mode="json", include={"accuracy", "loss", "images", "classes", "per_class"})
