"""Fetches a picture from a URL that a stranger gave, without becoming the stranger's way into the network.

Every hop's host is resolved once, every address it has is checked, and the connection is made to a checked address: a
name that answers differently the second time is never asked a second time. Only the web's two ports are connected to.
The function's credentials are in its environment, so anything but http and https (file: above all) is refused.

ALLOWED_PRIVATE_HOSTS, a comma-separated list of exact `host:port` pairs, is for tests on one machine; it is empty by
default and must stay so on AWS.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import time
from urllib.parse import SplitResult, urljoin, urlsplit

from addresses import is_public
from in_time import in_time
from picture import MOST_BYTES
from problem import Problem

SECONDS = 5.0
PORTS = (80, 443)
REDIRECTS = 3
REDIRECT_STATUS = frozenset({301, 302, 303, 307, 308})
CHUNK = 64 * 1024


class _Deadline:
    """The moment until which everything has to be there: the names, the redirects and the picture."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that are left. Raises TimeoutError when there are none."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def fetch(url: str, seconds: float = float("inf")) -> bytes:
    """The bytes behind a URL, within 5 s (or `seconds`, if less) and 5 MB in all, through at most 3 redirects.

    Raises Problem (4xx) with a sentence that names the field `url`.
    """
    deadline = _Deadline(min(SECONDS, seconds))
    try:
        return _fetch(url, deadline)
    except TimeoutError:
        raise Problem(408, f"url did not answer in full within {deadline.seconds:.3g} seconds.") from None


def _fetch(url: str, deadline: _Deadline) -> bytes:
    for _ in range(REDIRECTS + 1):
        answer = _hop(_split(url), deadline)
        if isinstance(answer, bytes):
            return answer
        try:
            url = urljoin(url, answer)
        except ValueError:
            raise Problem(400, "url redirects to something that is no URL.") from None
    raise Problem(400, f"url redirects more than {REDIRECTS} times.")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Problem(400, "url is no valid URL.") from None
    if parts.scheme not in {"http", "https"}:
        raise Problem(400, f"url must start with http:// or https://, not {parts.scheme[:20] or 'nothing'}:.")
    if not parts.hostname or port == 0:
        raise Problem(400, "url names no host.")
    if parts.username is not None or parts.password is not None:
        raise Problem(400, "url must not contain a user name or password.")
    if any(ord(letter) <= 32 or ord(letter) > 126 for letter in url):
        raise Problem(400, "url contains a space or another character that must be percent-encoded.")
    return parts


def _hop(parts: SplitResult, deadline: _Deadline) -> bytes | str:
    """One request: the body, or where it redirects to."""
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = _checked_address(host, port, deadline)
    connection = _connection(parts.scheme, host, port, address, deadline)
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
                           headers={"Accept": "image/*", "Accept-Encoding": "identity",
                                    "User-Agent": "image-classifier", "Connection": "close"})  # fmt: skip
        response = connection.getresponse()
        if response.status in REDIRECT_STATUS and response.headers.get("Location"):
            return response.headers["Location"]
        if response.status != 200:
            raise Problem(400, f"url answered with status {response.status} instead of a picture.")
        return _read(response)
    except TimeoutError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        deadline.left()  # what was cut off because the time was up is late, not broken
        raise Problem(400, f"url could not be fetched: {type(error).__name__}.") from None
    finally:
        connection.close()


def _checked_address(host: str, port: int, deadline: _Deadline) -> str:
    try:
        found = in_time(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), deadline.left())
    except TimeoutError:
        raise
    except (OSError, UnicodeError):
        raise Problem(400, f"url names the host {host[:100]!r}, which cannot be found.") from None
    addresses = [each[4][0] for each in found]
    allowed = {each.strip() for each in os.environ.get("ALLOWED_PRIVATE_HOSTS", "").split(",")}
    if f"{host}:{port}" in allowed:
        return addresses[0]
    if not all(is_public(each) for each in addresses):
        raise Problem(400, f"url names the host {host[:100]!r}, whose address is not a public one.")
    if port not in PORTS:
        raise Problem(
            400, f"url names port {port}; pictures are fetched from the ports {PORTS[0]} and {PORTS[1]} only."
        )
    return addresses[0]


def _read(response: http.client.HTTPResponse) -> bytes:
    """The body in pieces, so that its length is not the server's to choose."""
    data = bytearray()
    while piece := response.read1(CHUNK):
        data += piece
        if len(data) > MOST_BYTES:
            raise Problem(413, f"url answers with more than {MOST_BYTES} bytes.")
    if response.length:
        raise Problem(400, "url answered with fewer bytes than it announced.")
    return bytes(data)


class _Reader(socket.SocketIO):
    """A socket's reader that stops at a moment, however many small pieces arrive before it."""

    def __init__(self, connected: socket.socket, deadline: _Deadline) -> None:
        super().__init__(connected, "rb")
        self._connected, self._deadline = connected, deadline

    def readinto(self, buffer):  # type: ignore[no-untyped-def]
        self._connected.settimeout(self._deadline.left())
        return super().readinto(buffer)


def _connection(scheme: str, host: str, port: int, address: str, deadline: _Deadline) -> http.client.HTTPConnection:
    """A connection to the address that was checked, speaking as to the host that was named (Host, SNI, certificate)."""

    class Response(http.client.HTTPResponse):
        def __init__(self, sock, *arguments, **options):  # type: ignore[no-untyped-def]
            super().__init__(sock, *arguments, **options)
            self.fp.close()
            # Status line and headers obey the deadline too, not only the body.
            self.fp = io.BufferedReader(_Reader(sock, deadline))
            sock._io_refs += 1

    class Connection(http.client.HTTPConnection):
        response_class = Response

        def connect(self) -> None:
            self.sock = socket.create_connection((address, port), deadline.left())
            if scheme == "https":
                import ssl

                self.sock.settimeout(deadline.left())
                self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=host)

    connection = Connection(host, port)
    connection.default_port = 443 if scheme == "https" else 80
    return connection
