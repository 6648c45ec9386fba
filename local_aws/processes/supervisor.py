"""Runs one instance's command and makes sure that nothing of it outlives the daemon.

    python -I -S supervisor.py NICENESS COMMAND [ARGUMENT ...]

Standard input is a pipe from the daemon: `T` sends SIGTERM to every process of the instance, `K` sends SIGKILL, and
the end of the pipe (the daemon is gone, however it died) is a `K`. The exit status is the command's, 128 + N after
signal N.

A process group is not enough, since torchrun starts its workers in sessions of their own: on Linux the supervisor is
the "child subreaper" (prctl(2)) of everything below it, so every descendant is found by walking the process tree.
Only the standard library without `site`: this starts once an instance and must be quick. An instance that is forked
has `supervise` in a process that forkserver.py forks.
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
    if not LINUX:
        signal_all(signal.SIGKILL, child)
        return
    for _ in range(100):
        reap()
        if childless():
            return
        signal_all(signal.SIGKILL, child)
        time.sleep(0.01)


def childless() -> bool:
    """Whether nothing is below the subreaper: whoever loses its parent becomes a child of it."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


def reap() -> dict[int, int]:
    """Collect ended children: their wait statuses."""
    ended = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended[pid] = status
    return ended


def set_niceness(niceness: int) -> None:
    """Of this process and, on Linux, of its session: the kernel weighs sessions first (sched(7), autogroup)."""
    if niceness:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, niceness)
        with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as autogroup:
            autogroup.write(str(niceness))


def begin(niceness: int, wake: tuple[int, int]) -> int:
    """Fork a process of the instance: in a session of its own, with no input, and gone as soon as this one is."""
    child = os.fork()
    if child == 0:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        for end in wake:
            os.close(end)
        if LINUX:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        set_niceness(niceness)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
    return child


def supervise(niceness: int, first, orders=None, take=None):
    """Fork an instance's first process and watch over it.

    Returns as os.fork() does: `(first, 0)` in that process, to run it; in this one `(None, exit status)` when nothing
    is left of the instance. With `orders`, a socket, the processes of the instance may have others forked from here:
    `take(orders)` is called for each, and `(order, 0)` returned in the new process; its wait status is written to the
    last of the order's files.
    """
    wake_read, wake_write = wake = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # The terminal's Ctrl-C is the daemon's business: it stops its instances in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if LINUX:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    child = begin(niceness, wake)
    if child == 0:
        return first, 0
    listened, others, status = [wake_read, 0, *([orders] if orders else [])], {}, None
    told = False
    while status is None:
        ready, _, _ = select.select(listened, [], [])
        if wake_read in ready:
            os.read(wake_read, 512)
            ended = reap()
            status = ended.pop(child, None)
            for pid in ended.keys() & others.keys():
                report(others.pop(pid), ended[pid])
        if orders in ready:
            order = take(orders)
            pid = begin(niceness, wake)
            if pid == 0:
                if told:
                    # It would have been sent this, had it been there: whoever ordered it may have ignored it.
                    os.kill(os.getpid(), signal.SIGTERM)
                return order, 0
            *files, others[pid] = order.files
            for file in files:
                os.close(file)
        if 0 in ready and status is None:
            said = obey(child)
            told |= b"T" in said
            if not said:
                listened.remove(0)
    kill_all(child)
    return None, os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def obey(child: int) -> bytes:
    """Carry out what the daemon says; nothing when it is gone, and all of the instance killed."""
    said = os.read(0, 64)
    if not said or b"K" in said:
        signal_all(signal.SIGKILL, child)
    elif b"T" in said:
        signal_all(signal.SIGTERM, child)
    return said


def report(file: int, status: int) -> None:
    """Write how a process ended for whoever had it forked, if they are still there."""
    with contextlib.suppress(OSError):
        os.write(file, str(status).encode())
    os.close(file)


def main(niceness: int, command: list[str]) -> int:
    first, status = supervise(niceness, command)
    if first is None:
        return status
    try:
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    os._exit(127)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
