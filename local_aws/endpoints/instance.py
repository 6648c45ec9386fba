"""One instance of an endpoint: a process with the model in it, and how it is called."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local_aws.endpoints.client import Broken, Connections, Unreachable
from local_aws.instances import Instance, describe_exit

if TYPE_CHECKING:
    from local_aws.aws import LocalAws
    from local_aws.iam.acting import Acting

SERVER = Path(__file__).with_name("server.py")
REQUIREMENTS = Path(__file__).with_name("requirements.py")
# SageMaker developer guide, "Use your own inference code with hosting services": a call is given 60 s, a container that
# is being stopped 30 s.
CALL_SECONDS = 60.0
STOP_SECONDS = 30.0
DEFAULT_STARTUP_SECONDS = 600.0
LONGEST_REASON = 1024


class StartFailed(Exception):
    """An instance did not come into service; the message is what DescribeEndpoint gives as the reason."""


@dataclass(frozen=True)
class Container:
    """What an instance runs: a model's folder, shared by the instances of a fleet, and its variables.

    `requirements`: whether the model brings packages that each instance installs for itself.
    """

    model_dir: Path
    environment: Mapping[str, str]
    threads: int
    requirements: bool = False
    startup_seconds: float = DEFAULT_STARTUP_SECONDS
    acting: Acting | None = None
    """The model's role, as SageMaker has taken it; None for a model without one."""


class EndpointInstance:
    """A started instance. `in_flight` is counted by the variant that routes to it."""

    def __init__(self, aws: LocalAws, endpoint: str, variant: str, container: Container,
                 on_exit: Callable[[EndpointInstance], None]) -> None:  # fmt: skip
        self.in_flight = 0
        self.peak = 0
        self.stopping = False
        self.in_service = False
        self.variant, self.container = variant, container
        self.last_lines: deque[str] = deque(maxlen=12)
        self.connections: Connections | None = None
        group, named, self._has_ended = f"/aws/sagemaker/Endpoints/{endpoint}", threading.Event(), threading.Event()

        def on_line(line: str) -> None:
            named.wait(5)
            self.last_lines.append(line)
            aws.logs.write(group, self.stream, [line], acting=container.acting)

        def ended(_: Instance) -> None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._has_ended.set()
            on_exit(self)

        # Named here, before the instance has its own name.
        self.folder = container.model_dir.parent / "instances" / f"{time.time_ns():x}-{id(self):x}"
        python = aws.environments.make(self.folder / "environment")
        self.port_file = self.folder / "port"
        command = [str(python), str(SERVER), str(container.model_dir), str(self.port_file)]
        if container.requirements:
            command.insert(1, str(REQUIREMENTS))
        self.instance: Instance = aws.instances.start(
            "endpoint",
            command,
            folder=self.folder,
            environment={"PATH": aws.environments.path(python), "HOME": str(self.folder), **container.environment},
            threads=container.threads,
            on_line=on_line,
            on_exit=ended,
            forked_from=aws.environments.template,
        )
        named.set()

    @property
    def stream(self) -> str:
        """Its log stream."""
        return f"{self.variant}/{self.instance.id}"

    def wait_until_ready(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Wait for the first good `/ping`. Raises StartFailed with a sentence and the last lines of the log."""
        deadline = time.monotonic() + self.container.startup_seconds
        while time.monotonic() < deadline and not cancelled():
            if not self.instance.running:
                self._has_ended.wait(5)  # only then has its last line been read
                raise StartFailed(self._failure(f"its container ended with {describe_exit(self.instance.returncode)}"))
            with contextlib.suppress(OSError, ValueError, Unreachable, Broken):
                self.connections = Connections("127.0.0.1", int(self.port_file.read_text()))
                if self.connections.request("GET", "/ping", {}, b"", 2.0)[0] == 200:
                    self.in_service = True
                    return
            time.sleep(0.02)
        raise StartFailed(self._failure(f"it did not answer within {self.container.startup_seconds:g} s"))

    def _failure(self, why: str) -> str:
        reason = (
            f"The primary container for production variant {self.variant} did not pass the ping health check: {why}. "
            "Please check CloudWatch logs for this endpoint. Last lines: "
        )
        # A traceback says what is wrong at its end.
        return reason + (" | ".join(self.last_lines) or "none")[-(LONGEST_REASON - len(reason)) :]

    def invoke(self, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes, str]:
        """One call of `/invocations`: what `Connections.request` gives. Raises Unreachable, Broken, TimeoutError."""
        assert self.connections is not None
        return self.connections.request("POST", "/invocations", headers, body, CALL_SECONDS)

    def drain(self, seconds: float = CALL_SECONDS) -> None:
        """Wait until no call is in flight. It must not be routed to any more."""
        deadline = time.monotonic() + seconds
        while self.in_flight and time.monotonic() < deadline and self.instance.running:
            time.sleep(0.01)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after 30 s."""
        self.stopping = True
        if self.connections is not None:
            self.connections.close()
        self.instance.stop(STOP_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)
