"""What the stages that every call of the local AWS passes cost: CPU time of one call, with a handler that does nothing.

    python benchmarks/pipeline_cost.py

In this process and without HTTP: from the request's head as the server gives it to the answer's. The least of several
rounds, since a busy machine only ever adds.
"""

from __future__ import annotations

import dataclasses
import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
CALLS, ROUNDS = 4000, 9
SCOPE = (
    "AWS4-HMAC-SHA256 Credential=AKIABENCH/20260101/us-east-1/{}/aws4_request, SignedHeaders=host;x-amz-date, "
    "Signature=0000000000000000000000000000000000000000000000000000000000000000"
)
BODY = b'{"x": 1}'
CALLED = {
    "InvokeEndpoint": ("POST", "/endpoints/bench/invocations", "sagemaker", BODY),
    "Invoke": ("POST", "/2015-03-31/functions/bench/invocations", "lambda", BODY),
}


def environ(method: str, path: str, service: str, body: bytes) -> dict[str, Any]:
    """A request as waitress gives it to the application."""
    return {
        "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "", "REQUEST_URI": path, "SCRIPT_NAME": "",
        "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "4566", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http", "HTTP_HOST": "127.0.0.1:4566", "HTTP_AUTHORIZATION": SCOPE.format(service),
        "HTTP_X_AMZ_DATE": "20260101T000000Z", "HTTP_USER_AGENT": "Boto3/1.44", "HTTP_ACCEPT_ENCODING": "identity",
        "HTTP_AMZ_SDK_INVOCATION_ID": "00000000-0000-0000-0000-000000000000", "HTTP_AMZ_SDK_REQUEST": "attempt=1",
    }  # fmt: skip


def gateway(folder: Path) -> Callable:
    """The gateway with its services; none is started, and its data-plane handlers answer at once."""
    from local_aws.aws import LocalAws, Settings
    from local_aws.gateway import Gateway
    from local_aws.services import SERVICES
    from local_aws.services.base import RawResponse

    aws = LocalAws(Settings(port=4566, state=folder, minute_seconds=60, jobs_python=Path(sys.executable)))
    aws.services.extend(kind(aws) for kind in SERVICES)
    made = Gateway(aws)
    answer = RawResponse(200, [("Content-Type", "application/json")], BODY)
    made.fast = {
        method: [dataclasses.replace(path, handler=lambda request: answer) for path in paths]
        for method, paths in made.fast.items()
    }
    return made


def microseconds(application: Callable, called: tuple[str, str, str, bytes]) -> float:
    """CPU time of one call."""
    answered: list[str] = []

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        answered.append(status)

    rounds = []
    for _ in range(ROUNDS):
        requests = [environ(*called) for _ in range(CALLS)]
        began = time.process_time()
        for each in requests:
            application(each, start)
        rounds.append(1e6 * (time.process_time() - began) / CALLS)
    if set(answered) != {"200 OK"}:
        raise SystemExit(f"an answer was no 200: {set(answered)}")
    return min(rounds)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        application = gateway(Path(folder))
        for name, called in CALLED.items():
            print(f"{name}: {microseconds(application, called):.1f} us of CPU in the gateway")


if __name__ == "__main__":
    main()
