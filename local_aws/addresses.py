"""The loopback addresses that a local AWS gives to its instances, and whether a port of one can be used."""

from __future__ import annotations

import contextlib
import socket
import sys

# Second numbers of the loopback addresses that instances get, one for each local AWS on this machine. The one who holds
# its UDP port has it: the system takes that back however its holder ends.
NETWORKS = range(77, 127)
CLAIM_PORT = 4566


def loopback(network: int, number: int) -> str:
    """An address of one of `NETWORKS`, such as 127.77.0.1; 127.0.0.1 where the system has no other (macOS)."""
    if not sys.platform.startswith("linux"):
        return "127.0.0.1"
    return f"127.{network}.{number // 254 % 256}.{number % 254 + 1}"


def claim_network() -> tuple[int, socket.socket]:
    """A network that no other local AWS has, and the socket that keeps it; the first of all where none is left."""
    claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for network in NETWORKS:
        with contextlib.suppress(OSError):
            claim.bind((loopback(network, 0), CLAIM_PORT))
            return network, claim
    return NETWORKS[0], claim


def refused_port(address: str, port: int) -> str | None:
    """Why nothing can listen on a port of an address; None when it can be used."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except (OSError, OverflowError) as error:
            return getattr(error, "strerror", None) or str(error)
    return None
