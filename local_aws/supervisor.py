"""Runs one instance's command and makes sure that nothing of it outlives the daemon.

    python -I -S supervisor.py NICENESS COMMAND [ARGUMENT ...]

Standard input is a pipe from the daemon: `T` sends SIGTERM to every process of the instance, `K` sends SIGKILL, and
the end of the pipe (the daemon is gone, however it died) is a `K`. The exit status is the command's, 128 + N after
signal N.

A process group is not enough, since torchrun starts its workers in sessions of their own: on Linux the supervisor is
the "child subreaper" (prctl(2)) of everything below it, so every descendant is found by walking the process tree.
Only the standard library without `site`: this starts once an instance and must be quick.
"""

import contextlib
import os
import select
import signal
import sys
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LINUX = sys.platform.startswith("linux")


def prctl(option: int, value: int) -> None:
    import ctypes

    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def descendants(root: int) -> list[int]:
    """Every live process below `root`, from /proc."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                with open(f"/proc/{entry}/stat", "rb") as stat:
                    parent = int(stat.read().rsplit(b")", 1)[1].split()[1])
                parents.setdefault(parent, []).append(int(entry))
    found, todo = [], [root]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


def signal_all(number: int, child: int) -> None:
    if LINUX:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, number)


def kill_all(child: int) -> None:
    """SIGKILL until nothing is left: a process may fork while the tree is walked."""
    for _ in range(100):
        signal_all(signal.SIGKILL, child)
        reap()
        if not LINUX or not descendants(os.getpid()):
            return
        time.sleep(0.01)


def reap(child: int = 0) -> int | None:
    """Collect ended children; the wait status of `child` if it is among them."""
    status = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, ended = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                status = ended
    return status


def set_niceness(niceness: int) -> None:
    """Of this process and, on Linux, of its session: the kernel weighs sessions first (sched(7), autogroup)."""
    if niceness:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, niceness)
        with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as autogroup:
            autogroup.write(str(niceness))


def main(niceness: int, command: list[str]) -> int:
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # The terminal's Ctrl-C is the daemon's business: it stops its instances in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if LINUX:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            if LINUX:
                prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.setsid()
            set_niceness(niceness)
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, 0)
            os.execvp(command[0], command)
        except OSError as error:
            os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        finally:
            os._exit(127)
    control, status = True, None
    while status is None:
        ready, _, _ = select.select([0, wake_read] if control else [wake_read], [], [])
        if wake_read in ready:
            os.read(wake_read, 512)
            status = reap(child)
        if 0 in ready and status is None:
            orders = os.read(0, 64)
            if not orders:
                control = False
            if not orders or b"K" in orders:
                signal_all(signal.SIGKILL, child)
            elif b"T" in orders:
                signal_all(signal.SIGTERM, child)
    kill_all(child)
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
