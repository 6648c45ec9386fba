"""The pictures that a load test sends."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlparse

from musher.config import Environment
from musher.errors import UserError

MOST_PICTURES = 50


class LoadTestError(UserError):
    """A load test that cannot be run as asked."""


def pictures_to_send(s3: Any, env: Environment, dataset_uri: str | None, *, most: int = MOST_PICTURES) -> list[bytes]:
    """Real pictures to send: up to `most` of the data set's test split. Raises LoadTestError when there are none."""
    parts = urlparse(f"{dataset_uri or env.uri('dataset', 'images', '')}test/")
    listed = s3.list_objects_v2(Bucket=parts.netloc, Prefix=parts.path.lstrip("/"), MaxKeys=1000).get("Contents", [])
    step = max(1, len(listed) // most)
    keys = [each["Key"] for each in listed[::step]][:most]
    if not keys:
        raise LoadTestError(f"There are no pictures to send at s3://{parts.netloc}/{parts.path.lstrip('/')}.")
    return [s3.get_object(Bucket=parts.netloc, Key=key)["Body"].read() for key in keys]
