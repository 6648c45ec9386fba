"""Fetches a picture from a URL that a stranger gave, without becoming the stranger's way into the network.

Every hop's host is resolved once, every address it has is checked, and the connection is made to a checked address: a
name that answers differently the second time is never asked a second time. The function's credentials are in its
environment, so anything but http and https (file: above all) is refused.

ALLOWED_PRIVATE_HOSTS, a comma-separated list of exact `host:port` pairs, is for tests on one machine; it is empty by
default and must stay so on AWS.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import os
import socket
import time
from urllib.parse import SplitResult, urljoin, urlsplit

from problem import Problem

SECONDS = 5.0
LARGEST = 5 * 1024 * 1024
REDIRECTS = 3
REDIRECT_STATUS = frozenset({301, 302, 303, 307, 308})
CHUNK = 64 * 1024
# Ranges that embed an IPv4 address, which a gateway may reach: NAT64 and 6to4 (RFC 6052, RFC 8215, RFC 3056).
EMBEDDING = tuple(ipaddress.ip_network(each) for each in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))


def fetch(url: str) -> bytes:
    """The bytes behind a URL, within 5 s and 5 MB in all, through at most 3 redirects.

    Raises Problem (4xx) with a sentence that names the field `url`.
    """
    deadline = time.monotonic() + SECONDS
    for _ in range(REDIRECTS + 1):
        answer = _hop(_split(url), deadline)
        if isinstance(answer, bytes):
            return answer
        try:
            url = urljoin(url, answer)
        except ValueError:
            raise Problem(400, "url redirects to something that is no URL.") from None
    raise Problem(400, f"url redirects more than {REDIRECTS} times.")


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet's hosts."""
    ip = ipaddress.ip_address(address.split("%", 1)[0])
    if ip.version == 6:
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if any(ip in network for network in EMBEDDING):
            return False
    unfit = (
        ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_reserved or ip.is_unspecified
    )
    return ip.is_global and not unfit


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


def _hop(parts: SplitResult, deadline: float) -> bytes | str:
    """One request: the body, or where it redirects to."""
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = _checked_address(host, port)
    connection = _connection(parts.scheme, host, port, address, deadline)
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
                           headers={"Accept": "image/jpeg, image/png", "Accept-Encoding": "identity",
                                    "User-Agent": "image-classifier", "Connection": "close"})  # fmt: skip
        response = connection.getresponse()
        if response.status in REDIRECT_STATUS and response.headers.get("Location"):
            return response.headers["Location"]
        if response.status != 200:
            raise Problem(400, f"url answered with status {response.status} instead of a picture.")
        return _read(response)
    except TimeoutError:
        raise _late() from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        if time.monotonic() >= deadline:
            raise _late() from None
        raise Problem(400, f"url could not be fetched: {type(error).__name__}.") from None
    finally:
        connection.close()


def _checked_address(host: str, port: int) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Problem(400, f"url names the host {host[:100]!r}, which cannot be found.") from None
    addresses = [each[4][0] for each in found]
    allowed = {each.strip() for each in os.environ.get("ALLOWED_PRIVATE_HOSTS", "").split(",")}
    if f"{host}:{port}" not in allowed and not all(is_public(each) for each in addresses):
        raise Problem(400, f"url names the host {host[:100]!r}, whose address is not a public one.")
    return addresses[0]


def _read(response: http.client.HTTPResponse) -> bytes:
    """The body in pieces, so that its length is not the server's to choose."""
    data = bytearray()
    while piece := response.read1(CHUNK):
        data += piece
        if len(data) > LARGEST:
            raise Problem(413, f"url answers with more than {LARGEST} bytes.")
    if response.length:
        raise Problem(400, "url answered with fewer bytes than it announced.")
    return bytes(data)


class _Deadline(socket.SocketIO):
    """A socket's reader that stops at a moment, however many small pieces arrive before it."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        super().__init__(connected, "rb")
        self._connected, self._deadline = connected, deadline

    def readinto(self, buffer):  # type: ignore[no-untyped-def]
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connected.settimeout(left)
        return super().readinto(buffer)


def _connection(scheme: str, host: str, port: int, address: str, deadline: float) -> http.client.HTTPConnection:
    """A connection to the address that was checked, speaking as to the host that was named (Host, SNI, certificate)."""

    class Response(http.client.HTTPResponse):
        def __init__(self, sock, *arguments, **options):  # type: ignore[no-untyped-def]
            super().__init__(sock, *arguments, **options)
            self.fp.close()
            # Status line and headers obey the deadline too, not only the body.
            self.fp = io.BufferedReader(_Deadline(sock, deadline))
            sock._io_refs += 1

    class Connection(http.client.HTTPConnection):
        response_class = Response

        def connect(self) -> None:
            self.sock = socket.create_connection((address, port), max(0.01, deadline - time.monotonic()))
            if scheme == "https":
                import ssl

                self.sock.settimeout(max(0.01, deadline - time.monotonic()))
                self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=host)

    connection = Connection(host, port)
    connection.default_port = 443 if scheme == "https" else 80
    return connection


def _late() -> Problem:
    return Problem(408, f"url did not answer in full within {SECONDS:g} seconds.")
