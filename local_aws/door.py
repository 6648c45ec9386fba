"""Whom the local AWS's HTTP servers answer: programs that call them by a name of this machine, and no web page.

Whoever is answered may run programs as this user. A page from anywhere can send requests to 127.0.0.1, and once its own
name has come to mean 127.0.0.1 (DNS rebinding) it can read the answers, too. But a browser says which name it called,
and for which page.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

# RFC 9110, "Host and :authority": a name or an address, and perhaps a port. No user, no list, no space.
AUTHORITY = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
# Virtual-host style gives each bucket a name: what was admitted is remembered up to here.
MOST_REMEMBERED = 4096


class Door:
    """Says who is refused.

    Parameters
    ----------
    names
        Host names that are answered besides the loopback ones: 127.0.0.0/8, ::1, localhost and all below it.
    server, option
        What is called, and the option by which further names are admitted, for the sentence of a refusal.
    """

    def __init__(self, names: Iterable[str] = (), *, server: str = "local AWS", option: str | None = None) -> None:
        self._server, self._option = server, option
        self._names = {name.lower().removesuffix(".") for name in names}
        self._admitted: set[str | None] = set()

    def refusal(
        self, host: str | None, *, origin: str | None = None, site: str | None = None, destination: str | None = None
    ) -> str | None:
        """Why a request is not answered, as one sentence; None where it is.

        Parameters
        ----------
        host
            The Host header, or the authority of an absolute request target; several headers joined with commas.
        origin, site, destination
            The headers Origin, Sec-Fetch-Site and Sec-Fetch-Dest, which browsers send and pages cannot set (Fetch
            Metadata Request Headers, W3C).
        """
        if host not in self._admitted and not self._admits(host):
            called = f"by the host name {_shown(host)}" if host else "without a host name"
            others = f", and to others only when it is started with {self._option} NAME" if self._option else ""
            return (
                f"The {self._server} was called {called}; it answers to 127.0.0.1, localhost and the names below "
                f"localhost{others}."
            )
        if origin is not None or site == "cross-site" or destination == "empty":
            page = f"of {_shown(origin)}" if origin and origin != "null" else "in a browser"
            others = f"; {self._option} admits a host name by which programs call it, no page" if self._option else ""
            return f"A web page {page} called the {self._server}, which answers programs alone{others}."
        return None

    def _admits(self, host: str | None) -> bool:
        found = AUTHORITY.fullmatch(host or "")
        if found is None:
            return False
        name = found["name"].lower().removesuffix(".")
        admitted = name in self._names or name == "localhost" or name.endswith(".localhost") or _is_loopback(name)
        if admitted and len(self._admitted) < MOST_REMEMBERED:
            self._admitted.add(host)
        return admitted


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def _shown(text: str) -> str:
    return repr(text if len(text) <= 100 else f"{text[:99]}…")
