"""Stands for a process of a forked instance that its supervisor forks: gives the order, and ends as that one ends.

    python -I -S launcher.py ORDERS COMMAND [ARGUMENT ...]

For a program that starts others and is not ours to change. ORDERS is the descriptor that LOCAL_AWS_ORDERS named; see
forkserver.py. What is forked has this process's input, outputs, environment and folder.
"""

import contextlib
import os
import signal
import socket
import sys


def main(orders, command):
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import order

    # Signals to the instance reach all of its processes: what they mean is for the one that was forked to say.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    read, write = os.pipe()
    what = {"command": command, "environment": dict(os.environ), "cwd": os.getcwd()}
    order.give(socket.socket(fileno=orders), what, [0, 1, 2, write])
    os.close(write)
    code = os.waitstatus_to_exitcode(int(os.read(read, 64)))
    if code < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
