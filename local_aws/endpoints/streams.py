"""InvokeEndpointWithResponseStream: an answer as a stream of events.

The container here, AWS's inference toolkit, gives an answer when it has all of it, and so the parts come at once; an
error comes before the stream begins. Source: SageMaker runtime API reference, InvokeEndpointWithResponseStream and
ResponseStream; Smithy's specification, "Amazon Event Stream Specification", for the form of a message.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from zlib import crc32

from local_aws.services.base import RawRequest, RawResponse

PART_BYTES = 65_536
CONTENT_TYPE = "application/vnd.amazon.eventstream"
STRING = 7


def asked(request: RawRequest) -> RawRequest:
    """The same call of InvokeEndpoint: what the model is to accept has another header there."""
    headers = {name: value for name, value in request.headers.items() if name != "accept"}
    wanted = headers.pop("x-amzn-sagemaker-accept", None)
    return replace(request, headers=headers | ({"accept": wanted} if wanted else {}))


def answered(answer: RawResponse) -> RawResponse:
    """InvokeEndpoint's answer as a stream."""
    headers = [
        ("X-Amzn-SageMaker-Content-Type" if name == "Content-Type" else name, value) for name, value in answer.headers
    ]
    starts = range(0, len(answer.body), PART_BYTES)
    parts = [message("PayloadPart", answer.body[start : start + PART_BYTES]) for start in starts]
    return RawResponse(answer.status, [("Content-Type", CONTENT_TYPE), *headers], b"".join(parts))


def message(event: str, payload: bytes) -> bytes:
    """One message: both lengths, their checksum, the headers, the payload, a checksum of all."""
    headers = b"".join(
        _header(name, value)
        for name, value in (
            (":event-type", event),
            (":content-type", "application/octet-stream"),
            (":message-type", "event"),
        )
    )
    lengths = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    begun = lengths + struct.pack(">I", crc32(lengths)) + headers + payload
    return begun + struct.pack(">I", crc32(begun))


def _header(name: str, value: str) -> bytes:
    return struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", STRING, len(value)) + value.encode()
