"""What a training job left on S3."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import urlparse

from pydantic import ValidationError

from musher import record
from musher.diagnostics.outcome import JobDiagnostics
from musher.errors import UserError

P = TypeVar("P", bound=record.Part)

EVALUATION, PREDICTIONS = "evaluation.json", "predictions.json"
DIAGNOSTICS, PROFILE = "diagnostics.json", "profile.json"
DESCRIPTION = "model.json"
LARGEST_EVALUATION = 64 * 2**20
LARGEST_OUTPUT = 2 * 2**30
LARGEST_UNPACKED = 8 * 2**30


class JobOutputError(UserError):
    """What a training left cannot be used."""


class NothingLeft(JobOutputError):
    """A job has left no output."""


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


def look_into(s3: Any, uri: str) -> tuple[str, dict[str, str]]:
    """A model archive's SHA-256, and what it says of the network in it, read in one go.

    The second is `{code, backbone, head, image_size}` as far as they are there: the first 16 hexadecimal digits of the
    SHA-256 of the files below code/, and what model.json says (ml_scripts/artifacts.py). Archives of others may be
    anything.
    """
    parts = urlparse(uri)
    body = _Hashed(s3.get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))["Body"])
    try:
        found = _of_network(body)
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, RecursionError, TypeError):
        found = {}
    while body.read(2**20):
        pass
    return body.digest.hexdigest(), found


class _Hashed:
    """What is read of it is counted into `digest`."""

    def __init__(self, body: Any) -> None:
        self.body, self.digest = body, hashlib.sha256()

    def read(self, size: int) -> bytes:
        content = self.body.read(size)
        self.digest.update(content)
        return content


def _of_network(body: _Hashed) -> dict[str, str]:
    code: dict[str, str] = {}
    description: Any = {}
    with tarfile.open(fileobj=body, mode="r|gz") as members:
        for member in members:
            name = member.name.removeprefix("./")
            if member.offset_data > LARGEST_UNPACKED:  # reading on would unpack whatever there is
                break
            if not member.isfile():
                continue
            if name.startswith("code/"):
                code[name] = hashlib.file_digest(members.extractfile(member), "sha256").hexdigest()
            elif name == DESCRIPTION and member.size <= LARGEST_EVALUATION:
                description = json.loads(members.extractfile(member).read())
    if not isinstance(description, Mapping):
        description = {}
    found = {name: str(description[name]) for name in ("backbone", "head", "image_size") if description.get(name)}
    if code:
        written = json.dumps(code, sort_keys=True).encode()
        found["code"] = hashlib.sha256(written).hexdigest()[:16]
    return found


def read_evaluation(s3: Any, output_data: str) -> record.Evaluation:
    """evaluation.json out of a job's output.tar.gz, whose script may have written anything.

    Raises JobOutputError when it is not there, or is no evaluation.
    """
    found = _read_member(s3, output_data, EVALUATION, record.Evaluation)
    if found is None:
        raise JobOutputError(f"{output_data} holds no {EVALUATION}: the training script wrote no evaluation.")
    return found


def read_predictions(s3: Any, output_data: str) -> record.Predictions | None:
    """predictions.json out of a job's output.tar.gz; None where the script wrote none, as scripts of others do.

    Raises JobOutputError when it is there and holds no predictions.
    """
    return _read_member(s3, output_data, PREDICTIONS, record.Predictions)


def read_diagnostics(s3: Any, output_data: str) -> JobDiagnostics | None:
    """diagnostics.json out of a job's output.tar.gz, also of one that failed.

    None where there is none: the job ended before it could write, or evaluated no rules.

    Raises JobOutputError when it is there and is none.
    """
    try:
        return _read_member(s3, output_data, DIAGNOSTICS, JobDiagnostics)
    except NothingLeft:
        return None


def read_profile(s3: Any, output_data: str) -> record.JobProfile | None:
    """profile.json out of a job's output.tar.gz; None where the script wrote none.

    Raises JobOutputError when it is there and is none.
    """
    return _read_member(s3, output_data, PROFILE, record.JobProfile)


def _read_member(s3: Any, output_data: str, name: str, kind: type[P]) -> P | None:
    try:
        written = _member(read(s3, output_data), output_data, name)
        return None if written is None else kind.model_validate(json.loads(written), extra="ignore")
    except s3.exceptions.NoSuchKey:
        raise NothingLeft(f"{output_data} is not there: the training has left nothing.") from None
    except ValidationError as error:
        raise JobOutputError(f"{name} in {output_data} is no {kind.NAME}: {record.sentence(error)}") from None
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, RecursionError) as error:
        raise JobOutputError(
            f"{name} in {output_data} cannot be read: {(str(error) or type(error).__name__).splitlines()[0]}."
        ) from None


def _member(archive: bytes, output_data: str, name: str) -> bytes | None:
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        for member in members:
            if member.offset_data > LARGEST_UNPACKED:  # reading on would unpack whatever there is
                break
            if member.isfile() and member.name.rsplit("/", 1)[-1] == name:
                if member.size > LARGEST_EVALUATION:
                    raise TooLarge(f"{name} in {output_data} is larger than {LARGEST_EVALUATION} bytes.")
                return members.extractfile(member).read()
    return None


def summary(evaluation: record.Evaluation) -> dict[str, Any]:
    """What the quality gate needs of an evaluation, small enough for XCom."""
    return evaluation.model_dump(mode="json", include={"accuracy", "loss", "images", "classes", "per_class"})
