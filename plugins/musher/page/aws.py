"""The page's way to AWS: the facts of the Variable, and clients that give up early."""

from __future__ import annotations

import threading
import time
from typing import Any

from musher.config import AWS_CONN_ID, Environment

# Somebody waits for what is read: the next try comes by itself.
PATIENCE = {"connect_timeout": 3, "read_timeout": 8, "retries": {"total_max_attempts": 2}}
# A changed Variable or connection is noticed after so many seconds.
KEPT_SECONDS = 60.0


class Aws:
    """What the tasks use, too: the Variable `musher` and the connection `aws_default`. For threads that read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0
        self._environment: Environment | None = None
        self._clients: dict[Any, Any] = {}

    @property
    def environment(self) -> Environment:
        """Raises ConfigError when the Variable is missing or wrong."""
        with self._lock:
            if self._environment is None or time.monotonic() > self._until:
                self._environment, self._clients = Environment.load(), {}
                self._until = time.monotonic() + KEPT_SECONDS
            return self._environment

    def client(self, service: str, **config: Any) -> Any:
        """A boto3 client, the same one each time; `config` are botocore Config settings in the place of PATIENCE."""
        from botocore.config import Config

        from musher.hooks.aws import AwsHook

        region = self.environment.region
        with self._lock:  # boto3 makes clients in one thread at a time
            key = (service, repr(config))
            if key not in self._clients:
                settings = Config(**(config or PATIENCE))
                hook = AwsHook(aws_conn_id=AWS_CONN_ID, client_type=service, region_name=region, config=settings)
                self._clients[key] = hook.get_conn()
            return self._clients[key]
