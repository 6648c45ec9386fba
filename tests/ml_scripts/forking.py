"""Scripts in processes that are forked from one which has imported PyTorch: each would take a core for two seconds.

    python forking.py ORDERS

As torchrun's own `--start-method fork`, with which the local AWS starts workers. ORDERS is the descriptor of a socket;
see local_aws/processes/order.py. What is forked becomes a child of the tests' process, and is as `python SCRIPT ...`
with these variables would be, but for what is imported already.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import gc
import importlib
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))

from local_aws.processes import order  # noqa: E402

PR_SET_CHILD_SUBREAPER = 36
# What the scripts import of others.
IMPORTS = ("torch.distributed", "safetensors.torch", "PIL.Image")
# As one thread computes: that is read at an import.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


class Process:
    """A forked script, with what is used of a `subprocess.Popen` whose outputs are pipes of text."""

    def __init__(self, pid: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.stdout, self.stderr = open(stdout), open(stderr)  # noqa: SIM115
        self.returncode: int | None = None
        self._descriptor = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """The exit status, -N after signal N; None while it runs."""
        if self.returncode is None and select.select([self._descriptor], [], [], 0)[0]:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self._descriptor)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None and not select.select([self._descriptor], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("a forked script", timeout or 0)
        return self.poll()  # type: ignore[return-value]

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has written and not been read of both outputs, once it has ended."""
        found = ["", ""]

        def read(number: int) -> None:
            found[number] = (self.stdout, self.stderr)[number].read()

        readers = [threading.Thread(target=read, args=[number], daemon=True) for number in (0, 1)]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join()
        return found[0], found[1]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(command: Sequence[str], environment: Mapping[str, str]) -> Process:
    """Run a Python script: its path, and its arguments."""
    (out, out_theirs), (err, err_theirs), (told, tell) = os.pipe(), os.pipe(), os.pipe()
    what = {"command": [str(word) for word in command], "environment": dict(environment)}
    order.give(_orders(), what, [out_theirs, err_theirs, tell])
    for end in (out_theirs, err_theirs, tell):
        os.close(end)
    pid = os.read(told, 64)
    os.close(told)
    return Process(int(pid), out, err)


@functools.cache
def _orders() -> socket.socket:
    """Where the process that forks takes its orders; it is started at the first use, and ends with this one."""
    # What loses its parent becomes a child of this process, which alone can wait for it.
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this process cannot take over what is forked for it")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()], env=os.environ | ONE_THREAD
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def serve(orders: socket.socket) -> list[str]:
    """Fork until the tests' process is gone. Returns in each forked process, with its command."""
    gc.disable()  # all of it stays
    for name in IMPORTS:
        importlib.import_module(name)
    gc.freeze()
    gc.enable()
    while work := order.take(orders):
        if between := os.fork():
            os.waitpid(between, 0)
            work.close()
            continue
        out, err, tell = work.files
        if pid := os.fork():
            os.write(tell, b"%d" % pid)
            os._exit(0)
        orders.close()
        os.dup2(out, 1)
        os.dup2(err, 2)
        for file in work.files:
            os.close(file)
        os.environ.clear()
        os.environ.update(work.what["environment"])
        return work.what["command"]
    sys.exit()


if __name__ == "__main__":
    script, *arguments = serve(socket.socket(fileno=int(sys.argv[1])))
    sys.argv = [script, *arguments]
    sys.path[:] = [os.path.dirname(os.path.abspath(script)), *(each for each in sys.path[1:] if each != str(ROOT))]
    runpy.run_path(script, run_name="__main__")
