"""Instances: a process tree with its own folder, its own loopback address and a fixed share of this machine.

Training hosts, endpoint instances, Lambda's execution environments and EC2 hosts are all instances. None of them
outlives the daemon, however it ends: see processes/supervisor.py.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from local_aws.addresses import NETWORKS, claim_network, loopback
from local_aws.processes.forks import Forked, ForkServers, Template
from local_aws.processes.opt import Opt

log = logging.getLogger(__name__)

SUPERVISOR = Path(__file__).with_name("processes") / "supervisor.py"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
# What a process on this machine needs to run at all; the daemon's own environment (credentials, proxies, PYTHONPATH)
# is not an instance's business.
INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE")

# Of instances that compute. On AWS nothing else runs on them; here Airflow and the local AWS itself take their share of
# the same cores, which the seconds of two instances would show more than those of one.
NICENESS = -15


class Instance:
    """One running (or ended) instance. Made by `Instances.start`."""

    def __init__(self, identifier: str, kind: str, address: str, folder: Path, threads: int) -> None:
        self.id = identifier
        self.kind = kind
        self.address = address
        self.folder = folder
        self.threads = threads
        self.niceness = 0
        self.pinned_to: frozenset[int] = frozenset()
        self.started_at = time.time()
        self.cpu_seen = time.monotonic(), 0.0
        """When its CPU time was last looked at, and how much that was."""
        self.ended_at: float | None = None
        self.returncode: int | None = None
        self._process: subprocess.Popen[bytes] | Forked | None = None
        self._ended = threading.Event()

    @property
    def running(self) -> bool:
        return not self._ended.is_set()

    @property
    def supervisor_pid(self) -> int:
        """The pid of the supervisor; the instance's own processes are its descendants."""
        assert self._process is not None
        return self._process.pid

    def terminate(self) -> None:
        """SIGTERM to every process of the instance."""
        self._order(b"T")

    def kill(self) -> None:
        """SIGKILL to every process of the instance."""
        self._order(b"K")

    def stop(self, grace_seconds: float) -> int | None:
        """SIGTERM, then SIGKILL after the grace; waits for the end and returns the exit status."""
        self.terminate()
        if not self._ended.wait(grace_seconds):
            self.kill()
            self._ended.wait(10)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit status (128 + N after signal N), or None when it still runs after `timeout` seconds."""
        self._ended.wait(timeout)
        return self.returncode

    def _order(self, order: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(order)
            self._process.stdin.flush()


class Instances:
    """Starts instances and stops them all at the end.

    Parameters
    ----------
    folder
        Where instances get their folders: `<folder>/<kind>/<id>/`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cores = os.cpu_count() or 1
        self._numbers = itertools.count(1)
        # In every identifier: log streams of the daemon before this one are there again.
        self._born = int(time.time())
        self._lock = threading.Lock()
        self._running: dict[str, Instance] = {}
        self._pinned: dict[str, frozenset[int]] = {}
        self._closed = False
        self._fork_servers = ForkServers()
        self.network, self._claim = claim_network()

    def start(
        self,
        kind: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        cwd: Path | None = None,
        address: str | None = None,
        threads: int = 0,
        on_line: Callable[[str], None] | None = None,
        on_exit: Callable[[Instance], None] | None = None,
        output: int | None = None,
        niceness: int = 0,
        opt: Opt | None = None,
        forked_from: Template | None = None,
        read_at_start: Mapping[str, str] | None = None,
    ) -> Instance:
        """Start a command as an instance.

        Parameters
        ----------
        kind
            "training", "endpoint", "lambda", "ec2": for names, folders and accounting.
        environment
            Added to the few variables that a process needs (`INHERITED`) and to the thread limits.
        folder
            Its folder; a new one under `<state>/instances/<kind>/` by default.
        address
            Its loopback address; a fresh one by default.
        threads
            Its share of this machine in cores, 0 for one that mostly waits (a Lambda environment).
        on_line
            Called with every line of standard output and standard error, in order, from a thread of its own.
        on_exit
            Called once, after the last line, when all of its processes are gone.
        output
            An open file for standard output and standard error, in place of `on_line`.
        niceness
            Whether it goes before (below 0) the other processes of this machine. Only root may, so without root every
            instance has 0.
        opt
            An /opt that it alone sees; none of its own by default.
        forked_from
            What has imported already what it imports, so that it may be forked from that. For a command of the same
            Python, or of an environment over it, with a script or `-m` and a module. Where it cannot be, it is started
            anew.
        read_at_start
            Those of its variables that all who are forked from there have, and that Python reads as it starts.

        Raises OSError when it cannot be started (a full disk, too many processes).
        """
        with self._lock:
            if self._closed:
                raise OSError("the local AWS is shutting down")
            number = next(self._numbers)
        identifier = f"i-{self._born:08x}{number:09x}"
        folder = folder or self.folder / kind / identifier
        folder.mkdir(parents=True, exist_ok=True)
        instance = Instance(identifier, kind, address or self.address(number), folder, threads)
        if os.geteuid() == 0:
            instance.niceness = niceness
        variables = self._environment(threads, environment or {})
        # It may take seconds to come up: the cores are looked for after that.
        common = self._environment(threads, read_at_start or {})
        server = forked_from and self._fork_servers.ready(forked_from, common)
        self._find_cores(instance)
        try:
            process = server and server.fork(
                command, variables, cwd or folder, instance.niceness, instance.pinned_to, output, opt
            )
            anew = opt.command(command, cwd or folder) if opt else command
            instance._process = process or self._start_anew(instance, anew, variables, cwd or folder, output)
        except BaseException:
            self._pinned.pop(identifier, None)
            raise
        with self._lock:
            self._running[identifier] = instance
            promised = sum(each.threads for each in self._running.values())
        if threads and promised > self.cores:
            log.warning(
                "%s cores are promised to instances, this machine has %s: timings will suffer", promised, self.cores
            )
        threading.Thread(
            target=self._follow,
            args=(instance, instance._process, on_line, on_exit),
            name=f"follow-{identifier}",
            daemon=True,
        ).start()
        return instance

    def reserve(self) -> int:
        """A number for `address`, for instances whose addresses must be known before they start."""
        with self._lock:
            return next(self._numbers)

    @staticmethod
    def _start_anew(
        instance: Instance, command: Sequence[str], environment: Mapping[str, str], cwd: Path, output: int | None
    ) -> subprocess.Popen[bytes]:
        # What is started has the cores of the thread that starts it, from its first instruction on.
        before = os.sched_getaffinity(0) if instance.pinned_to else set()
        try:
            if before:
                os.sched_setaffinity(0, instance.pinned_to)
            return subprocess.Popen(
                [sys.executable, "-I", "-S", str(SUPERVISOR), str(instance.niceness), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if output is None else output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=environment,
                start_new_session=True,
            )
        finally:
            if before:
                os.sched_setaffinity(0, before)

    def _find_cores(self, instance: Instance) -> None:
        """Choose an instance's share of the cores, those with the fewest instances on them.

        Of equal ones each local AWS prefers another: the instances of others are not known here.

        A limit of threads alone is none: a script's second thread would use the core of the next instance. Only Linux
        can pin a process; elsewhere the limit of threads has to do.
        """
        if not 0 < instance.threads < self.cores or not hasattr(os, "sched_setaffinity"):
            return
        with self._lock:
            taken = [core for cores in self._pinned.values() for core in cores]
            first = self.network - NETWORKS[0]
            cores = sorted(
                os.sched_getaffinity(0), key=lambda core: (taken.count(core), (core - first) % (os.cpu_count() or 1))
            )
            instance.pinned_to = self._pinned[instance.id] = frozenset(cores[: instance.threads])

    @property
    def promised_threads(self) -> int:
        """How many cores the running instances have been promised together."""
        with self._lock:
            return sum(each.threads for each in self._running.values())

    def running(self, kind: str | None = None) -> list[Instance]:
        """The running instances, of one kind or of all."""
        with self._lock:
            return [each for each in self._running.values() if kind in (None, each.kind)]

    def stop_all(self, grace_seconds: float = 1.0) -> None:
        """Stop everything; nothing can be started afterwards."""
        with self._lock:
            self._closed = True
            instances = list(self._running.values())
        for instance in instances:
            instance.terminate()
        deadline = time.monotonic() + grace_seconds
        for instance in instances:
            if instance.wait(max(0.0, deadline - time.monotonic())) is None:
                instance.kill()
        for instance in instances:
            instance.wait(5)
        self._fork_servers.close()
        self._claim.close()

    def address(self, number: int) -> str:
        """An instance's own loopback address, which no other local AWS on this machine gives out."""
        return loopback(self.network, number)

    @staticmethod
    def _environment(threads: int, extra: Mapping[str, str]) -> dict[str, str]:
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        environment |= dict.fromkeys(THREAD_VARIABLES, str(max(1, threads)))
        environment["PYTHONUNBUFFERED"] = "1"
        return environment | dict(extra)

    def _follow(self, instance: Instance, process: subprocess.Popen[bytes] | Forked, on_line, on_exit) -> None:
        for raw in process.stdout or ():
            if on_line is not None:
                try:
                    on_line(raw.decode("utf-8", "replace").rstrip("\r\n"))
                except Exception:
                    log.exception("a line of %s could not be handled", instance.id)
        process.wait()
        with contextlib.suppress(OSError):
            process.stdin.close()
        returncode = process.returncode
        instance.returncode = returncode if returncode >= 0 else 128 - returncode
        instance.ended_at = time.time()
        with self._lock:
            self._running.pop(instance.id, None)
            self._pinned.pop(instance.id, None)
        instance._ended.set()
        if on_exit is not None and not self._closed:
            try:
                on_exit(instance)
            except Exception:
                log.exception("the end of %s could not be handled", instance.id)


def describe_exit(returncode: int | None) -> str:
    """An exit status in words: "exit status 1", "signal 9 (SIGKILL)"."""
    if returncode is not None and returncode > 128:
        number = returncode - 128
        with contextlib.suppress(ValueError):
            return f"signal {number} ({signal.Signals(number).name})"
    return f"exit status {returncode}"
