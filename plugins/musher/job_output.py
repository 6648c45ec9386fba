"""What a training job left on S3."""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlparse

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from musher.errors import UserError

EVALUATION = "evaluation.json"
LARGEST_EVALUATION = 64 * 2**20
LARGEST_OUTPUT = 2 * 2**30
LARGEST_UNPACKED = 8 * 2**30


class JobOutputError(UserError):
    """What a training left cannot be used."""


class TooLarge(JobOutputError):
    """More than anybody will read into memory."""


class Judgement(BaseModel):
    """What of an evaluation decides on a model; whatever else is in it is kept as it is."""

    model_config = ConfigDict(extra="allow")

    accuracy: Annotated[float, Field(ge=0, le=1)]
    loss: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    images: Annotated[int, Field(ge=0)]
    classes: list[str]


def read(s3: Any, uri: str, most: int = LARGEST_OUTPUT) -> bytes:
    """One object's bytes, by its s3:// URI. Raises TooLarge when it has more than `most`."""
    parts = urlparse(uri)
    found = s3.get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))
    if found["ContentLength"] > most:
        raise TooLarge(f"{uri} has {found['ContentLength']} bytes, and is larger than the {most} that are read.")
    return found["Body"].read()


def read_json(s3: Any, uri: str) -> Any:
    return json.loads(read(s3, uri))


def read_evaluation(s3: Any, output_data: str) -> dict[str, Any]:
    """evaluation.json out of a job's output.tar.gz, whose script may have written anything.

    Raises JobOutputError when it is not there, or is no evaluation.
    """
    try:
        written = _evaluation(read(s3, output_data), output_data)
        evaluation = json.loads(written)
        Judgement.model_validate(evaluation)
    except s3.exceptions.NoSuchKey:
        raise JobOutputError(f"{output_data} is not there: the training has left nothing.") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise JobOutputError(
            f"{EVALUATION} in {output_data} is no evaluation: {where + ': ' if where else ''}{first['msg']}."
        ) from None
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, RecursionError) as error:
        raise JobOutputError(
            f"{EVALUATION} in {output_data} cannot be read: {(str(error) or type(error).__name__).splitlines()[0]}."
        ) from None
    return evaluation


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


def summary(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """What the quality gate needs of an evaluation, small enough for XCom."""
    return {name: evaluation[name] for name in ("accuracy", "loss", "images", "classes", "per_class")}
