"""The local stack: the local AWS and `airflow standalone`, started and stopped as a whole.

    python -m tools.stack up | down | status

Both are detached and outlive this command; what they are and where they listen is remembered in `<home>/stack/`.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from tools import bootstrap
from tools.airflow_rest import Airflow
from tools.infrastructure import InfrastructureError
from tools.processes import Component, last_lines, port_is_free

ROOT = Path(__file__).resolve().parent.parent
PYTHON = Path(sys.executable)  # .venv's, or that of the older Airflow which is tested
JOBS_PYTHON = ROOT / ".venv-ml/bin/python"
START_SECONDS = 300
IAM_MODES = ("off", "audit", "enforce")


class StackError(Exception):
    """Why the stack cannot be started or stopped, as one sentence for a person."""


@dataclass(frozen=True)
class Stack:
    """Where the stack lives and listens. `minute`: how long an AWS minute lasts, as the local AWS takes it."""

    local_aws_port: int = 4566
    airflow_port: int = 8080
    minute: str = "2s"
    home: Path = ROOT / ".airflow"
    state: Path = ROOT / ".local_aws"
    logs: Path = ROOT / "build/logs"
    dags: Path = ROOT / "dags"
    settings: dict[str, str] = field(default_factory=dict)  # further environment variables for Airflow
    iam: str = "enforce"  # what the local AWS does with a call that no policy allows: off, audit or enforce

    # What a person is told.
    STOP: ClassVar[str] = "make down"
    LOGS_ARE: ClassVar[str] = "its logs are in build/logs"

    @classmethod
    def from_environment(cls) -> Stack:
        """The stack of this checkout, on the ports that the Makefile's variables name. Raises StackError."""
        return cls(
            _port("LOCAL_AWS_PORT", 4566), _port("AIRFLOW_PORT", 8080), os.environ.get("AWS_MINUTE") or cls.minute,
            iam=_mode("LOCAL_AWS_IAM", cls.iam),
        )  # fmt: skip

    @property
    def local_aws(self) -> Component:
        return Component("local AWS", self.home / "stack/local_aws.json", self.logs / "local_aws.log")

    @property
    def airflow(self) -> Component:
        return Component("Airflow", self.home / "stack/airflow.json", self.logs / "airflow.log")

    @property
    def aws_url(self) -> str:
        """Where the local AWS listens, or would."""
        return f"http://127.0.0.1:{self.local_aws.facts().get('port', self.local_aws_port)}"

    @property
    def airflow_url(self) -> str:
        """Where Airflow's UI and API listen, or would."""
        return f"http://127.0.0.1:{self.airflow.facts().get('port', self.airflow_port)}"

    def client(self, service: str, **options: Any) -> Any:
        """A boto3 client of the local AWS."""
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.aws_url,
            region_name=bootstrap.REGION,
            aws_access_key_id=bootstrap.CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=bootstrap.CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            **options,
        )

    def up(self, say: Callable[[str], None] = print) -> None:
        """Start what is not running and prepare the account; safe to repeat. Raises StackError."""
        with self._alone():
            self._up(say)

    def down(self, say: Callable[[str], None] = print) -> None:
        """Stop both with everything they started. Raises StackError when a process is left."""
        with self._alone():
            self._down(say)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Who starts or stops this stack at the same time waits for its turn."""
        file = self.home / "stack/lock"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _up(self, say: Callable[[str], None]) -> None:
        if self.local_aws.process() and not self.airflow.process() and self.local_aws.facts()["minute"] != self.minute:
            self.local_aws.stop()  # half a stack is nobody's: start it as asked
        started = time.monotonic()
        fresh = [component.name for component in (self.local_aws, self.airflow) if component.process() is None]
        # Both before either is started: half a stack helps nobody.
        if self.local_aws.name in fresh:
            _require_free(self.local_aws_port, "LOCAL_AWS_PORT", "the local AWS")
        if self.airflow.name in fresh:
            _require_free(self.airflow_port, "AIRFLOW_PORT", "Airflow")
        if fresh:
            say(f"Starting {' and '.join(fresh)} ...")
        self._start_local_aws()
        try:
            values = bootstrap.prepare_account(self.client, self._health().get("ssh_port", bootstrap.SSH_PORT))
        except InfrastructureError as error:
            raise StackError(str(error)) from None
        self._start_airflow()
        self._wait("Airflow", self.airflow, lambda: Airflow(self.airflow_url).ready())
        Airflow(self.airflow_url).set_variable("musher", bootstrap.variable(values), "Facts of the environment")
        if fresh:
            say(f"Up in {time.monotonic() - started:.0f} s: {self.status()}")
        else:
            say(f"Already up: {self.status()}")
            for component, port, name in (
                (self.local_aws, self.local_aws_port, "LOCAL_AWS_PORT"),
                (self.airflow, self.airflow_port, "AIRFLOW_PORT"),
            ):
                if component.facts()["port"] != port:
                    say(f"{name}={port} takes effect after `make down`.")

    def _down(self, say: Callable[[str], None]) -> None:
        known = [component for component in (self.airflow, self.local_aws) if component.family()]
        # Airflow first: a task that is stopped stops its job, for which it needs the local AWS.
        left = {component.name: component.stop() for component in (self.airflow, self.local_aws)}
        if any(left.values()):
            processes = ", ".join(f"{process.pid}" for remaining in left.values() for process in remaining)
            raise StackError(f"These processes could not be stopped: {processes}.")
        say(f"Stopped {' and '.join(component.name for component in known)}." if known else "Nothing was up.")

    def status(self) -> str:
        """What is up, and where, in one line; in another, what the local AWS has to warn of."""
        parts = []
        for component, address in ((self.local_aws, self.aws_url), (self.airflow, self.airflow_url)):
            running = component.process() is not None
            parts.append(f"{component.name} at {address}" if running else f"{component.name} is not running")
        warning = (self._health().get("state") or {}).get("warning")
        return ", ".join(parts) + "." + (f"\nThe local AWS warns: {warning}" if warning else "")

    def _start_local_aws(self) -> None:
        if self.local_aws.process() is None:
            self.local_aws.stop()
            command = [str(PYTHON), "-m", "local_aws", "--port", str(self.local_aws_port), "--minute", self.minute]
            command += ["--state", str(self.state), "--jobs-python", str(JOBS_PYTHON), "--iam", self.iam]
            command += ["--administrator", ":".join(bootstrap.CREDENTIALS.values())]
            command += ["--offer", f"{bootstrap.AIRFLOW_ROLE}:{bootstrap.AIRFLOW_SERVICE}:{self._credentials_token()}"]
            environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
            facts = {"port": self.local_aws_port, "minute": self.minute}
            self.local_aws.start(command, cwd=ROOT, env=environment, **facts)
        self._wait("The local AWS", self.local_aws, self._local_aws_ready)

    def _start_airflow(self) -> None:
        if self.airflow.process() is None:
            self.airflow.stop()
            command = [str(PYTHON), "-m", "tools.airflow_component", "standalone"]
            self.airflow.start(command, cwd=ROOT, env=self.airflow_environment(), port=self.airflow_port)

    def _wait(self, name: str, component: Component, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            alive = component.process() is not None
            if not alive or time.monotonic() > deadline:
                component.stop()
                why = f"was not ready within {START_SECONDS} s" if alive else "ended as it started"
                raise StackError(f"{name} {why}; the end of {component.log}:\n{last_lines(component.log)}")
            time.sleep(0.2)

    def _local_aws_ready(self) -> bool:
        return self.local_aws.process() is not None and self._health().get("status") == "ready"

    def _health(self) -> dict[str, Any]:
        """What the local AWS says of itself; empty when it does not answer."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with contextlib.suppress(OSError, ValueError):
            with opener.open(f"{self.aws_url}/_local_aws/health", timeout=5) as answer:
                return json.load(answer)
        return {}

    def airflow_environment(self) -> dict[str, str]:
        """The environment that Airflow runs in; nothing of the caller's AWS account or Airflow gets into it."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW_"))}
        options = {
            "CORE__DAGS_FOLDER": self.dags,
            "CORE__PLUGINS_FOLDER": ROOT / "plugins",
            "CORE__EXECUTOR": "tools.local_executor.ResumingLocalExecutor",
            "CORE__LOAD_EXAMPLES": False,
            "CORE__PARALLELISM": 4,  # LocalExecutor forks that many workers of 150 MB
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": True,
            "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self.airflow_port}/execution/",
            "CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": 5,
            # Who writes waits for the others: after SQLite's own 5 s, a request on a busy laptop would be an error.
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home.absolute()}/airflow.db?timeout=60",
            "API__HOST": "127.0.0.1",
            "API__PORT": self.airflow_port,
            "API__BASE_URL": f"http://127.0.0.1:{self.airflow_port}",
            "API__WORKERS": 1,
            # Jobs saturate a laptop, and the API server waits with everyone else.
            "WORKERS__EXECUTION_API_TIMEOUT": 60,
            "DAG_PROCESSOR__REFRESH_INTERVAL": 5,
            # A file that takes longer counts as broken, and its runs stand still until it is read again, ten minutes
            # later: 50 s, the default, were not enough on two cores with 50 processes waiting for them.
            "DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": 300,
            # A changed file is read at once; reading unchanged ones over and over takes CPU from the jobs.
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 600,
            # A DAG is taken away when its file was read again this long after the DAG was last written down, and on a
            # busy machine the one may take a minute longer than the other: it would be missing until the next reading.
            "DAG_PROCESSOR__STALE_DAG_THRESHOLD": 1800,
            # At most: it wakes when something is written (see sqlite_scheduler.py).
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 1,
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 120,
            "SCHEDULER__ENABLE_HEALTH_CHECK": False,
            "LOGGING__LOGGING_LEVEL": "INFO",
            "USAGE_DATA_COLLECTION__ENABLED": False,
            **self._secrets(),
        }
        environment = {f"AIRFLOW__{name}": str(value) for name, value in options.items()}
        return {
            **inherited,
            **environment,
            # As on MWAA, whose workers are containers: no key, and the role's sessions at an address of their own.
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.aws_url}/_local_aws/credentials/{self._credentials_token()}",
            "AIRFLOW_HOME": str(self.home.absolute()),
            "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
            "AWS_ENDPOINT_URL": self.aws_url,
            "AWS_DEFAULT_REGION": bootstrap.REGION,
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": ",".join(filter(None, ["127.0.0.1,localhost", inherited.get("NO_PROXY")])),
            "PATH": f"{PYTHON.parent}{os.pathsep}{inherited.get('PATH', os.defpath)}",
            "PYTHONUNBUFFERED": "1",
            **self.settings,
        }

    def _secrets(self) -> dict[str, str]:
        """What Airflow's components have to agree on; left alone, each may draw its own as it starts."""
        return self._drawn("secrets", "API__SECRET_KEY", "API_AUTH__JWT_SECRET", "CORE__FERNET_KEY")

    def _credentials_token(self) -> str:
        """By which Airflow gets its role's credentials from the local AWS."""
        return self._drawn("credentials", "TOKEN")["TOKEN"].rstrip("=")

    def _drawn(self, file_name: str, *names: str) -> dict[str, str]:
        """Secrets that are drawn once and kept."""
        file = self.home / f"stack/{file_name}.json"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            drawn = {name: base64.urlsafe_b64encode(os.urandom(32)).decode() for name in names}
            file.touch(mode=0o600)
            file.write_text(json.dumps(drawn))
        return json.loads(file.read_text())


def _port(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise StackError(f"{name} is {text!r}; it has to be a port, a whole number from 1 to 65535.")
    return int(text)


def _mode(name: str, default: str) -> str:
    text = os.environ.get(name) or default
    if text not in IAM_MODES:
        raise StackError(f"{name} is {text!r}; it has to be one of {', '.join(IAM_MODES)}.")
    return text


def _require_free(port: int, name: str, what: str) -> None:
    if not port_is_free(port):
        raise StackError(
            f"Port {port} on 127.0.0.1, where {what} would listen, is in use by another process; "
            f"choose another with `make {name}={port + 1} ...`."
        )


def main() -> int:
    command = sys.argv[1] if len(sys.argv) == 2 else ""
    if command not in ("up", "down", "status"):
        print("python -m tools.stack up | down | status", file=sys.stderr)
        return 2
    try:
        stack = Stack.from_environment()
        if command == "up":
            stack.up()
        elif command == "down":
            stack.down()
        else:
            print(stack.status())
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
