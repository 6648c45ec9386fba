"""Lambda's Runtime API as one execution environment sees it.

AWS: Lambda developer guide, "Using the Lambda runtime API" (version 2018-06-01). Each environment has a listener of its
own. There is no server thread: whoever holds the environment (it takes one call at a time) reads and answers its
requests itself, which saves two thread changes a call.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from dataclasses import dataclass

from waitress.adjustments import Adjustments

from local_aws.door import Door
from local_aws.listening import Parser, parser_class

PREFIX = "/2018-06-01/runtime/"
ACCEPTED = b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"status":"OK"}'
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# waitress's parser takes 18 us of CPU for a request and its answer, h11 50 us, and one by hand took 4 us; an invocation
# has two of them, and takes 700 us. Bodies of the size that Lambda allows stay in memory.
_Request = parser_class(Door(server="Runtime API"))
_ADJUSTMENTS = Adjustments(inbuf_overflow=8 << 20)


@dataclass(frozen=True)
class RuntimeRequest:
    """One request of the runtime: `path` is what follows /2018-06-01/runtime/."""

    path: str
    body: bytes
    connection: _Connection


class Gone(Exception):
    """The environment's process ended."""


class _Closed(Exception):
    """Nothing more is heard on a connection: it has ended, or what came was refused."""


class _Connection:
    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.received = b""
        self._request: Parser | None = None

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.socket.sendall(data)

    def feed(self) -> None:
        """Read what has arrived. Raises _Closed."""
        try:
            data = self.socket.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            raise _Closed
        self.received += data

    def take(self) -> RuntimeRequest | None:
        """The first whole request received, or None so far. Raises _Closed for one that is refused."""
        while self.received:
            request = self._request = self._request or _Request(_ADJUSTMENTS)
            self.received = self.received[request.received(self.received) :]
            if request.expect_continue and request.headers_finished:
                request.expect_continue = False
                self.send(CONTINUE)
            if not request.completed:
                continue
            self._request = None
            if request.error:
                status, headers, body = request.error.to_response()
                self.send(_answer(status, dict(headers), body))
                raise _Closed
            if not request.empty:
                body = request.get_body_stream().read()
                request.close()
                return RuntimeRequest(request.path.removeprefix(PREFIX), body, self)
        return None


class RuntimeApi:
    """The listener of one environment. Used by one thread at a time."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(8)
        host, port = self._listener.getsockname()
        self.address = f"{host}:{port}"
        self._connections: dict[int, _Connection] = {}
        self._runtime: int | None = None  # the connection on which the runtime was heard last
        self._wake_read, self._wake_write = os.pipe()
        self._poll = select.poll()
        for descriptor in (self._listener.fileno(), self._wake_read):
            self._poll.register(descriptor, select.POLLIN)
        self._closed = False

    def process_ended(self) -> None:
        """Wake whoever reads: the process is gone. May be called from any thread."""
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"x")

    def quiet(self) -> bool:
        """Whether the runtime still waits for its event: anything heard from it now is its end."""
        while events := self._poll.poll(0):
            for descriptor, _ in events:
                if descriptor == self._listener.fileno():
                    self._accept()
                elif descriptor == self._wake_read or descriptor == self._runtime or self._read(descriptor):
                    return False
        return True

    def next_request(self, deadline: float) -> RuntimeRequest:
        """The runtime's next request.

        Raises TimeoutError at `deadline` (time.monotonic()), Gone when the process has ended.
        """
        for descriptor, connection in list(self._connections.items()):
            if connection.received and (request := self._take(descriptor)):
                return request
        while True:
            left = deadline - time.monotonic()
            events = self._poll.poll(max(0.0, left * 1000))
            if not events:
                if left <= 0:
                    raise TimeoutError
                continue
            # What the process still said comes before the news of its end.
            for descriptor, _ in events:
                if descriptor == self._listener.fileno():
                    self._accept()
                elif descriptor != self._wake_read and (request := self._read(descriptor)):
                    return request
            if len(events) == 1 and events[0][0] == self._wake_read:
                raise Gone

    def _accept(self) -> None:
        connected, _ = self._listener.accept()
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[connected.fileno()] = _Connection(connected)
        self._poll.register(connected.fileno(), select.POLLIN)

    def _read(self, descriptor: int) -> RuntimeRequest | None:
        try:
            self._connections[descriptor].feed()
        except _Closed:
            return self._drop(descriptor)
        return self._take(descriptor)

    def _take(self, descriptor: int) -> RuntimeRequest | None:
        try:
            request = self._connections[descriptor].take()
        except _Closed:
            return self._drop(descriptor)
        if request is not None:
            self._runtime = descriptor
        return request

    def _drop(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        self._connections.pop(descriptor).socket.close()

    def close(self) -> None:
        """Close every socket. Only when nobody reads any more."""
        if self._closed:
            return
        self._closed = True
        for connection in self._connections.values():
            connection.socket.close()
        self._listener.close()
        os.close(self._wake_read)
        os.close(self._wake_write)


def event_answer(body: bytes, headers: dict[str, str]) -> bytes:
    """The answer to `invocation/next`: one event, in one write."""
    return _answer("200 OK", {"Content-Type": "application/json", **headers}, body)


def _answer(status: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers | {"Content-Length": str(len(body))}).items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode("latin-1") + body
