"""Ports for the servers that tests start: no two processes are given the same one, however many run at a time."""

from __future__ import annotations

import contextlib
import random
import socket

# Below those that systems give to outgoing connections and to whoever asks for any port.
PORTS = range(20_000, 32_000)
_CLAIMS: list[socket.socket] = []


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that nobody else gets from here while this process lives.

    The UDP port of the same number is the claim: the system releases it with the process.
    """
    for port in random.sample(PORTS, len(PORTS)):
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError), socket.socket() as probe:
            claim.bind(("127.0.0.1", port))
            probe.bind(("127.0.0.1", port))
            _CLAIMS.append(claim)
            return port
        claim.close()
    raise OSError(f"no port from {PORTS.start} to {PORTS.stop - 1} is free")
