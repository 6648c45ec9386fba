"""An order to fork: what the new process is to run, and the files it gets.

One message of a socket an order, so that several may give orders on the same socket. What is to be run is a file in
memory that goes with the message, since environment and arguments have no limit that a message has. Linux only, and
only the standard library without `site`.
"""

import json
import os
import socket


class Order:
    """`what`: command, environment, cwd, niceness and cores of the process, and whether it may order further ones;
    `files`: its standard input, output and error, and where its supervisor writes what becomes of it."""

    def __init__(self, what, files):
        self.what = what
        self.files = files

    def close(self):
        for file in self.files:
            os.close(file)


def give(orders, what, files):
    """Send an order. Raises OSError when nobody takes any."""
    content = os.memfd_create("order")
    try:
        with open(content, "w", closefd=False) as file:
            json.dump(what, file)
        socket.send_fds(orders, [b"1"], [content, *files])
    finally:
        os.close(content)


def take(orders):
    """Wait for the next order; None when there will be none. The files are the caller's to close."""
    message, files, _, _ = socket.recv_fds(orders, 16, 5)
    if not message:
        return None
    with open(files[0]) as content:
        content.seek(0)
        what = json.load(content)
    return Order(what, files[1:])
