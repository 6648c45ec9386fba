"""The server behind every call: how it ends."""

from __future__ import annotations

import http.client
import socket
import threading

from local_aws.door import Door
from local_aws.listening import create_server


def test_it_ends_although_a_client_keeps_its_connection_open():
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def answer(environ, start_response):
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    server = create_server(answer, listener, Door())
    serving = threading.Thread(target=server.run, daemon=True)
    serving.start()
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    client.request("GET", "/")
    assert client.getresponse().read() == b"ok"

    server.end()
    serving.join(60)
    assert not serving.is_alive()
    assert client.sock.recv(1) == b""  # and the client is told
