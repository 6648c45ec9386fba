"""Who is answered by the local AWS: programs that call it by a name of this machine, and no web page."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import zipfile
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local_aws.door import Door
from tests.local_aws.daemon import ADMINISTRATORS, ROOT

SCOPE = "AWS4-HMAC-SHA256 Credential=AKIATEST/20260101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"
CREATE = "/2015-03-31/functions"
INVOKE = "/2015-03-31/functions/door-fast/invocations"
# One of each way through the gateway: (method, path, service of the signature, body).
WAYS = {
    "the control's health": ("GET", "/_local_aws/health", None, b""),
    "the control's orders": ("POST", "/_local_aws/capacity", None, b'{"instance_type": "g5.xlarge", "spot": 0}'),
    "a fast path: Invoke": ("POST", INVOKE, "lambda", b"{}"),
    "a fast path: InvokeEndpoint": ("POST", "/endpoints/door/invocations", "sagemaker", b"{}"),
    "an operation of its own": ("POST", CREATE, "lambda", b"{}"),
    "moto": ("PUT", "/door-bucket", "s3", b""),
    "moto, unsigned": ("PUT", "/door-bucket", None, b""),
}
FOREIGN = {
    "a name": b"evil.example",
    "a name and the port": b"evil.example:4566",
    "a name below which localhost is": b"localhost.evil.example",
    "a name that ends like localhost": b"evillocalhost",
    "a user before it": b"localhost@evil.example",
    "a user": b"evil.example@127.0.0.1",
    "two in one": b"127.0.0.1, evil.example",
    "an address as a number": b"2130706433",
    "a short address": b"127.1",
    "a hexadecimal address": b"0x7f.0.0.1",
    "every address": b"0.0.0.0",
    "another address": b"10.0.0.1",
    "another IPv6 address": b"[fd00::1]",
    "a whole address": b"http://127.0.0.1",
    "nothing": b"",
}
OWN = [
    "127.0.0.1", "127.0.0.1:{port}", "127.3.2.1", "localhost", "LocalHost:{port}", "localhost.:{port}", "[::1]:{port}",
    "bucket.localhost:{port}", "my.bucket_1.s3.localhost", "localhost:", "127.0.0.1.",
]  # fmt: skip


def send(daemon, head: bytes, body: bytes = b"") -> tuple[int, bytes]:
    """Send the bytes; the status and the body of what is answered."""
    with socket.create_connection(("127.0.0.1", daemon.port), 30) as connection:
        connection.sendall(head + body)
        answer = b""
        while b"\r\n\r\n" not in answer and (data := connection.recv(65536)):
            answer += data
        answered, _, rest = answer.partition(b"\r\n\r\n")
        lines = dict(line.lower().split(b": ", 1) for line in answered.split(b"\r\n")[1:])
        while len(rest) < int(lines.get(b"content-length", 0)) and (data := connection.recv(65536)):
            rest += data
        return int(answered.split(b" ", 2)[1]), rest


def request(way: str, target: bytes = b"", **headers: bytes) -> tuple[bytes, bytes]:
    """The bytes of a request by one of WAYS; an underscore in a header's name is a hyphen, a None no header."""
    method, path, service, body = WAYS[way]
    lines = [method.encode() + b" " + (target or path.encode()) + b" HTTP/1.1"]
    if service:
        lines.append(b"Authorization: " + SCOPE.format(service).encode())
    lines += [name.replace("_", "-").encode() + b": " + value for name, value in headers.items() if value is not None]
    lines += [b"Content-Length: " + str(len(body)).encode(), b"", b""]
    return b"\r\n".join(lines), body


def buckets(daemon) -> set[str]:
    return {each["Name"] for each in daemon.client("s3").list_buckets()["Buckets"]}


def calling(daemon, service: str, host: str):
    """A boto3 client that calls by a host name."""
    client = boto3.client(
        service,
        endpoint_url=daemon.url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.meta.events.register("before-send", lambda request, **_: request.headers.__setitem__("Host", host))
    return client


def presigned(daemon, operation: str, **params) -> tuple[str, str]:
    """The host and the target of a signed address, with the bucket's name in the host's."""
    ((key, secret),) = [each for each in ADMINISTRATORS.items() if each[0] == "test"]
    s3 = boto3.client(
        "s3", endpoint_url=f"http://localhost:{daemon.port}", region_name="us-east-1", aws_access_key_id=key,
        aws_secret_access_key=secret, config=Config(signature_version="s3v4", s3={"addressing_style": "virtual"}),
    )  # fmt: skip
    address = urlsplit(s3.generate_presigned_url(operation, Params=params))
    return address.netloc, f"{address.path or '/'}?{address.query}"


def is_refused(answer: tuple[int, bytes], *words: str) -> None:
    status, body = answer
    assert status == 403, body
    assert b"AccessDenied" in body
    for word in words:
        assert word.encode() in body, body


@pytest.mark.parametrize("way", WAYS)
def test_who_calls_by_a_foreign_name_is_told_which_option_admits_it_on_every_way(local_aws, way):
    is_refused(send(local_aws, *request(way, Host=b"evil.example")), "evil.example", "--allowed-host NAME")
    assert "door-bucket" not in buckets(local_aws)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "kind",
    [None, b"application/json", b"application/x-image", b"image/jpeg", b"text/plain", b"application/cbor", b"no kind"],
)
def test_whatever_it_sends_it_is_refused_in_the_form_of_its_service(local_aws, way, kind):
    is_refused(send(local_aws, *request(way, Host=b"evil.example", Content_Type=kind)), "evil.example")


@pytest.mark.parametrize("what", FOREIGN)
def test_no_odd_form_of_a_foreign_name_is_taken_for_an_own_one(local_aws, what):
    is_refused(send(local_aws, *request("moto", Host=FOREIGN[what])), "--allowed-host NAME")
    assert "door-bucket" not in buckets(local_aws)


def test_a_request_without_a_host_or_with_two_is_refused(local_aws):
    head, body = request("moto")
    is_refused(send(local_aws, head, body), "without a host name")
    for hosts in ((b"127.0.0.1", b"evil.example"), (b"evil.example", b"127.0.0.1")):
        lines = b"".join(b"Host: " + host + b"\r\n" for host in hosts)
        is_refused(send(local_aws, head.replace(b"\r\n", b"\r\n" + lines, 1), body))
    old = b"PUT /door-bucket HTTP/1.0\r\n\r\n"
    is_refused(send(local_aws, old))
    assert "door-bucket" not in buckets(local_aws)


@pytest.mark.parametrize("way", WAYS)
def test_a_target_in_absolute_form_counts_like_the_host(local_aws, way):
    path = WAYS[way][1].encode()
    own, foreign = b"127.0.0.1:%d" % local_aws.port, b"evil.example"
    for target, host in ((foreign, own), (own, foreign), (b"localhost@" + foreign, own)):
        is_refused(send(local_aws, *request(way, target=b"http://" + target + path, Host=host)))
    assert "door-bucket" not in buckets(local_aws)


def test_a_proxys_client_is_answered(local_aws):
    own = b"127.0.0.1:%d" % local_aws.port
    head, body = request("the control's health", target=b"http://" + own + b"/_local_aws/health", Host=own)
    assert send(local_aws, head, body)[0] == 200


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "page",
    [
        {"Origin": b"https://evil.example"},
        {"Origin": b"null"},
        {"Origin": b"http://127.0.0.1:1"},
        {"Sec_Fetch_Site": b"cross-site", "Sec_Fetch_Dest": b"image"},
        {"Sec_Fetch_Site": b"same-origin", "Sec_Fetch_Dest": b"empty"},
    ],
    ids=["another page", "a page without a name", "another server's page", "an image in a page", "a page's script"],
)
def test_no_page_is_answered_whatever_name_it_calls(local_aws, way, page):
    simple = {"Content_Type": b"text/plain"}  # what a page may send without being asked first
    is_refused(send(local_aws, *request(way, Host=b"localhost:%d" % local_aws.port, **simple, **page)), "web page")
    assert "door-bucket" not in buckets(local_aws)


def test_a_person_may_look_at_an_object_in_a_browser(local_aws):
    s3 = local_aws.client("s3")
    s3.create_bucket(Bucket="looked-at")
    s3.put_object(Bucket="looked-at", Key="page.html", Body=b"<h1>Report</h1>", ContentType="text/html")
    shown = s3.generate_presigned_url("get_object", Params={"Bucket": "looked-at", "Key": "page.html"})
    target = shown.removeprefix(local_aws.url).encode()
    lines = b"Host: 127.0.0.1:%d\r\nSec-Fetch-Site: none\r\nSec-Fetch-Dest: document\r\n\r\n" % local_aws.port
    assert send(local_aws, b"GET " + target + b" HTTP/1.1\r\n" + lines) == (200, b"<h1>Report</h1>")


@pytest.mark.parametrize("name", OWN)
def test_every_loopback_name_is_answered(local_aws, name):
    host = name.format(port=local_aws.port).encode()
    assert send(local_aws, *request("the control's health", Host=host))[0] == 200


def test_boto3_finds_a_bucket_by_its_name_below_localhost(local_aws):
    s3 = local_aws.client("s3")
    s3.create_bucket(Bucket="virtual-host")
    s3.put_object(Bucket="virtual-host", Key="key", Body=b"body")
    host, target = presigned(local_aws, "get_object", Bucket="virtual-host", Key="key")
    assert host == f"virtual-host.localhost:{local_aws.port}"
    assert send(local_aws, f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()) == (200, b"body")


def test_a_refused_requests_body_is_no_request(local_aws):
    # GIVEN a page's request whose body looks like a program's
    host = b"Host: 127.0.0.1:%d\r\n" % local_aws.port
    inner = b"PUT /door-smuggled HTTP/1.1\r\n" + host + b"Content-Length: 0\r\n\r\n"
    for length, rest in ((b"Content-Length: %d\r\n" % len(inner), b""), (b"Content-Length: 9999999\r\n", b"")):
        # WHEN it comes in one piece, or announces more than is worth being read
        is_refused(send(local_aws, b"POST / HTTP/1.1\r\nHost: evil.example\r\n" + length + b"\r\n" + inner + rest))
    chunked = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(inner) + inner + b"\r\n0\r\n\r\n"
    is_refused(send(local_aws, b"POST / HTTP/1.1\r\nHost: evil.example\r\n" + chunked))
    # THEN nothing in it has happened
    assert "door-smuggled" not in buckets(local_aws)


def test_who_asks_first_is_not_told_to_send(local_aws):
    head = b"PUT /door-bucket/key HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    is_refused(send(local_aws, head))


@pytest.mark.parametrize("service", ["s3", "sts", "ec2", "sagemaker", "lambda", "cloudwatch", "logs", "iam"])
def test_boto3_raises_the_refusal_as_an_error_with_the_sentence(local_aws, service):
    client = calling(local_aws, service, "aws.internal")
    calls = {
        "s3": "list_buckets", "sts": "get_caller_identity", "ec2": "describe_instances", "iam": "list_roles",
        "sagemaker": "list_endpoints", "lambda": "list_functions", "cloudwatch": "list_metrics",
        "logs": "describe_log_groups",
    }  # fmt: skip
    with pytest.raises(ClientError) as caught:
        getattr(client, calls[service])()
    error = caught.value.response["Error"]
    assert error["Code"].startswith("AccessDenied")
    assert "'aws.internal'" in error["Message"]
    assert "--allowed-host NAME" in error["Message"]


def test_motos_own_api_is_closed(local_aws):
    local_aws.client("s3").create_bucket(Bucket="not-forgotten")
    host = b"Host: 127.0.0.1:%d\r\n" % local_aws.port
    for path in (b"/moto-api/reset", b"//moto-api/reset", b"/%6doto-api/reset", b"/moto-api", b"/moto-api/data.json"):
        for method in (b"POST", b"GET"):
            status, body = send(
                local_aws, method + b" " + path + b" HTTP/1.1\r\n" + host + b"Content-Length: 0\r\n\r\n"
            )
            assert (status, "closed" in json.loads(body)["message"]) == (403, True), path
    assert "not-forgotten" in buckets(local_aws)


def test_no_answer_lets_a_page_read_it(local_aws):
    with socket.create_connection(("127.0.0.1", local_aws.port), 30) as connection:
        host, target = presigned(local_aws, "list_buckets")
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"access-control" not in answer.lower()


def test_a_function_is_not_created_by_a_page(local_aws, role_arn):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("door.py", "def handler(event, context): return 1")
    functions = local_aws.client("lambda")
    client = calling(local_aws, "lambda", f"evil.example:{local_aws.port}")
    with pytest.raises(ClientError, match=r"evil\.example"):
        client.create_function(
            FunctionName="door", Runtime="python3.12", Role=role_arn, Handler="door.handler",
            Code={"ZipFile": archive.getvalue()},
        )  # fmt: skip
    assert "door" not in {each["FunctionName"] for each in functions.list_functions()["Functions"]}


def test_a_name_is_admitted_by_the_option(new_local_aws):
    daemon = new_local_aws(options=["--allowed-host", "aws.internal", "--allowed-host", "Other."])
    health = "the control's health"
    for host in (b"aws.internal", b"AWS.internal:4566", b"other", b"127.0.0.1"):
        assert send(daemon, *request(health, Host=host))[0] == 200, host
    is_refused(send(daemon, *request(health, Host=b"bucket.aws.internal")))
    is_refused(send(daemon, *request(health, Host=b"aws.internal", Origin=b"http://aws.internal")), "web page")


def test_what_is_no_host_name_is_said_at_the_start():
    command = [sys.executable, "-m", "local_aws", "--allowed-host", "http://aws.internal:4566"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "a host name without a scheme and a port, such as aws.internal, not http://aws.internal:4566" in done.stderr


def test_what_is_remembered_of_admitted_names_has_an_end(monkeypatch):
    monkeypatch.setattr("local_aws.door.MOST_REMEMBERED", 2)
    door = Door()
    assert [door.refusal(f"bucket-{number}.localhost") for number in range(4)] == [None] * 4
    assert len(door._admitted) == 2
