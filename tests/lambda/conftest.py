"""The function's modules, a web server of strangers, and an endpoint: real HTTP on this machine."""

from __future__ import annotations

import http.server
import json
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "lambda"))


def png(width: int = 64, height: int = 48) -> bytes:
    head = (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + struct.pack(">II", width, height) + b"\x08\x02\0\0\0"
    )
    return head + b"crc!" + struct.pack(">I", 0) + b"IEND\xae\x42\x60\x82"


def jpeg(width: int = 64, height: int = 48) -> bytes:
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\x01\x11\x00"
    return b"\xff\xd8\xff\xe0\x00\x04ab" + frame + b"\xff\xda\x00\x02data\xff\xd9"


@pytest.fixture(name="png")
def png_fixture() -> Callable[..., bytes]:
    return png


@pytest.fixture(name="jpeg")
def jpeg_fixture() -> Callable[..., bytes]:
    return jpeg


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[http.server.BaseHTTPRequestHandler], None]] = {}
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address) -> None:
        """A client that hangs up is what some tests are about."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.server.requests.append((self.path, dict(self.headers.items()), self.rfile.read(length)))
        self.server.answers[self.path](self)

    do_POST = do_GET

    def log_message(self, *arguments) -> None:
        pass


def answer(body: bytes, status: int = 200, **headers: str):
    def send(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return send


@pytest.fixture(name="answer")
def answer_fixture():
    return answer


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def endpoint(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """`server` as an endpoint that speaks sagemaker-runtime, and the function set up to call it."""
    import handler

    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{server.host}",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "ENDPOINT_NAME": "pictures",
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
    }.items():
        monkeypatch.setenv(name, value)
    handler._client.cache_clear()
    server.answers["/endpoints/pictures/invocations"] = answer(json.dumps({"predictions": []}).encode())
    yield server
    handler._client.cache_clear()
