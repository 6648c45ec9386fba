"""One change of the deployment at a time: deploying, rolling back and removing take the same lock.

The lock is an object in the bucket that only one writer can make its own: S3 refuses a write whose condition does not
hold. Source: S3 user guide, "Prevent object overwrites with conditional writes".
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError

from musher.errors import UserError
from musher.names import Run

# Not a prefix of its own: a run's folder is what Airflow's role may write to.
KEY = "runs/deployment-lock.json"
# A run that was lost keeps the lock no longer than this: longer than any deployment takes.
LIMIT = dt.timedelta(hours=24)
_REFUSED = {"PreconditionFailed", "ConditionalRequestConflict"}


class DeploymentIsChanged(UserError):
    """Another run changes the deployment."""


class DeploymentLock:
    """The lock, taken for a run: every task of that run may take it again, and any of them give it back."""

    def __init__(self, s3: Any, bucket: str, run: Run) -> None:
        self.s3, self.bucket, self.run = s3, bucket, run

    def take(self) -> None:
        """Take the lock. Raises DeploymentIsChanged, naming the run that has it."""
        content, tag = self._read()
        if self._is_others(content):
            raise self._taken(content)
        now = dt.datetime.now(dt.UTC)
        mine = {"dag": self.run.dag_id, "run": self.run.run_id, "since": now.isoformat(timespec="seconds")}
        try:
            self._write({**mine, "until": (now + LIMIT).isoformat(timespec="seconds")}, tag)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _REFUSED:
                raise
            raise self._taken(self._read()[0]) from None  # somebody was quicker

    def give_back(self) -> None:
        """Give the lock back; nothing happens where another run has it, or nobody."""
        content, tag = self._read()
        if content.get("run") == self.run.run_id and content.get("dag") == self.run.dag_id:
            self._write({}, tag)

    def is_ours(self) -> bool:
        """Whether the run has the lock."""
        content, _ = self._read()
        return (content.get("run"), content.get("dag")) == (self.run.run_id, self.run.dag_id)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Take the lock and give it back."""
        self.take()
        try:
            yield
        finally:
            self.give_back()

    def _read(self) -> tuple[Mapping[str, Any], str | None]:
        """What the lock says and its ETag; nothing, and None, before it was first taken."""
        try:
            found = self.s3.get_object(Bucket=self.bucket, Key=KEY)
        except self.s3.exceptions.NoSuchKey:
            return {}, None
        try:
            content = json.loads(found["Body"].read())
        except ValueError:
            content = {}
        return content if isinstance(content, Mapping) else {}, found["ETag"]

    def _write(self, content: Mapping[str, Any], tag: str | None) -> None:
        condition = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
        self.s3.put_object(Bucket=self.bucket, Key=KEY, Body=json.dumps(content).encode(), **condition)

    def _is_others(self, content: Mapping[str, Any]) -> bool:
        if not content.get("run") or (content["run"], content.get("dag")) == (self.run.run_id, self.run.dag_id):
            return False
        try:
            return dt.datetime.fromisoformat(content["until"]) > dt.datetime.now(dt.UTC)
        except (KeyError, TypeError, ValueError):
            return False

    def _taken(self, content: Mapping[str, Any]) -> DeploymentIsChanged:
        return DeploymentIsChanged(
            f"The run {content.get('run')} of {content.get('dag')} changes the deployment since "
            f"{content.get('since')}: wait until it has ended, then clear this task. If that run is gone, delete "
            f"s3://{self.bucket}/{KEY}."
        )
