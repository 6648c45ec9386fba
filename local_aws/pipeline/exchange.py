"""One call on its way: what each stage has found out, for the stages after it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any


class Headers(Mapping[str, str]):
    """A request's headers by their names in lower case, read where the server has put them (PEP 3333)."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        return self._environ[environ_key(name)]

    def __iter__(self) -> Iterator[str]:
        for key in self._environ:
            if key.startswith("HTTP_"):
                yield key[5:].replace("_", "-").lower()
        for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            if self._environ.get(key):
                yield key.replace("_", "-").lower()

    def __len__(self) -> int:
        return sum(1 for _ in self)


def environ_key(header: str) -> str:
    """Under which name WSGI has a header."""
    key = header.upper().replace("-", "_")
    return key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"


class Exchange:
    """A call. The members are in the order in which the stages fill them."""

    __slots__ = (
        "access_key", "account", "body", "denied", "environ", "groups", "identity", "operation", "owner", "params",
        "plan", "protocol", "received", "region", "request", "resources", "service", "signed", "stages", "status",
        "trusted",
    )  # fmt: skip

    def __init__(self, environ: dict[str, Any], account: str, region: str) -> None:
        self.environ = environ
        self.account = account
        # identify
        self.access_key: str | None = None
        self.service = ""
        """botocore's name; "" until it is known."""
        self.region = region
        self.protocol = ""
        self.operation = ""
        self.groups: dict[str, Any] = {}
        """What the request's path named: the parameters' wire names and their values."""
        self.request: Any = None
        """What one to S3 asks for: s3.front.Request."""
        self.plan: Any = None
        """pipeline.plan.Plan."""
        # authenticate
        self.signed: Any = None
        """iam.signatures.Signed; None for a call that nobody has signed."""
        self.identity: Any = None
        """iam.identities.Identity of who has signed; None where that is not known."""
        self.trusted = False
        """Whether this AWS itself calls."""
        # decode
        self.body: bytes | None = None
        """None for an object on its way to S3, which is read as it comes."""
        self.received: bytes | None = None
        """The body as it came, where `body` is another one."""
        # parse
        self.params: dict[str, Any] = {}
        # resources
        self.resources: tuple[str, ...] = ()
        # authorise
        self.denied: Mapping[tuple[str, str], Any] = {}
        """(action, resource) -> AwsError, of a call that is carried out for what of it is allowed."""
        # dispatch
        self.owner = ""
        self.status = 0
        self.stages: list[str] = []

    @property
    def headers(self) -> Headers:
        return Headers(self.environ)

    @property
    def only_reads(self) -> bool:
        """Whether the request's method says that it changes nothing; the Query protocol has any action in a GET."""
        return self.environ["REQUEST_METHOD"] in {"GET", "HEAD"} and self.protocol.startswith("rest-")

    def sent(self) -> bytes:
        """The body as the client has signed it; it is read now if it was not yet."""
        if self.received is not None:
            return self.received
        if self.body is None:
            length = int(self.environ.get("CONTENT_LENGTH") or 0)
            self.body = self.environ["wsgi.input"].read(length) if length else b""
        return self.body

    def replace_body(self, body: bytes) -> None:
        """Give those behind another body than the one that came."""
        self.body = body
        self.environ["wsgi.input"] = io.BytesIO(body)
        self.environ["CONTENT_LENGTH"] = str(len(body))
