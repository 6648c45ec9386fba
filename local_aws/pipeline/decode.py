"""From the bytes that came to the body that the service means.

A body is read whole, but for an object on its way to S3: that one can be large, and moto reads it. A gzip'd body is
inflated, as AWS's services take one (Smithy: `requestCompression`); S3 keeps what it is sent as it is, and so do the
operations whose body belongs to somebody else's program.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from local_aws.errors import AwsError

if TYPE_CHECKING:
    from local_aws.pipeline.exchange import Exchange

# No operation that takes a gzip'd body takes more: PutMetricData's limit is 1 MB.
LARGEST_INFLATED = 64 << 20


def read(exchange: Exchange) -> bytes:
    """The body as it came."""
    if exchange.body is None:
        exchange.sent()
    assert exchange.body is not None
    return exchange.body


def whole(exchange: Exchange) -> bytes:
    """The body, inflated; those behind get it so, too. Raises AwsError for one that is not what it says."""
    body, environ = read(exchange), exchange.environ
    encoding = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if encoding and encoding != "identity":
        if encoding not in {"gzip", "x-gzip"}:
            raise AwsError(
                "UnsupportedMediaTypeException",
                f"Content-Encoding must be gzip or left out, not {encoding}.",
                status=415,
            )
        # What is signed is what came, with these headers.
        exchange.received = body
        environ["local_aws.content_encoding"] = environ["HTTP_CONTENT_ENCODING"]
        environ["local_aws.content_length"] = environ.get("CONTENT_LENGTH", "")
        body = _inflated(body)
        del environ["HTTP_CONTENT_ENCODING"]
    exchange.replace_body(body)
    return body


def _inflated(body: bytes) -> bytes:
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        found = inflate.decompress(body, LARGEST_INFLATED)
    except zlib.error as error:
        raise AwsError("SerializationException", f"The body is not gzip, as Content-Encoding says: {error}.") from None
    if inflate.unconsumed_tail:
        raise AwsError(
            "RequestEntityTooLargeException", f"The body is larger than {LARGEST_INFLATED} bytes.", status=413
        )
    if not inflate.eof:
        raise AwsError("SerializationException", "The body is not gzip, as Content-Encoding says: it ends too early.")
    return found


def form(exchange: Exchange) -> dict[str, str]:
    """The parameters of the Query protocol, those of the query string first."""
    found = parse_qsl(whole(exchange).decode("utf-8", "replace"), keep_blank_values=True)
    return dict(found) | dict(parse_qsl(exchange.environ.get("QUERY_STRING", ""), keep_blank_values=True))
