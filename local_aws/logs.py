"""CloudWatch Logs as the local AWS's own services write it: moto keeps the groups and answers the queries."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from moto.backends import get_backend

from local_aws.iam.acting import Acting


class Logs:
    """Writes lines into log groups and streams, which are made when they are missing.

    Parameters: `changed` is called after every write. Nothing is written while `lock` is held.
    """

    def __init__(self, account: str, region: str, changed: Callable[[], None]) -> None:
        self.account, self.region = account, region
        self.lock = threading.Lock()
        self._changed = changed

    def write(
        self, group: str, stream: str, lines: Iterable[str], *, at: float | None = None, acting: Acting | None = None
    ) -> None:
        """Append lines to a stream; `at` is Unix seconds, now when left out.

        `acting` is the role in whose name a service writes: where that may not, there is no log, and nobody is told.
        """
        stamp = int((time.time() if at is None else at) * 1000)
        # An empty message is refused by PutLogEvents, and a blank line is worth keeping for the reader.
        events = [{"timestamp": stamp, "message": line or " "} for line in lines]
        if not events:
            return
        backend = get_backend("logs")[self.account][self.region]
        if acting is not None and not self._may(acting, backend, group, stream):
            return
        with self.lock:
            backend.ensure_log_group(group)
            if stream not in backend.groups[group].streams:
                backend.create_log_stream(group, stream)
            backend.groups[group].put_log_events(stream, events)
        self._changed()

    @staticmethod
    def _may(acting: Acting, backend: Any, group: str, stream: str) -> bool:
        known = backend.groups.get(group)
        if known is None and not acting.may("logs", "CreateLogGroup", logGroupName=group):
            return False
        named = {"logGroupName": group, "logStreamName": stream}
        if (known is None or stream not in known.streams) and not acting.may("logs", "CreateLogStream", **named):
            return False
        return acting.may("logs", "PutLogEvents", **named)

    def read(self, group: str, stream: str) -> list[str]:
        """Every line of a stream, oldest first; empty when there is none."""
        backend = get_backend("logs")[self.account][self.region]
        with self.lock:
            if group not in backend.groups or stream not in backend.groups[group].streams:
                return []
            return [event.message for event in backend.groups[group].streams[stream].events]
