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

PREFIX = "/2018-06-01/runtime/"
ACCEPTED = b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"status":"OK"}'
LARGEST_HEAD = 2 * 1024 * 1024


@dataclass(frozen=True)
class RuntimeRequest:
    """One request of the runtime: `path` is what follows /2018-06-01/runtime/."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: _Connection


class Gone(Exception):
    """The environment's process ended."""


class _Connection:
    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.received = b""

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.socket.sendall(data)

    def feed(self) -> bool:
        """Read what has arrived; False at the end of the connection."""
        try:
            data = self.socket.recv(1 << 20)
        except OSError:
            return False
        self.received += data
        return bool(data)

    def take(self) -> RuntimeRequest | None:
        """The first whole request received, or None so far. Raises Gone for what is no HTTP."""
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            if len(self.received) > LARGEST_HEAD:
                raise Gone
            return None
        first, *lines = self.received[:end].decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = headers.get("content-length", "0")
        words = first.split(" ")
        if len(words) != 3 or not length.isdigit():
            raise Gone
        total = end + 4 + int(length)
        if len(self.received) < total:
            if headers.pop("expect", "") and len(self.received) == end + 4:
                self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        body, self.received = self.received[end + 4 : total], self.received[total:]
        return RuntimeRequest(words[0], words[1].removeprefix(PREFIX), headers, body, self)


class RuntimeApi:
    """The listener of one environment. Used by one thread at a time."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(8)
        host, port = self._listener.getsockname()
        self.address = f"{host}:{port}"
        self._connections: dict[int, _Connection] = {}
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
        return not self._poll.poll(0)

    def next_request(self, deadline: float) -> RuntimeRequest:
        """The runtime's next request.

        Raises TimeoutError at `deadline` (time.monotonic()), Gone when the process has ended.
        """
        for connection in self._connections.values():
            if connection.received and (request := connection.take()):
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
        connection = self._connections[descriptor]
        if connection.feed():
            return connection.take()
        self._poll.unregister(descriptor)
        del self._connections[descriptor]
        connection.socket.close()
        return None

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
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
