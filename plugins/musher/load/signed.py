"""Sends requests that boto3 has signed, without boto3's own time for each.

boto3 builds and signs each request, so endpoint, credentials and headers are what its user would send. The bytes
then leave through a plain kept-open connection: signing and parsing anew costs a millisecond of Python a request
(benchmarks/send_lag.py), during which no other one can leave, so that a burst of 30 would take 30 ms to leave.
A signature is good for five minutes (SigV4); here it is renewed after two.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cache, cached_property, partial
from http.client import HTTPException, HTTPResponse
from typing import Any, ClassVar
from urllib.parse import SplitResult, urlsplit

from musher.load.outcome import Outcome

SIGNATURE_SECONDS = 120
CONNECT_SECONDS = 5.0

ClientFactory = Callable[..., Any]


class SignedTarget(ABC):
    """Sends requests that a boto3 client has signed.

    Parameters
    ----------
    client_factory:
        Called once as `client_factory(service_name, config=botocore_config)`; returns a boto3 client. Where it
        connects to and with whose credentials is its business. Proxies of the environment are not used.
    timeout_seconds: how long the other side may be silent before the call counts as failed.
    keep_answer: put what was answered into the outcome. A load test would hold every answer in memory for nothing.
    """

    service: ClassVar[str]
    operation: ClassVar[str]

    def __init__(
        self, client_factory: ClientFactory, *, timeout_seconds: float = 60.0, keep_answer: bool = False
    ) -> None:
        self._client_factory = client_factory
        self._keep_answer = keep_answer
        self._timeout = timeout_seconds
        self._signed: dict[bytes, _SignedRequest] = {}
        self._signing = threading.Lock()
        self._thread = threading.local()

    @abstractmethod
    def call(self, client: Any, payload: bytes) -> None:
        """Make the call with boto3; it is signed but not sent."""

    @abstractmethod
    def classify(self, status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
        """What the answer means. Header names are lower case."""

    def _kept(self, body: Any) -> Any:
        """What was answered, from JSON; None where it is not to be kept, or is none."""
        if self._keep_answer and isinstance(body, (str, bytes)):
            with contextlib.suppress(ValueError, RecursionError):
                return json.loads(body)
        return None

    def __call__(self, payload: bytes) -> Outcome:
        """Send one request now."""
        return self.prepare(payload, CONNECT_SECONDS)()

    def prepare(self, payload: bytes, ahead_seconds: float) -> Callable[[], Outcome]:
        """Sign the request and open this thread's connection; the returned function sends it."""
        request = self._sign(payload)
        if self._connection() is None:
            with contextlib.suppress(OSError):  # tried again, and reported, when the request is due
                self._connect(request, max(0.05, min(ahead_seconds, CONNECT_SECONDS)))
        return partial(self._send, request)

    @cached_property
    def _client(self) -> Any:
        from botocore.config import Config

        client = self._client_factory(self.service, config=Config(retries={"total_max_attempts": 1}))
        client.meta.events.register(f"before-send.{self.service}.{self.operation}", self._keep_signed)
        return client

    def _keep_signed(self, request: Any, **_: Any) -> Any:
        """botocore's `before-send`: an answer given here is taken in place of sending."""
        if not getattr(self._thread, "signing", False):
            return None  # somebody else's call on the same client
        from botocore.awsrequest import AWSResponse

        self._thread.signed = request
        return AWSResponse(request.url, 200, {"content-length": "2"}, _EmptyAnswer())

    def _sign(self, payload: bytes) -> _SignedRequest:
        request = self._signed.get(payload)
        if request is None or request.expired:
            with self._signing:
                request = self._signed.get(payload)
                if request is None or request.expired:
                    self._thread.signing = True
                    try:
                        self.call(self._client, payload)
                    finally:
                        self._thread.signing = False
                    request = self._signed[payload] = _SignedRequest(self._thread.signed)
        return request

    def _connection(self) -> socket.socket | None:
        """This thread's open connection, if the other side has not closed it meanwhile."""
        connection = getattr(self._thread, "connection", None)
        if connection is not None and select.select([connection], [], [], 0)[0] and _has_ended(connection):
            self._disconnect()
            return None
        return connection

    def _connect(self, request: _SignedRequest, timeout: float) -> socket.socket:
        connection = socket.create_connection((request.host, request.port), timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if request.secure:
            connection = _tls().wrap_socket(connection, server_hostname=request.host)
        connection.settimeout(self._timeout)
        self._thread.connection = connection
        return connection

    def _disconnect(self) -> None:
        connection, self._thread.connection = self._thread.connection, None
        if connection is not None:
            connection.close()

    def _send(self, request: _SignedRequest) -> Outcome:
        try:
            connection = self._connection() or self._connect(request, CONNECT_SECONDS)
            connection.sendall(request.wire)
            answer = HTTPResponse(connection, method="POST")
            answer.begin()
            body = answer.read()
        except (OSError, HTTPException) as error:
            self._disconnect_quietly()
            # Who is silent may be the function that is asked; who hangs up, or is not there, is AWS or the network.
            unreachable = not isinstance(error, TimeoutError)
            kind = type(error).__name__
            return Outcome("failed", kind, str(error) or kind, unreachable=unreachable)
        if answer.will_close:
            self._disconnect()
        return self.classify(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)

    def _disconnect_quietly(self) -> None:
        if getattr(self._thread, "connection", None) is not None:
            self._disconnect()


class _SignedRequest:
    """A signed request as the bytes that go over the wire.

    Made once a signature, and sent in one write: http.client would make them for each call, in two writes. Answers are
    read by http.client.
    """

    def __init__(self, prepared: Any) -> None:
        address: SplitResult = urlsplit(prepared.url)
        self.secure = address.scheme == "https"
        self.host = address.hostname or ""
        self.port = address.port or (443 if self.secure else 80)
        self.signed_at = time.monotonic()
        body = prepared.body or b""
        body = body.encode() if isinstance(body, str) else bytes(body)
        headers = {name.lower(): _text(value) for name, value in prepared.headers.items()}
        headers |= {"host": headers.get("host", address.netloc), "content-length": str(len(body))}
        path = f"{address.path}?{address.query}" if address.query else address.path
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        self.wire = "\r\n".join(lines).encode() + body

    @property
    def expired(self) -> bool:
        return time.monotonic() - self.signed_at > SIGNATURE_SECONDS


class _EmptyAnswer:
    """The body of the answer botocore gets while a request is only signed."""

    def read(self, *_: Any, **__: Any) -> bytes:
        return b"{}"

    def stream(self, *_: Any, **__: Any):
        yield b"{}"


def _has_ended(connection: socket.socket) -> bool:
    """Whether a connection on which something arrived unasked is of no more use.

    TLS 1.3 sends session tickets after the handshake: they make the socket readable, and are no reason to leave it.
    """
    timeout = connection.gettimeout()
    connection.settimeout(0)
    try:
        connection.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        connection.settimeout(timeout)
        return False
    except OSError:
        return True
    return True


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    if bundle := os.environ.get("AWS_CA_BUNDLE"):
        context.load_verify_locations(bundle)
    return context
