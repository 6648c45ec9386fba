"""A local AWS as a real process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from local_aws.pipeline import reads
from tests.local_aws.forked import Forked, fork
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
# What tests call with: administrators' keys.
ADMINISTRATORS = {"AKIATESTTESTTESTTEST": "test", "test": "test"}
JOBS_PYTHON = Path(os.environ.get("MUSHER_JOBS_PYTHON", ROOT / ".venv-ml/bin/python"))


@dataclass
class Daemon:
    """A running local AWS."""

    port: int
    state: Path
    minute: float
    process: subprocess.Popen[bytes] | Forked
    log: Path
    credentials: tuple[str, str] = ("AKIATESTTESTTESTTEST", "test")
    _clients: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def ignored(self) -> list[str]:
        """Members of requests that members.toml calls carried out and that nobody has looked at, in all its calls."""
        return reads.ignored(self.log.with_name("reads.jsonl"))

    def client(self, name: str, **options: Any) -> Any:
        """A boto3 client without retries, the same one each time unless options are given."""
        own = bool(options)
        if own or name not in self._clients:
            config = Config(retries={"total_max_attempts": 1}, max_pool_connections=64).merge(
                options.pop("config", Config())
            )
            client = boto3.client(
                name,
                endpoint_url=self.url,
                region_name="us-east-1",
                aws_access_key_id=self.credentials[0],
                aws_secret_access_key=self.credentials[1],
                config=config,
                **options,
            )
            if own:
                return client
            self._clients[name] = client
        return self._clients[name]

    def signed(
        self, service: str, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """The headers of a request that no SDK sends, with an administrator's signature for a service."""
        ((key, secret), *_) = ADMINISTRATORS.items()
        request = AWSRequest(method, f"{self.url}{path}", dict(headers or {}), body)
        signer = S3SigV4Auth if service == "s3" else SigV4Auth
        signer(Credentials(key, secret), service, "us-east-1").add_auth(request)
        return dict(request.headers)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise


def start_daemon(
    folder: Path,
    *,
    minute: float = 1.0,
    state: Path | None = None,
    options: Sequence[str] = (),
    iam: str = "enforce",
    anew: bool = not sys.platform.startswith("linux"),
) -> Daemon:
    """Start a local AWS on a free port and wait until it answers; `options` are further ones of its own.

    How strictly it takes IAM says `iam`, unless the options do; tests call as administrators.

    `anew` starts `python -m local_aws` as a user does, for tests of the process and of what it starts by itself; else
    it is forked from a process that has imported it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    state = state or folder / "state"
    log = folder / "daemon.log"
    arguments = ["--port", str(port), "--minute", f"{minute}s", "--state", str(state)]
    arguments += ["--jobs-python", str(JOBS_PYTHON), *options]
    if "--iam" not in options:
        keys = [part for key in ADMINISTRATORS.items() for part in ("--administrator", ":".join(key))]
        arguments += ["--iam", iam, *keys]
    os.environ[reads.VARIABLE] = str(folder / "reads.jsonl")
    process: subprocess.Popen[bytes] | Forked
    if anew:
        with log.open("wb") as output:
            command = [sys.executable, "-m", "local_aws", *arguments]
            process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
    else:
        process = fork(arguments, log)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_local_aws/health", timeout=5) as answer:
                if json.load(answer)["status"] == "ready":
                    return Daemon(port, state, minute, process, log)
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"the local AWS did not start:\n{log.read_text()}")


def refused_start(log: Path, *arguments: str) -> tuple[int, str]:
    """The exit status of a local AWS that is not to start, and what it says; `log` is written."""
    if sys.platform.startswith("linux"):
        return fork(arguments, log).wait(60), log.read_text()
    command = [sys.executable, "-m", "local_aws", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def make_role(daemon: Daemon, name: str = "tests") -> str:
    """The ARN of a role that SageMaker and Lambda may take, and that may do everything."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": ["sagemaker.amazonaws.com", "lambda.amazonaws.com"]},
        "Action": "sts:AssumeRole",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam = daemon.client("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy)["Role"]["Arn"]
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps(everything))
    return role


def wait_for(condition: Callable[[], Any], seconds: float = 60, message: str = "") -> Any:
    """Ask until the answer is true; it is returned. AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, message or f"still not so after {seconds} s"
        time.sleep(0.1)
    return answer
