"""The daemon's side of the fork servers: has an instance forked, where that can be done."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from local_aws.processes import order
from local_aws.processes.opt import Opt

log = logging.getLogger(__name__)

FORKSERVER = Path(__file__).with_name("forkserver.py")
# An import of PyTorch from a cold disk on a busy machine.
IMPORT_SECONDS = 120.0


class Template(NamedTuple):
    """What instances may be forked from: a process of a Python that has imported modules, those which it has.

    They must be modules that do nothing as they are imported that a fork does not survive or that depends on an
    instance's own variables.
    """

    python: str
    imports: tuple[str, ...]
    further: bool = False
    """Whether an instance may have further processes forked for it (see launcher.py)."""


class Forked:
    """A forked instance's supervisor, with what is used of a `subprocess.Popen`."""

    def __init__(self, pid: int, stdin: int, stdout: int | None, status: int, said: bytes = b"") -> None:
        """`said` is what of its status has been read already."""
        self.pid = pid
        self.stdin = os.fdopen(stdin, "wb")
        self.stdout = None if stdout is None else os.fdopen(stdout, "rb")
        self.returncode: int | None = None
        self._status, self._said = status, said

    def wait(self) -> int:
        """Wait for the exit status: what the supervisor wrote, or -9 when it could not."""
        said = self._said
        while more := os.read(self._status, 64):
            said += more
        os.close(self._status)
        self.returncode = int(said or -9)
        return self.returncode


class ForkServer:
    """One process that forks: of one template, with one set of variables that are read at a start."""

    def __init__(self, template: Template, environment: Mapping[str, str]) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        with theirs:
            self._process = subprocess.Popen(
                [template.python, str(FORKSERVER), str(theirs.fileno()), *template.imports],
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                cwd="/",
                env=dict(environment),
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )
        self._further = template.further
        self._lock = threading.Lock()
        self._ready: bool | None = None
        self._closing = False

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def wait_until_ready(self) -> bool:
        """Wait for its imports; whether they went well."""
        with self._lock:
            if self._ready is None:
                self._orders.settimeout(IMPORT_SECONDS)
                try:
                    self._ready = self._orders.recv(16) == b"ready"
                except OSError:
                    self._ready = False
                if not self._ready and not self._closing:
                    self._errors.seek(0)
                    said = self._errors.read().decode("utf-8", "replace").split("\n")
                    log.warning("instances are started anew and not forked: %s", " ".join(said[-2:]).strip())
                    self._process.kill()
            return self._ready

    def fork(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        cwd: Path,
        niceness: int,
        cores: Iterable[int],
        output: int | None = None,
        opt: Opt | None = None,
    ) -> Forked | None:
        """An instance that runs a command in a folder, its outputs read here or in an open file; None when it could not
        be forked."""
        what = {
            "command": list(command),
            "environment": dict(environment),
            "cwd": str(cwd),
            "niceness": niceness,
            "cores": sorted(cores),
            "further": self._further,
            "opt": [str(opt.scratch), opt.entries()] if opt else None,
        }
        (input_read, input_write), (status_read, status_write) = os.pipe(), os.pipe()
        output_read, output_write = os.pipe() if output is None else (None, os.dup(output))
        try:
            order.give(self._orders, what, [input_read, output_write, output_write, status_write])
        except OSError as error:
            log.warning("a fork server takes no order: %s", error)
        for end in (input_read, output_write, status_write):
            os.close(end)
        # Of one that ends at once, on a busy machine, the status is there as well.
        pid, _, said = os.read(status_read, 64).partition(b"\n")
        if pid:
            return Forked(int(pid), input_write, output_read, status_read, said)
        for end in filter(None, (input_write, output_read, status_read)):
            os.close(end)
        return None

    def close(self) -> None:
        """End it; what it has forked goes on."""
        self._closing = True
        self._process.kill()
        self._process.wait()
        with self._lock:
            self._orders.close()
            self._errors.close()


class ForkServers:
    """The fork servers of a daemon, each started when it is needed first."""

    def __init__(self) -> None:
        self._servers: dict[tuple[Template, frozenset[tuple[str, str]]], ForkServer] = {}
        self._lock = threading.Lock()

    def ready(self, template: Template, environment: Mapping[str, str]) -> ForkServer | None:
        """The one for a template and variables, its imports done; None where none can be, as on macOS.

        One that has not come up is not tried again; one that ended later is.
        """
        if not sys.platform.startswith("linux"):
            return None
        key = template, frozenset(environment.items())
        with self._lock:
            server = self._servers.get(key)
            if server is None or (server.ended and server.wait_until_ready()):
                try:
                    server = self._servers[key] = ForkServer(template, environment)
                except OSError:
                    return None
        return server if server.wait_until_ready() else None

    def close(self) -> None:
        with self._lock:
            for server in self._servers.values():
                server.close()
            self._servers.clear()
