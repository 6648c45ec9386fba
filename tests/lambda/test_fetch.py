"""A URL from a stranger: where it may lead, how long and how much it may take."""

from __future__ import annotations

import ipaddress
import random
import socket
import threading
import time

import addresses
import fetch
import pytest
from problem import Problem


@pytest.fixture
def allowed(server, monkeypatch):
    monkeypatch.setenv("ALLOWED_PRIVATE_HOSTS", server.host)
    return server


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
     "255.255.255.255", "240.0.0.1", "::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:127.0.0.1",
     "::ffff:10.0.0.1",
     "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
     # the same on every version of Python, whatever its ipaddress knows
     "fec0::1", "3fff::1", "5f00::1", "100::1", "192.0.0.9", "192.0.0.10", "192.0.0.192", "192.88.99.1", "192.0.2.1",
     "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.31.196.1", "192.52.193.1", "192.175.48.1", "2001:db8::1",
     "2001:0:1::1", "2001:20::1", "2620:4f:8000::1", "64:ff9b:1::1", "::127.0.0.1", "::8.8.8.8", "4000::1", "fe80::1%1",
     # where Azure's machines ask for their settings, and Alibaba's
     "168.63.129.16", "100.100.100.200", "fd00:ec2::254"],
)  # fmt: skip
def test_addresses_that_are_not_public(address):
    assert not addresses.is_public(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "168.63.129.15", "192.0.1.1", "192.88.98.1",
     "2001:200::1", "2a00:1450::1", "223.255.255.255"],
)  # fmt: skip
def test_addresses_that_are_public(address):
    assert addresses.is_public(address)


def test_no_address_is_public_that_python_knows_to_be_none():
    chance = random.Random(7)
    edges = [int(net.network_address) + step for net in addresses.NOT_PUBLIC for step in (-1, 0)]
    numbers = [abs(each) for each in edges] + [chance.getrandbits(bits) for bits in (32, 128) for _ in range(5000)]
    for number in numbers:
        ip = ipaddress.ip_address(number)
        if addresses.is_public(str(ip)):
            assert ip.is_global, ip
            assert not any((ip.is_private, ip.is_loopback, ip.is_link_local, ip.is_multicast, ip.is_reserved)), ip


@pytest.mark.parametrize(
    "url",
    ["file:///proc/self/environ", "ftp://example.com/a", "gopher://x/", "//example.com/", "", "http://", "http://[::1",
     "http://a:0/", "http://a:99999/", "http://user:secret@example.com/", "http://example.com/\r\nX: y",
     "http://exa mple.com/"],
)  # fmt: skip
def test_urls_that_are_refused(url):
    with pytest.raises(Problem, match=r"^url ") as caught:
        fetch.fetch(url)
    assert caught.value.status == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]"])
def test_this_machine_is_refused_however_it_is_written(server, host):
    with pytest.raises(Problem, match=r"public|found"):
        fetch.fetch(f"http://{host}:{server.server_port}/")
    assert server.requests == []


def test_a_picture_comes_back_and_nothing_secret_is_sent(allowed, answer):
    allowed.answers["/a?b=c"] = answer(b"picture")
    assert fetch.fetch(f"http://{allowed.host}/a?b=c") == b"picture"
    headers = {name.lower() for name in allowed.requests[0][1]}
    assert not headers & {"authorization", "cookie"}


def test_a_redirect_is_followed(allowed, answer):
    allowed.answers |= {"/a": answer(b"", 302, Location="/b"), "/b": answer(b"there")}
    assert fetch.fetch(f"http://{allowed.host}/a") == b"there"


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest/", "http://127.0.0.1:1/", "file:///etc/passwd"])
def test_a_redirect_to_a_private_address_is_refused(allowed, answer, target):
    allowed.answers["/a"] = answer(b"", 302, Location=target)
    with pytest.raises(Problem, match=r"not a public one|must start with"):
        fetch.fetch(f"http://{allowed.host}/a")


def test_redirects_end(allowed, answer):
    allowed.answers["/a"] = answer(b"", 302, Location="/a")
    with pytest.raises(Problem, match="more than 3 times"):
        fetch.fetch(f"http://{allowed.host}/a")
    assert len(allowed.requests) == 4


def test_the_connection_is_made_to_the_address_that_was_checked(server, answer, monkeypatch):
    # GIVEN a name that is public when it is asked for first, and this machine ever after
    asked = []

    def resolve(host, port, *arguments, **options):
        asked.append(host)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34" if len(asked) == 1 else "127.0.0.1", port))
        ]

    connected = []

    def connect(address, timeout=None, **options):
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(fetch.socket, "getaddrinfo", resolve)
    monkeypatch.setattr(fetch.socket, "create_connection", connect)
    # WHEN it is fetched
    with pytest.raises(Problem):
        fetch.fetch("http://rebind.example/")
    # THEN it was resolved once, and the checked address was connected to
    assert asked == ["rebind.example"]
    assert connected == [("93.184.216.34", 80)]


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 80)) for each in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(fetch.socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(Problem, match="not a public one"):
        fetch.fetch("http://two.example/")


@pytest.mark.parametrize("port", [22, 25, 6379, 8080, 443_00])
@pytest.mark.parametrize("way", ["straight", "redirected"])
def test_only_the_ports_of_the_web_are_connected_to(allowed, answer, monkeypatch, port, way):
    ask = socket.getaddrinfo

    def resolve(host, port, *arguments, **options):
        if host == "public.example":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", port))]
        return ask(host, port, *arguments, **options)

    monkeypatch.setattr(fetch.socket, "getaddrinfo", resolve)
    url = f"http://public.example:{port}/"
    allowed.answers["/a"] = answer(b"", 302, Location=url)
    with pytest.raises(Problem, match=f"port {port}.* 80 and 443") as caught:
        fetch.fetch(url if way == "straight" else f"http://{allowed.host}/a")
    assert caught.value.status == 400


def test_a_resolver_that_does_not_answer_is_left_in_time(monkeypatch):
    # GIVEN a name whose servers are silent
    answers = threading.Event()
    monkeypatch.setattr(fetch.socket, "getaddrinfo", lambda *_, **__: answers.wait(60) or [])
    # WHEN it is fetched with little time left
    started = time.monotonic()
    with pytest.raises(Problem, match=r"within 0\.5 seconds") as caught:
        fetch.fetch("http://silent.example/", seconds=0.5)
    answers.set()
    # THEN the caller hears of it, long before the resolver would have given up
    assert caught.value.status == 408
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_server_that_drips_is_left(allowed, monkeypatch, part):
    monkeypatch.setattr(fetch, "SECONDS", 0.6)

    def drip(handler):
        if part == "body":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for letter in (b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 100) if part == "head" else b"a" * 100:
            handler.wfile.write(bytes([letter]))
            handler.wfile.flush()
            time.sleep(0.1)

    allowed.answers["/"] = drip
    started = time.monotonic()
    with pytest.raises(Problem) as caught:
        fetch.fetch(f"http://{allowed.host}/")
    assert caught.value.status == 408
    # Without a deadline it would drip for ten seconds.
    assert time.monotonic() - started < 5


def test_more_than_the_limit_is_refused_whatever_was_announced(allowed, answer, monkeypatch):
    monkeypatch.setattr(fetch, "MOST_BYTES", 1000)

    def endless(handler):
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
        for _ in range(10_000):
            handler.wfile.write(b"a" * 1000)

    allowed.answers |= {"/a": answer(b"a" * 1001), "/b": endless}
    for path in ("/a", "/b"):
        with pytest.raises(Problem, match="more than 1000 bytes") as caught:
            fetch.fetch(f"http://{allowed.host}{path}")
        assert caught.value.status == 413


def test_less_than_announced_is_no_picture(allowed, answer):
    allowed.answers["/"] = answer(b"short", Content_Length="500")
    with pytest.raises(Problem, match=r"fewer bytes|could not be fetched"):
        fetch.fetch(f"http://{allowed.host}/")


def test_another_status_is_told(allowed, answer):
    allowed.answers["/"] = answer(b"", 404)
    with pytest.raises(Problem, match="status 404"):
        fetch.fetch(f"http://{allowed.host}/")
