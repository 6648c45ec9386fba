"""A run record's files on S3."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeVar
from urllib.parse import urlparse

from musher.record.part import Part, RecordError
from musher.record.run import PARTS, RunRecord

P = TypeVar("P", bound=Part)


def prefix(run: str) -> str:
    """Where a run's parts and its report are: `runs/<run>/`."""
    return f"runs/{run}/"


def write(s3: Any, bucket: str, run: str, part: Part) -> str:
    """Write one part of a run's record; returns its S3 URI."""
    return put(s3, bucket, f"{prefix(run)}{part.NAME}.json", part.to_json())


def read(s3: Any, bucket: str, run: str, kind: type[P]) -> P | None:
    """One part of a run's record, None where it has not been written, or was taken back.

    Raises RecordError when it cannot be read.
    """
    key = f"{prefix(run)}{kind.NAME}.json"
    try:
        content = _load(s3, bucket, key)
    except s3.exceptions.NoSuchKey:
        return None
    return None if content is None else kind.from_json(content, key)


def take_back(s3: Any, bucket: str, run: str, kinds: Iterable[type[Part]]) -> None:
    """Have parts of a run's record read as if they had never been written.

    They stay as empty files: Airflow's role may not delete there.
    """
    there = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix(run), Delimiter="/")
    written = {item["Key"] for page in there for item in page.get("Contents", ())}
    for key in sorted(written & {f"{prefix(run)}{kind.NAME}.json" for kind in kinds}):
        put(s3, bucket, key, None)


def read_at(s3: Any, uri: str, kind: type[P]) -> P:
    """The part that an S3 URI points to. Raises RecordError when it cannot be read, NoSuchKey when it is not there."""
    where = urlparse(uri)
    key = where.path.lstrip("/")
    return kind.from_json(_load(s3, where.netloc, key), key)


def _load(s3: Any, bucket: str, key: str) -> Any:
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    try:
        return json.loads(body)
    except ValueError as error:
        raise RecordError(f"{key} is damaged: it is no JSON ({error}).") from None


def read_run(s3: Any, bucket: str, run: str) -> RunRecord:
    """All parts of a run's record that have been written so far; what cannot be read is in its `unreadable`."""
    parts: dict[str, Part] = {}
    unreadable: dict[str, str] = {}
    for name, kind in PARTS.items():
        try:
            if part := read(s3, bucket, run, kind):
                parts[name] = part
        except RecordError as error:
            unreadable[name] = str(error)
    return RunRecord(run=run, unreadable=unreadable, **parts)


def runs_with(s3: Any, bucket: str, kind: type[Part]) -> list[str]:
    """The runs whose record has a part, the newest one first."""
    found = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="runs/"):
        for item in page.get("Contents", ()):
            folder, _, name = item["Key"].rpartition("/")
            if name == f"{kind.NAME}.json":
                found.append((item["LastModified"], folder.removeprefix("runs/")))
    return [run for _, run in sorted(found, reverse=True)]


def put(s3: Any, bucket: str, key: str, content: Any) -> str:
    """Write a JSON object; returns its S3 URI. Raises ValueError for what JSON has no words for, like NaN."""
    body = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode()
    s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")
    return f"s3://{bucket}/{key}"
