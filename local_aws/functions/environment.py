"""One execution environment: a process of AWS's runtime client that takes one call at a time."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from local_aws.functions import opt
from local_aws.functions.runtime_api import ACCEPTED, Gone, RuntimeApi, RuntimeRequest, event_answer
from local_aws.iam.sessions import CannotAssume
from local_aws.instances import Instance, describe_exit
from local_aws.processes.forks import Template

if TYPE_CHECKING:
    from local_aws.aws import LocalAws
    from local_aws.functions.records import Version

# AWS: Lambda developer guide, "Lambda execution environment lifecycle": the init phase has 10 s.
INIT_SECONDS = 10.0
# An environment lives for hours, and its credentials as long as it.
LAMBDA = "lambda.amazonaws.com"
LONGEST_SESSION = 43_200
LARGEST_ANSWER = 6_291_556
ON_DEMAND, PROVISIONED = "on-demand", "provisioned-concurrency"
# What AWS's runtime has and most functions import, and what AWS's runtime client does: its own modules read the
# environment as they are imported. ctypes is the supervisor's.
TEMPLATE = Template(
    sys.executable,
    ("boto3", "botocore.client", "boto3.s3.transfer", "concurrent.futures.thread", "ctypes", "decimal", "http.client",
     "logging", "multiprocessing", "simplejson", "traceback"),
)  # fmt: skip
READ_AT_START = {"PYTHONNOUSERSITE": "1"}
LARGEST_OUTPUT_FILE = 1024 * 1024
LARGEST_STATUS = 8192


@dataclass(frozen=True)
class Result:
    """What became of one call (or of the initialisation). `error` is X-Amz-Function-Error's value, or None."""

    payload: bytes
    error: str | None
    seconds: float
    lost: bool = False
    """The environment cannot be used again."""
    status: str = ""
    """What the REPORT line says of an end that is no answer: timeout, error."""


class Environment:
    """A process with its Runtime API: `start`, `initialise`, `invoke` as often as wanted, by one thread at once."""

    def __init__(self, aws: LocalAws, version: Version, kind: str) -> None:
        self.aws, self.version, self.kind = aws, version, kind
        today = time.strftime("%Y/%m/%d", time.gmtime())
        self.stream = f"{today}/[{version.number}]{uuid.uuid4().hex}"
        self.acting = aws.iam.acting(version.settings["Role"], LAMBDA, version.function.name)
        """In whose name Lambda writes the log."""
        self.alive = True
        self.idle_since = time.monotonic()
        self.init_seconds: float | None = None
        self.on_end: Callable[[], None] | None = None
        self._api = RuntimeApi()
        self._waiting: RuntimeRequest | None = None
        self._instance: Instance | None = None
        self._folder = aws.instances.folder / "lambda" / self.stream.rsplit("]", 1)[1]
        self._output: int | None = None
        self._status: int | None = None
        self._offset = 0
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the process. Raises OSError."""
        self._folder.mkdir(parents=True)
        scratch = self._folder / "tmp"
        scratch.mkdir()
        # A file rather than a pipe: what a call printed is there before its answer is.
        self._output = os.open(self._folder / "output", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._instance = self.aws.instances.start(
            "lambda",
            [*runtime_client(), self.version.settings["Handler"]],
            environment=self._variables(scratch),
            folder=self._folder,
            cwd=self.version.code.folder,
            threads=0,
            output=self._output,
            on_exit=self._ended,
            opt=opt.seen(self.version.opt, self._folder / "opt") if self.version.opt else None,
            forked_from=TEMPLATE,
            read_at_start=READ_AT_START,
        )

    def _variables(self, scratch: Path) -> dict[str, str]:
        """AWS: Lambda developer guide, "Defined runtime environment variables"."""
        version, region = self.version, self.aws.region
        return {
            "AWS_ENDPOINT_URL": self.aws.url,
            # The local AWS has one address for all, e.g. no `runtime.sagemaker` in front of it.
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
            **self._credentials(),
            "AWS_EC2_METADATA_DISABLED": "true",
            "TMPDIR": str(scratch),
            **self._users_variables(),
            "_HANDLER": version.settings["Handler"],
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{version.settings['Runtime']}",
            "AWS_LAMBDA_FUNCTION_NAME": version.function.name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(version.memory),
            "AWS_LAMBDA_FUNCTION_VERSION": version.number,
            "AWS_LAMBDA_INITIALIZATION_TYPE": self.kind,
            "AWS_LAMBDA_LOG_GROUP_NAME": self.group,
            "AWS_LAMBDA_LOG_STREAM_NAME": self.stream,
            "AWS_LAMBDA_RUNTIME_API": self._api.address,
            "LAMBDA_TASK_ROOT": str(version.code.folder),
            **READ_AT_START,
        }

    def _users_variables(self) -> dict[str, str]:
        given = self.version.settings.get("Environment", {}).get("Variables", {})
        if self.version.opt is None:
            return given
        return opt.variables(self.version.opt, self.version.settings["Runtime"]) | given

    def _credentials(self) -> dict[str, str]:
        """A session of the function's role; as on AWS, a role that is gone leaves the function without."""
        role = self.version.settings["Role"]
        try:
            session = self.aws.iam.sessions.begin(role, LAMBDA, self.version.function.name, LONGEST_SESSION)
        except CannotAssume:
            return {}
        return {
            "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
            "AWS_SESSION_TOKEN": session["Token"],
        }

    @property
    def group(self) -> str:
        return f"/aws/lambda/{self.version.function.name}"

    def initialise(self) -> Result | None:
        """Wait until the runtime asks for its first event; how it failed, or None when it is ready."""
        started = time.monotonic()
        limit = max(INIT_SECONDS, self.version.timeout)
        try:
            request = self._api.next_request(started + limit)
        except TimeoutError:
            return self._lost(_timed_out(limit, ""), started, "timeout")
        except Gone:
            return self._lost(self._exit_error(""), started, "error")
        if request.path == "invocation/next":
            self._waiting = request
            self.init_seconds = time.monotonic() - started
            return None
        request.connection.send(ACCEPTED)
        return self._lost(request.body, started, "error")

    def invoke(self, request_id: str, event: bytes, arn: str, client_context: str | None = None) -> Result:
        """Run one event. Raises Gone when the process had ended before it could be given the event."""
        timeout = self.version.timeout
        headers = {
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + timeout) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": arn,
            "Lambda-Runtime-Trace-Id": f"Root=1-{int(time.time()):08x}-{request_id.replace('-', '')[:24]};Sampled=0",
        }
        if client_context:
            headers["Lambda-Runtime-Client-Context"] = client_context
        started = time.monotonic()
        deadline, sent = started + timeout, False
        try:
            if self._waiting is None:
                # The runtime asks right after its last answer: this is only ever a moment.
                self._waiting = self._api.next_request(deadline)
            if not self._api.quiet():
                raise Gone
            waiting, self._waiting = self._waiting, None
            waiting.connection.send(event_answer(event, headers))
            sent = True
            answer = self._api.next_request(deadline)
        except TimeoutError:
            return self._lost(_timed_out(timeout, request_id), started, "timeout")
        except Gone:
            if not sent:
                raise
            return self._lost(self._exit_error(request_id), started, "error")
        seconds = time.monotonic() - started
        answer.connection.send(ACCEPTED)
        if answer.path == f"invocation/{request_id}/response":
            if len(answer.body) > LARGEST_ANSWER:
                message = f"Response payload size exceeded maximum allowed payload size ({LARGEST_ANSWER} bytes)."
                return Result(_error("Function.ResponseSizeTooLarge", message), "Unhandled", seconds, status="error")
            return Result(answer.body, None, seconds)
        if answer.path == f"invocation/{request_id}/error":
            return Result(answer.body, "Unhandled", seconds)
        return self._lost(_error("Runtime.InvalidResponse", "The runtime answered something else."), started, "error")

    def output(self) -> list[str]:
        """The lines printed since the last time."""
        if self._output is None:
            return []
        data = os.pread(self._output, LARGEST_OUTPUT_FILE * 8, self._offset)
        self._offset += len(data)
        if self._offset > LARGEST_OUTPUT_FILE:
            # The process appends, so it goes on at the new end.
            os.ftruncate(self._output, 0)
            self._offset = 0
        return data.decode("utf-8", "replace").replace("\r", "\n").splitlines()

    def memory_megabytes(self) -> int:
        """The most memory the process has used, 0 where that cannot be known."""
        if self._instance is None:
            return 0
        with contextlib.suppress(OSError, ValueError, IndexError):
            if self._status is None:
                supervisor = self._instance.supervisor_pid
                pid = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()[0]
                # Asked after each call: opening it and looking for it took longer than all else that is reported.
                self._status = os.open(f"/proc/{pid}/status", os.O_RDONLY)
            text = os.pread(self._status, LARGEST_STATUS, 0)
            return int(text.split(b"VmHWM:", 1)[1].split(None, 1)[0]) // 1024
        return 0

    def close(self) -> None:
        """Kill the process and free what it held; may be called twice."""
        with self._lock:
            if not self.alive and self._output is None:
                return
            self.alive = False
            descriptors = [each for each in (self._output, self._status) if each is not None]
            self._output = self._status = None
        if self._instance is not None:
            self._instance.kill()
            self._instance.wait(5)
        self._api.close()
        for each in descriptors:
            os.close(each)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ended(self, instance: Instance) -> None:
        self.alive = False
        self._api.process_ended()
        if self.on_end is not None:
            self.on_end()

    def _lost(self, payload: bytes, started: float, status: str) -> Result:
        seconds = time.monotonic() - started
        self.alive = False
        if self._instance is not None:
            self._instance.kill()
        return Result(payload, "Unhandled", seconds, lost=True, status=status)

    def _exit_error(self, request_id: str) -> bytes:
        returncode = self._instance.wait(2) if self._instance else None
        reason = describe_exit(returncode)
        prefix = f"RequestId: {request_id} Error: " if request_id else ""
        name = "Runtime.ExitError"
        if reason.startswith("signal"):
            return _error(name, f"{prefix}Runtime exited with error: {reason.replace('(', '').replace(')', '')}")
        verdict = (
            "Runtime exited without providing a reason" if returncode == 0 else f"Runtime exited with error: {reason}"
        )
        return _error(name, prefix + verdict)


def runtime_client() -> list[str]:
    """The command of the runtime client, without the handler: AWS's own where it is installed."""
    if find_spec("awslambdaric") is not None:
        return [sys.executable, "-m", "awslambdaric"]
    return [sys.executable, str(Path(__file__).with_name("fallback.py"))]


def _error(name: str, message: str) -> bytes:
    return json.dumps({"errorType": name, "errorMessage": message}).encode()


def _timed_out(seconds: float, request_id: str) -> bytes:
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
    return json.dumps({"errorMessage": f"{stamp} {request_id} Task timed out after {seconds:.2f} seconds"}).encode()
