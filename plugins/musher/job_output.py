"""What a training job left on S3."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlparse

EVALUATION = "evaluation.json"


def read(s3: Any, uri: str) -> bytes:
    """One object's bytes, by its s3:// URI."""
    parts = urlparse(uri)
    return s3.get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))["Body"].read()


def read_json(s3: Any, uri: str) -> Any:
    return json.loads(read(s3, uri))


def read_evaluation(s3: Any, output_data: str) -> dict[str, Any]:
    """evaluation.json out of a job's output.tar.gz. Raises FileNotFoundError when the script wrote none."""
    with tarfile.open(fileobj=io.BytesIO(read(s3, output_data))) as archive:
        member = next((each for each in archive if each.name.rsplit("/", 1)[-1] == EVALUATION), None)
        content = archive.extractfile(member) if member else None
        if content is None:
            raise FileNotFoundError(f"{output_data} holds no {EVALUATION}: the training script wrote no evaluation")
        return json.load(content)


def summary(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """What the quality gate needs of an evaluation, small enough for XCom."""
    return {name: evaluation[name] for name in ("accuracy", "loss", "images", "classes", "per_class")}
