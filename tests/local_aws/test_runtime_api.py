"""Lambda's Runtime API as one environment sees it: its own runtime is heard, and nobody else disturbs it."""

from __future__ import annotations

import http.client
import socket
import threading
import time

import pytest

from local_aws.functions.runtime_api import ACCEPTED, Gone, RuntimeApi, event_answer

NEXT = "/2018-06-01/runtime/invocation/next"
RESPONSE = "/2018-06-01/runtime/invocation/1-2-3/response"


@pytest.fixture
def api():
    api = RuntimeApi()
    yield api
    api.close()


def soon() -> float:
    return time.monotonic() + 30


def connect(api) -> socket.socket:
    host, port = api.address.split(":")
    return socket.create_connection((host, int(port)), 30)


def head(method: str, path: str, *lines: str, host: str = "127.0.0.1:9001") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


def received(connection: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end) and (more := connection.recv(65536)):
        data += more
    return data


def test_a_runtime_asks_gets_its_event_and_answers(api):
    answers = []

    def runtime():
        client = http.client.HTTPConnection(api.address, timeout=30)
        client.request("GET", NEXT)
        event = client.getresponse()
        answers.append((event.status, event.headers["Lambda-Runtime-Aws-Request-Id"], event.read()))
        for body in (b"answer" * 1_000_000, iter([b"in ", b"chunks"])):
            client.request("POST", RESPONSE, body=body)
            accepted = client.getresponse()
            answers.append((accepted.status, accepted.read()))

    thread = threading.Thread(target=runtime)
    thread.start()
    waiting = api.next_request(soon())
    assert waiting.path == "invocation/next"
    assert api.quiet()
    waiting.connection.send(event_answer(b'{"a": 1}', {"Lambda-Runtime-Aws-Request-Id": "1-2-3"}))
    for body in (b"answer" * 1_000_000, b"in chunks"):
        answer = api.next_request(soon())
        assert (answer.path, answer.body) == ("invocation/1-2-3/response", body)
        answer.connection.send(ACCEPTED)
    thread.join(30)
    assert answers == [(200, "1-2-3", b'{"a": 1}'), *[(202, b'{"status":"OK"}')] * 2]


def test_a_runtime_that_asks_first_is_told_to_send(api):
    with connect(api) as connection:
        connection.sendall(head("POST", RESPONSE, "Content-Length: 4", "Expect: 100-continue"))
        with pytest.raises(TimeoutError):
            api.next_request(time.monotonic() + 0.2)
        assert received(connection, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"body")
        assert api.next_request(soon()).body == b"body"


@pytest.mark.parametrize(
    "stranger",
    [
        head("POST", RESPONSE, "Content-Length: 2", host="evil.example") + b"{}",
        head("GET", NEXT, host="evil.example"),
        head("POST", "/2018-06-01/runtime/init/error", "Content-Length: 2", "Origin: https://evil.example") + b"{}",
        head("GET", NEXT, "Sec-Fetch-Site: cross-site"),
        b"GET http://evil.example" + NEXT.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
    ids=["by another name", "another name asks", "from a page", "in a page", "absolute", "no HTTP"],
)
def test_what_a_page_sends_is_refused_and_costs_the_environment_nothing(api, stranger):
    with connect(api) as runtime, connect(api) as other:
        # GIVEN a stranger who is there before the runtime
        other.sendall(stranger)
        runtime.sendall(head("GET", NEXT))
        waiting = api.next_request(soon())
        assert waiting.path == "invocation/next"
        # WHEN another one comes while the runtime waits
        with connect(api) as another:
            another.sendall(stranger)
            said: list[bytes] = []
            answered = threading.Thread(target=lambda: said.append(received(another, b"}")))
            answered.start()
            while answered.is_alive():
                assert api.quiet()
                answered.join(0.001)
            assert said[0].split(b" ")[1] in (b"403", b"400")
            assert all(api.quiet() for _ in range(100))
        # THEN the runtime gets its event, and the stranger a refusal
        waiting.connection.send(event_answer(b"{}", {}))
        assert received(runtime, b"{}").startswith(b"HTTP/1.1 200 OK")
        assert other.recv(65536).split(b" ")[1] in (b"403", b"400")


def test_the_end_of_the_process_is_the_end(api):
    with connect(api) as runtime:
        runtime.sendall(head("GET", NEXT))
        api.next_request(soon())
        api.process_ended()
        assert not api.quiet()
        with pytest.raises(Gone):
            api.next_request(soon())


def test_a_runtime_that_closes_its_connection_is_not_quiet(api):
    with connect(api) as runtime:
        runtime.sendall(head("GET", NEXT))
        api.next_request(soon())
    deadline = soon()
    while api.quiet():
        assert time.monotonic() < deadline
