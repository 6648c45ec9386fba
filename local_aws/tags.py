"""Tags of the resources that the local AWS keeps itself; moto keeps those of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from local_aws.errors import validation


def check_tags(tags: Iterable[Mapping[str, str]] | None) -> None:
    """Raise AwsError for a key that is there twice (SageMaker API reference, Tag and AddTags)."""
    seen = set()
    for tag in tags or ():
        key = tag["Key"]
        if key in seen:
            raise validation(f"The tag key {key} is there twice; tag keys must be unique.")
        seen.add(key)


class Tags:
    """Tags by ARN. Parameters: `tags` to begin with."""

    def __init__(self, tags: Mapping[str, dict[str, str]] | None = None) -> None:
        self._tags: dict[str, dict[str, str]] = dict(tags or {})
        self._lock = threading.Lock()

    def add(self, arn: str, tags: Iterable[Mapping[str, str]] | None) -> None:
        with self._lock:
            self._tags.setdefault(arn, {}).update({tag["Key"]: tag["Value"] for tag in tags or ()})

    def remove(self, arn: str, keys: Iterable[str]) -> None:
        with self._lock:
            for key in keys:
                self._tags.get(arn, {}).pop(key, None)

    def forget(self, arn: str) -> None:
        with self._lock:
            self._tags.pop(arn, None)

    def copy(self) -> dict[str, dict[str, str]]:
        """All tags by ARN."""
        with self._lock:
            return {arn: dict(tags) for arn, tags in self._tags.items()}

    def of(self, arn: str) -> list[dict[str, str]]:
        """The tags of one ARN as SageMaker lists them."""
        with self._lock:
            return [{"Key": key, "Value": value} for key, value in self._tags.get(arn, {}).items()]
