"""What the stages that every call of the local AWS passes cost: CPU time of one call, with a handler that does nothing.

    python benchmarks/pipeline_cost.py

With IAM off, auditing and enforcing, for a role of 41 statements.

In this process and without HTTP: from the request's head as the server gives it to the answer's. The modes are measured
in turns, so that what else the machine does meets each; of the rounds the least, since a busy machine only ever adds,
and of what a mode takes more than `off` in the same round the median.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
CALLS, ROUNDS = 400, 21

from benchmarks.invocations import ALLOWED, BODY, STATEMENTS  # noqa: E402
from local_aws.iam.mode import Mode  # noqa: E402

PICTURE = b"x" * 65_536
CALLED = {
    "InvokeEndpoint": ("POST", "/endpoints/bench/invocations", "sagemaker", BODY),
    "InvokeEndpoint of 64 KB": ("POST", "/endpoints/bench/invocations", "sagemaker", PICTURE),
    "Invoke": ("POST", "/2015-03-31/functions/bench/invocations", "lambda", BODY),
}


def environ(method: str, path: str, service: str, body: bytes, credentials: Credentials) -> dict[str, Any]:
    """A request as waitress gives it to the application, signed by boto3's signer."""
    request = AWSRequest(method, f"http://127.0.0.1:4566{path}", {"Content-Type": "application/json"}, body)
    SigV4Auth(credentials, service, "us-east-1").add_auth(request)
    return {
        "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "", "REQUEST_URI": path, "SCRIPT_NAME": "",
        "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "4566", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http", "HTTP_HOST": "127.0.0.1:4566", "HTTP_USER_AGENT": "Boto3/1.44",
        "HTTP_ACCEPT_ENCODING": "identity", "HTTP_AMZ_SDK_REQUEST": "attempt=1",
        "HTTP_AMZ_SDK_INVOCATION_ID": "00000000-0000-0000-0000-000000000000",
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()
           if name != "Content-Type"},
    }  # fmt: skip


def role() -> Credentials:
    """A session of a role that may make the calls."""
    from moto.backends import get_backend

    trust = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"}]})  # fmt: skip
    iam, sts = (get_backend(each)["123456789012"]["aws"] for each in ("iam", "sts"))
    if not any(each.name == "bench" for each in iam.roles.values()):
        iam.create_role("bench", trust, "/", None, "", [], 3600)
        document = {"Version": "2012-10-17", "Statement": [*STATEMENTS, ALLOWED]}
        iam.put_role_policy("bench", "bench", json.dumps(document))
    session = sts.assume_role("us-east-1", "bench", "arn:aws:iam::123456789012:role/bench", None, 3600, None)
    return Credentials(session.access_key_id, session.secret_access_key, session.session_token)


def gateway(folder: Path, iam: Mode) -> Callable:
    """The gateway with its services; none is started, and its data-plane handlers answer at once."""
    from local_aws.aws import LocalAws, Settings
    from local_aws.gateway import Gateway
    from local_aws.services import SERVICES
    from local_aws.services.base import RawResponse

    aws = LocalAws(Settings(port=4566, state=folder, minute_seconds=60, jobs_python=Path(sys.executable), iam=iam))
    aws.services.extend(kind(aws) for kind in SERVICES)
    made = Gateway(aws)
    answer = RawResponse(200, [("Content-Type", "application/json")], BODY)
    made.fast = {
        method: [dataclasses.replace(path, handler=lambda request: answer) for path in paths]
        for method, paths in made.fast.items()
    }
    return made


def microseconds(application: Callable, called: tuple[str, str, str, bytes], credentials: Credentials) -> float:
    """CPU time of one call."""
    answered: list[str] = []

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        answered.append(status)

    requests = [environ(*called, credentials) for _ in range(CALLS)]
    began = time.process_time()
    for each in requests:
        application(each, start)
    spent = 1e6 * (time.process_time() - began) / CALLS
    if set(answered) != {"200 OK"}:
        raise SystemExit(f"an answer was no 200: {set(answered)}")
    return spent


def main() -> None:
    with contextlib.ExitStack() as ended:
        folders = [Path(ended.enter_context(tempfile.TemporaryDirectory())) for _ in Mode]
        gateways = {mode: gateway(folder, mode) for mode, folder in zip(Mode, folders, strict=True)}
        credentials = role()
        for name, called in CALLED.items():
            rounds = [
                {mode: microseconds(each, called, credentials) for mode, each in gateways.items()}
                for _ in range(ROUNDS)
            ]
            for mode in Mode:
                least = min(each[mode] for each in rounds)
                more = statistics.median(each[mode] - each[Mode.OFF] for each in rounds)
                beside = "" if mode is Mode.OFF else f", {more:+.1f} beside off"
                print(f"{name}, IAM {mode}: {least:.1f} us of CPU in the gateway{beside}", flush=True)


if __name__ == "__main__":
    main()
