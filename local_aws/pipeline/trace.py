"""A line of JSON for each call with the stages that it has passed, where LOCAL_AWS_TRACE names a file for it."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from local_aws.pipeline.exchange import Exchange

VARIABLE = "LOCAL_AWS_TRACE"


class Trace:
    """Appends to the file that the environment names; without one it does nothing, and is false."""

    def __init__(self) -> None:
        path = os.environ.get(VARIABLE)
        self._file = Path(path).open("a", encoding="utf-8") if path else None  # noqa: SIM115
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return self._file is not None

    def write(self, exchange: Exchange) -> None:
        """Write what happened to a call."""
        if self._file is None:
            return
        line = {
            "service": exchange.service, "operation": exchange.operation, "region": exchange.region,
            "access_key": exchange.access_key, "protocol": exchange.protocol, "resources": exchange.resources,
            "stages": exchange.stages, "owner": exchange.owner, "status": exchange.status,
        }  # fmt: skip
        with self._lock:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
