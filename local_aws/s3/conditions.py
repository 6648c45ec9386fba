"""Under which conditions a request is carried out, and which part of a body it asks for."""

from __future__ import annotations

import datetime as dt
from typing import Any
from urllib.parse import unquote

from local_aws.errors import AwsError
from local_aws.s3 import errors
from local_aws.s3.index import StoredObject
from local_aws.s3.store import Store, moment, quoted

CONDITIONS = ("IfMatch", "IfNoneMatch", "IfModifiedSince", "IfUnmodifiedSince")


def check_replacement(before: StoredObject | None, key: str, if_match: str | None, if_none_match: str | None) -> None:
    """AWS: S3 user guide, "Add preconditions to S3 operations with conditional requests". Raises AwsError."""
    there = before is not None and not before.marker
    if if_none_match is not None:
        if if_none_match != "*":
            raise errors.not_implemented("If-None-Match with anything but * in a request that stores an object")
        if there:
            raise errors.precondition_failed("If-None-Match")
    if if_match is not None:
        if before is None or not there:
            raise errors.no_such_key(key)
        if if_match != "*" and if_match.strip('"') != before.etag:
            raise errors.precondition_failed("If-Match")


def check_deletion(before: StoredObject | None, if_match: str | None) -> None:
    """Raises AwsError."""
    if if_match is None:
        return
    if before is None or before.marker or (if_match != "*" and if_match.strip('"') != before.etag):
        raise errors.precondition_failed("If-Match")


def unchanged(found: StoredObject, params: dict[str, Any]) -> bool:
    """Whether a caller has what it asks for (304). Raises AwsError for a condition that does not hold.

    AWS: GetObject, "Response structure": of two conditions an ETag's counts more than a date's (RFC 7232).
    """
    etag, since = quoted(found.etag), moment(found.modified)
    if (wanted := params.get("IfMatch")) is not None:
        if wanted != "*" and etag not in {wanted, quoted(wanted)}:
            raise errors.precondition_failed("If-Match")
    elif (date := params.get("IfUnmodifiedSince")) is not None and since > _utc(date):
        raise errors.precondition_failed("If-Unmodified-Since")
    if (known := params.get("IfNoneMatch")) is not None:
        return known == "*" or etag in {known, quoted(known)}
    date = params.get("IfModifiedSince")
    return date is not None and since <= _utc(date)


def _utc(date: dt.datetime) -> dt.datetime:
    return date.astimezone(dt.UTC)


def byte_range(text: str | None, size: int) -> tuple[int, int] | None:
    """Where a range of a body begins and ends; None for all of it (RFC 9110, 14.2). Raises AwsError."""
    if text is None or not text.startswith("bytes=") or "," in text:
        return None
    first, dash, last = text.removeprefix("bytes=").strip().partition("-")
    if not dash or not (first or last) or (first and not first.isdigit()) or (last and not last.isdigit()):
        return None
    if first and last and int(last) < int(first):
        return None
    start, end = (int(first), min(int(last) + 1, size) if last else size) if first else (max(0, size - int(last)), size)
    if start >= size or (not first and int(last) == 0):
        error = AwsError(
            "InvalidRange", "The requested range is not satisfiable", status=416, RangeRequested=text,
            ActualObjectSize=size,
        )  # fmt: skip
        error.headers = [("Content-Range", f"bytes */{size}")]
        raise error
    return start, end


def copy_source(store: Store, params: dict[str, Any]) -> StoredObject:
    """The object that CopySource names. Raises AwsError."""
    if params.get("ExpectedSourceBucketOwner", store.account) != store.account:
        raise AwsError("AccessDenied", "Access Denied", status=403)
    path, _, version = params["CopySource"].partition("?versionId=")
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    found = store.get(bucket, key, version or None)
    if found.marker:
        if version:
            raise AwsError(
                "InvalidRequest",
                "The source of a copy request may not specifically refer to a delete marker by version id.",
            )
        raise errors.no_such_key(key)
    conditions = {name: params.get(f"CopySource{name}") for name in CONDITIONS}
    if unchanged(found, conditions):
        raise errors.precondition_failed("x-amz-copy-source-If-None-Match")
    return found
