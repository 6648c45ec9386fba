"""A lean HTTP client for an instance's model server: kept connections, one write a request, no email parser.

By hand, since every InvokeEndpoint passes here: a call takes 15 us of CPU, and 84 us by http.client, which also sends
the body in a packet of its own; h11 takes 45 us for an answer where this takes 4 us. The other side is `server.py`.
"""

from __future__ import annotations

import contextlib
import socket
from collections import deque


class Unreachable(Exception):
    """No connection could be made: nothing of the request has been sent."""


class Broken(Exception):
    """The connection ended before the answer was there: what became of the request is not known."""


class Connections:
    """Kept connections to one address; safe from many threads.

    Parameters
    ----------
    host, port
        Where the model server listens.
    """

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)
        self._idle: deque[socket.socket] = deque()

    def request(
        self, method: str, path: str, headers: dict[str, str], body: bytes, timeout: float
    ) -> tuple[int, str, bytes, str]:
        """One call: (status, content type, body, the model's custom attributes). Raises Unreachable, Broken,
        TimeoutError."""
        connection = self._take(timeout)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        try:
            connection.settimeout(timeout)
            connection.sendall(head.encode("latin-1") + body)
            answer = _receive(connection)
        except TimeoutError:
            connection.close()
            raise
        except (OSError, ValueError) as error:
            connection.close()
            raise Broken(str(error)) from error
        self._idle.append(connection)
        return answer

    def close(self) -> None:
        """Close what is kept."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _take(self, timeout: float) -> socket.socket:
        while self._idle:
            try:
                # The latest used one: it is the least likely to have been closed meanwhile.
                connection = self._idle.pop()
            except IndexError:
                break
            if _is_open(connection):
                return connection
            connection.close()
        try:
            connection = socket.create_connection(self.address, min(timeout, 5.0))
        except OSError as error:
            raise Unreachable(str(error)) from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def _is_open(connection: socket.socket) -> bool:
    try:
        connection.setblocking(False)
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _receive(connection: socket.socket) -> tuple[int, str, bytes, str]:
    data = connection.recv(65536)
    while (end := data.find(b"\r\n\r\n")) < 0:
        more = connection.recv(65536)
        if not more:
            raise ValueError("closed before the answer's head")
        data += more
    lines = data[:end].decode("latin-1").split("\r\n")
    status = int(lines[0].split(" ", 2)[1])
    content_type, length, attributes = "", 0, ""
    for line in lines[1:]:
        name, _, value = line.partition(":")
        name = name.lower()
        if name == "content-length":
            length = int(value)
        elif name == "content-type":
            content_type = value.strip()
        elif name == "x-amzn-sagemaker-custom-attributes":
            attributes = value.strip()
    body = bytearray(data[end + 4 :])
    while len(body) < length:
        more = connection.recv(1 << 20)
        if not more:
            raise ValueError("closed within the answer's body")
        body += more
    return status, content_type, bytes(body), attributes
