"""The rehearsals that passed, one object each in the bucket, named after what they have in common with equal ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from musher import record
from musher.record import PassedRehearsal, RecordError
from musher.release.rehearsal import FOLDER, key


def recall(s3: Any, bucket: str, facts: Mapping[str, Any], *, concurrency: bool) -> PassedRehearsal | None:
    """The rehearsal with these facts that passed; None where none did.

    Parameters: `concurrency` whether calls at once have to have been tried. Where they need not, one that did is as
    good.
    """
    for tried in (True,) if concurrency else (True, False):
        if found := _read(s3, bucket, key(facts, concurrency=tried)):
            return found
    return None


def newest(s3: Any, bucket: str) -> PassedRehearsal | None:
    """The last rehearsal that passed, whatever its facts."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=FOLDER)
    items = [item for page in pages for item in page.get("Contents", ())]
    return _read(s3, bucket, max(items, key=lambda item: item["LastModified"])["Key"]) if items else None


def remember(s3: Any, bucket: str, passed: PassedRehearsal, *, concurrency: bool) -> str:
    """Write down a rehearsal that passed; returns its S3 URI."""
    return record.put(s3, bucket, key(passed.facts, concurrency=concurrency), passed.to_json())


def _read(s3: Any, bucket: str, name: str) -> PassedRehearsal | None:
    """What was written; nothing where it cannot be read, since then it must not spare anything."""
    try:
        return record.read_at(s3, f"s3://{bucket}/{name}", PassedRehearsal)
    except (RecordError, s3.exceptions.NoSuchKey):
        return None
