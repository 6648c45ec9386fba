"""Forks local AWSs from one process that has imported what they import: a start anew takes three seconds of a core.

    python -m tests.local_aws.forked LISTENER

LISTENER is the descriptor of a socket to which the tests' processes connect: all of a pytest-xdist share one that
forks. A forked local AWS is as `python -m local_aws ARGUMENT...` would be, with two differences: what a started one
imports at the first call of a service is imported already, and it shares its fork servers with the other local AWSs of
the same tests. Whose a fork server is an instance cannot see: several may give orders on one socket (see
local_aws/processes/order.py).

Runs with one thread and nothing computed: threads do not survive a fork. Linux only, as order.py is.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import os
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import setproctitle

from local_aws.processes import forks, order

ROOT = Path(__file__).parents[2]
# The services of moto that tests use most; any other is imported at its first call. CloudFormation's imports a dozen
# more.
SERVICES = (
    "cloudformation", "iam", "sts", "sagemaker", "lambda", "ecr", "logs", "cloudwatch", "ssm", "ec2",
    "application-autoscaling", "events", "sns",
)  # fmt: skip


class Forked:
    """A forked local AWS, with what is used of a `subprocess.Popen`."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, -N after signal N. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            ready, _, _ = select.select([self._status], [], [], timeout)
            if not ready:
                raise subprocess.TimeoutExpired("local_aws", timeout or 0)
            self.returncode = int(os.read(self._status, 64) or -signal.SIGKILL)
            os.close(self._status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def fork(arguments: Sequence[str], log: Path) -> Forked:
    """Fork a local AWS with these arguments and this process's environment; its outputs go to a file."""
    read, write = os.pipe()
    with log.open("wb") as output:
        order.give(
            _forking_process(),
            {"arguments": list(arguments), "environment": dict(os.environ)},
            [output.fileno(), write],
        )
    os.close(write)
    return Forked(int(os.read(read, 64)), read)


@functools.cache
def _forking_process() -> socket.socket:
    """Where the process that forks takes this one's orders; it is started at the first use, and ends when those who
    have connected are gone."""
    # In the abstract namespace (unix(7)): nothing to clear away, and who comes first has the name.
    name = f"\0musher-tests-{os.environ.get('PYTEST_XDIST_TESTRUNUID') or os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        with contextlib.suppress(OSError):  # another process of the same tests has started it
            listener.bind(name)
            listener.listen()
            command = [sys.executable, "-m", "tests.local_aws.forked", str(listener.fileno())]
            process = subprocess.Popen(command, cwd=ROOT, pass_fds=[listener.fileno()])
            if "PYTEST_XDIST_TESTRUNUID" not in os.environ:
                atexit.register(process.wait)
    orders = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    orders.connect(name)
    atexit.register(orders.close)  # before what was registered earlier
    return orders


class SharedForkServer(forks.ForkServer):
    """In a forked local AWS: a fork server of the process that it was forked from."""

    process: socket.socket
    """Where that process takes orders for fork servers."""

    def __init__(self, template: forks.Template, environment: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                what = {"python": template.python, "imports": template.imports, "environment": dict(environment)}
                order.give(self.process, what, [theirs.fileno()])
            _, files, _, _ = socket.recv_fds(ours, 16, 1)
        self._further = template.further
        self._ready = bool(files)
        self._orders = socket.socket(fileno=files[0]) if files else ours

    @property
    def ended(self) -> bool:
        return False

    def wait_until_ready(self) -> bool:
        return bool(self._ready)

    def close(self) -> None:
        self._orders.close()


def main(listener: socket.socket) -> list[str]:
    """Fork until the tests' processes are gone. Returns in each forked local AWS, with its arguments."""
    setproctitle.getproctitle()  # finds the place for titles, which it no longer does when the environment has changed
    interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()  # all of it stays
    import_what_they_import()
    gc.collect()
    gc.freeze()
    gc.enable()
    servers = forks.ForkServers()
    requests, SharedForkServer.process = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    clients: set[socket.socket] = set()
    running: dict[int, Running] = {}
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(requests, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                clients.add(client := listener.accept()[0])
                selector.register(client, selectors.EVENT_READ)
            elif key.fileobj is requests:
                share(servers, requests)
            elif key.fileobj not in clients:
                selector.unregister(key.fileobj)
                running.pop(key.fd).report()
                os.close(key.fd)
            elif work := order.take(key.fileobj):
                output, status = work.files
                pid = os.fork()
                if pid == 0:
                    selector.close()
                    close_all((listener, requests, *clients), (status, *running), running.values())
                    signal.signal(signal.SIGINT, interrupted)
                    become(work.what["arguments"], work.what["environment"], output)
                    return work.what["arguments"]
                os.close(output)
                os.write(status, b"%d" % pid)
                descriptor = os.pidfd_open(pid)
                running[descriptor] = Running(pid, status, key.fileobj)
                selector.register(descriptor, selectors.EVENT_READ)
            else:
                selector.unregister(key.fileobj)
                clients.remove(key.fileobj)
                key.fileobj.close()
                end_those_of(key.fileobj, running.values())
                if not clients:
                    servers.close()
                    sys.exit()


class Running(NamedTuple):
    """A forked local AWS: where its exit status goes, and for whom it was forked."""

    pid: int
    status: int
    client: Any

    def report(self) -> None:
        """Say how it has ended, if the tests' process is there to hear it."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self.status, b"%d" % os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]))
        os.close(self.status)


def end_those_of(client: Any, running: Iterable[Running]) -> None:
    """Tell the local AWSs of a tests' process that is gone to end."""
    for each in running:
        if each.client is client:
            os.kill(each.pid, signal.SIGTERM)


def close_all(sockets: Iterable[socket.socket], descriptors: Iterable[int], running: Iterable[Running]) -> None:
    """What is not a forked local AWS's own."""
    for each in sockets:
        each.close()
    for descriptor in (*descriptors, *(each.status for each in running)):
        os.close(descriptor)


def import_what_they_import() -> None:
    import boto3

    import local_aws.server  # noqa: F401
    from local_aws.pipeline.directory import directory
    from local_aws.support import supported_by_moto

    directory()
    for service in SERVICES:
        supported_by_moto(service)
        # Its own clients' models, which all sessions share (local_aws/models.py).
        boto3.client(service, endpoint_url="http://127.0.0.1", region_name="us-east-1")
    boto3.DEFAULT_SESSION = None


def share(servers: forks.ForkServers, requests: socket.socket) -> None:
    """Answer an order for a fork server."""
    request = order.take(requests)
    (answer,) = request.files
    template = forks.Template(request.what["python"], tuple(request.what["imports"]))
    server = servers.ready(template, request.what["environment"])
    with socket.socket(fileno=answer) as reply, contextlib.suppress(OSError):
        if server:
            socket.send_fds(reply, [b"1"], [server._orders.fileno()])


def become(arguments: Sequence[str], environment: Mapping[str, str], output: int) -> None:
    """Be the process of a local AWS."""
    from moto.moto_api._internal import mock_random

    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    setproctitle.setproctitle(" ".join(["python -m local_aws", *arguments]))
    os.environ.clear()
    os.environ.update(environment)
    # Python's own generator takes another seed after a fork; this one, which makes moto's ids, does not.
    mock_random.seed()
    forks.ForkServer = SharedForkServer  # type: ignore[misc]


if __name__ == "__main__":
    words: list[Any] = main(socket.socket(fileno=int(sys.argv[1])))
    sys.argv[1:] = words
    runpy.run_module("local_aws", run_name="__main__", alter_sys=True)
