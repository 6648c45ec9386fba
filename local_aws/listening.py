"""waitress, as the servers here need it: the door is at a request's head, before its body is waited for."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from typing import Any

import waitress.channel
import waitress.parser
import waitress.server
import waitress.task
import waitress.utilities
import waitress.wasyncore

from local_aws import wire
from local_aws.door import Door
from local_aws.errors import AwsError
from local_aws.pipeline.directory import protocols, services_signed_as
from local_aws.pipeline.identify import CBOR, FORM, credentials

# A synchronous Lambda invocation holds a thread while the function calls back into another: there must be more threads
# than the concurrency that one machine can sensibly be asked for.
THREADS = 192
# A refused request's body up to this size is received and thrown away: a client that is still sending reads no answer.
DISCARDED_BYTES = 1 << 20
ENDING = re.compile(rb"(?<=\r\n)(?:Connection: close|Transfer-Encoding: chunked)\r\n")
METADATA = re.compile(rb"(?<=\r\n)X-Amz-Meta-[^:]*")


def create_server(application: Callable, listener: socket.socket, door: Door) -> Any:
    """A waitress server: `run()` serves until it is told to `end()`, from any thread."""
    sockets: dict[int, Any] = {}
    server = waitress.server.create_server(
        application,
        map=sockets,
        sockets=[listener],
        threads=THREADS,
        ident=None,
        connection_limit=2000,
        channel_timeout=300,
        max_request_body_size=6 * 1024**3,
        clear_untrusted_proxy_headers=False,
    )
    server.channel_class = type("Channel", (_Channel,), {"parser_class": parser_class(door)})
    # waitress's own `close()` leaves open what clients keep open, and its loop goes on for as long as one of them does.
    server.end = lambda: server.trigger.pull_trigger(lambda: waitress.wasyncore.close_all(sockets, ignore_all=True))
    return server


def parser_class(door: Door) -> type[Parser]:
    """A class of requests that come through a door."""
    return type("Parser", (Parser,), {"door": door})


class Parser(waitress.parser.HTTPRequestParser):
    """A request whose head says that it is refused has nothing but its refusal."""

    door: Door

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        headers, ask = self.headers, self.door.refusal
        refusal = ask(
            headers.get("HOST"),
            origin=headers.get("ORIGIN"),
            site=headers.get("SEC_FETCH_SITE"),
            destination=headers.get("SEC_FETCH_DEST"),
        )
        if refusal is None and (self.proxy_scheme or self.proxy_netloc):
            # RFC 9112, 3.2.2: the authority of a target in absolute form goes before the Host header.
            refusal = ask(self.proxy_netloc)
        if refusal is not None:
            self.error = _Refusal(refusal, self.path, headers)
            if self.expect_continue or self.chunked or self.content_length > DISCARDED_BYTES:
                self.body_rcv, self.content_length, self.expect_continue = None, 0, False


class _Task(waitress.task.WSGITask):
    """An answer in which the names of an object's own metadata are in lower case, as S3 has them, and as SDKs take
    them over; and after which the connection stays, if it has no body.

    waitress closes it after each answer without a Content-Length, which one with the status 204 or 304 must not have
    (RFC 9110, 8.6): a client would have to connect anew after each DeleteObject.
    """

    def build_response_header(self) -> bytes:
        closing = self.close_on_finish or self.request.headers.get("CONNECTION", "").lower() == "close"
        head = super().build_response_header()
        bodiless = not self.has_body or (self.request.command == "HEAD" and self.chunked_response)
        if bodiless and not closing and self.version == "1.1":
            self.close_on_finish = self.chunked_response = False
            head = ENDING.sub(b"", head)
        return METADATA.sub(lambda found: found[0].lower(), head) if b"\r\nX-Amz-Meta-" in head else head


class _Channel(waitress.channel.HTTPChannel):
    """A connection on which an empty object can be stored.

    Asked to `Expect: 100-continue`, as boto3 asks for every object, waitress goes on waiting for a body of no bytes;
    and MWAA's botocore hangs in the next large object of a connection that has had an answer without `100 Continue`.
    """

    task_class = _Task

    def send_continue(self) -> None:
        super().send_continue()
        self.request.completed = self.request.body_rcv is None


class _Refusal(waitress.utilities.Error):
    """The answer to a request that is not let in, in the wire form of the service that it names."""

    def __init__(self, sentence: str, path: str, headers: dict[str, str]) -> None:
        super().__init__(sentence)
        self.path, self.headers = path, headers

    def to_response(self, ident: str | None = None) -> tuple[str, list[tuple[str, str]], bytes]:
        _, name, _ = credentials(self.headers.get("AUTHORIZATION"))
        service = next(iter(services_signed_as(name)), None) if name else None
        if service == "sagemaker" and self.path.startswith("/endpoints/"):
            service = "sagemaker-runtime"  # both sign with the same name, and speak another protocol
        content_type = self.headers.get("CONTENT_TYPE") or ""
        if service is None and not self.path.startswith("/_local_aws") and "json" not in content_type:
            service = "s3"
        if service is not None:
            code = "AccessDenied" if service == "s3" else "AccessDeniedException"
            protocol = _spoken(protocols(service), content_type)
            answer = wire.serialise_error(service, AwsError(code, self.body, status=403), protocol)
            return "403 Forbidden", list(answer.headers.items()), answer.get_data()
        body = json.dumps({"__type": "AccessDeniedException", "message": self.body}).encode()
        kind = ("x-amzn-ErrorType", "AccessDeniedException")
        return "403 Forbidden", [("Content-Type", "application/json"), kind], body


def _spoken(spoken: tuple[str, ...], content_type: str) -> str:
    """Which of a service's protocols a request is in, by its type alone."""
    if content_type.startswith(FORM):
        return next((each for each in ("ec2", "query") if each in spoken), spoken[0])
    if content_type == "application/cbor" and CBOR in spoken:
        return CBOR
    return next((each for each in spoken if each != CBOR), spoken[0])
