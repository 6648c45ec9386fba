"""Processes that outlive the command that starts them: each in a session of its own, stopped with all it started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

# A process that a component started and that lost its parent is still found by this mark in its environment.
MARK = "MUSHER_STACK"


@dataclass(frozen=True)
class Component:
    """One detached process and its record: `facts` are what its starter wants to know later, such as the port."""

    name: str
    record: Path
    log: Path

    @property
    def mark(self) -> str:
        return f"{self.record.absolute()}"

    def start(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], **facts: Any) -> psutil.Process:
        """Start the command detached, its output in `log`, and remember it."""
        self.record.parent.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**env, MARK: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        started = psutil.Process(process.pid)
        record = {"pid": process.pid, "created": started.create_time(), **facts}
        self.record.write_text(json.dumps(record))
        return started

    def facts(self) -> dict[str, Any]:
        """What was remembered; empty when nothing was started."""
        with contextlib.suppress(OSError, ValueError):
            return json.loads(self.record.read_text())
        return {}

    def process(self) -> psutil.Process | None:
        """The process, if it still runs; another process that was given the same number is not taken for it."""
        facts = self.facts()
        with contextlib.suppress(psutil.Error, KeyError):
            process = psutil.Process(facts["pid"])
            if abs(process.create_time() - facts["created"]) < 2 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def family(self) -> set[psutil.Process]:
        """The process and all it started, also those whose parent is gone."""
        family: set[psutil.Process] = set()
        if (root := self.process()) is not None:
            family.add(root)
            with contextlib.suppress(psutil.Error):
                family.update(root.children(recursive=True))
        pid = self.facts().get("pid")
        for process in psutil.process_iter():
            if process.pid != os.getpid() and self._belongs(process, pid):
                family.add(process)
        return {process for process in family if _alive(process)}

    def stop(self, patience: float = 15) -> set[psutil.Process]:
        """End the whole family: politely first, by force after `patience` seconds. Returns what could not be ended."""
        known = self.family()
        if (root := self.process()) is not None:
            with contextlib.suppress(psutil.Error):
                root.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline and _alive(root):
                known |= self.family()
                time.sleep(0.2)
            # What the root leaves behind is told to go as well, and has a moment for it.
            _signal(known, signal.SIGTERM)
            psutil.wait_procs(known, timeout=3)
        for _ in range(3):
            known = {process for process in known | self.family() if _alive(process)}
            if not known:
                break
            _signal(known, signal.SIGKILL)
            psutil.wait_procs(known, timeout=5)
        known = {process for process in known if _alive(process)}
        if not known:
            self.record.unlink(missing_ok=True)
        return known

    def _belongs(self, process: psutil.Process, session: int | None) -> bool:
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == self.mark:
                return True
        # Airflow's processes write their titles over their environment; they stay in the session.
        with contextlib.suppress(OSError):
            # In this order: hardly any process is in the session, and each is asked, several times a second.
            return session is not None and os.getsid(process.pid) == session and self._session_is_ours(session)
        return False

    def _session_is_ours(self, session: int) -> bool:
        """A number that went to another, later process is not our session any more."""
        try:
            return abs(psutil.Process(session).create_time() - self.facts().get("created", 0)) < 2
        except psutil.Error:
            return True


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(processes: Iterable[psutil.Process], number: int) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def port_is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1 here."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log, for a person to whom a start has failed."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return ""
