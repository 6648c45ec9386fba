"""S3's checksums: computed, held against what a request says, and put together for uploads in parts.

AWS: S3 user guide, "Checking object integrity in Amazon S3". What Python does not have is computed by AWS's own code,
`awscrt`, which is imported when it is first needed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from local_aws.errors import AwsError

PREFIX = "x-amz-checksum-"


class _Crc:
    """A cyclic redundancy check, fed piece by piece."""

    def __init__(self, function: Callable[[bytes, int], int], width: int) -> None:
        self._function, self._width, self._value = function, width, 0

    def update(self, data: bytes) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._width, "big")


class _XxHash:
    """One of awscrt's, under the names that Python's hashes have."""

    def __init__(self, hashing: Any) -> None:
        self.update, self.digest = hashing.update, hashing.finalize


def _awscrts(kind: str, *about: Any) -> Any:
    from awscrt import checksums

    if kind.startswith("crc"):
        return _Crc(getattr(checksums, kind), *about)
    return _XxHash(getattr(checksums.XXHash, f"new_{kind}")())


CHECKSUMS: dict[str, Callable[[], Any]] = {
    "CRC32": lambda: _Crc(zlib.crc32, 4),
    "CRC32C": lambda: _awscrts("crc32c", 4),
    "CRC64NVME": lambda: _awscrts("crc64nvme", 8),
    "SHA1": lambda: hashlib.sha1(usedforsecurity=False),
    "SHA256": hashlib.sha256,
    "SHA512": hashlib.sha512,
    "MD5": lambda: hashlib.md5(usedforsecurity=False),
    "XXHASH64": lambda: _awscrts("xxhash64"),
    "XXHASH3": lambda: _awscrts("xxhash3_64"),
    "XXHASH128": lambda: _awscrts("xxhash3_128"),
}
"""Algorithm -> a new digest of it."""
SIZES = {
    "CRC32": 4, "CRC32C": 4, "CRC64NVME": 8, "SHA1": 20, "SHA256": 32, "SHA512": 64, "MD5": 16, "XXHASH64": 8,
    "XXHASH3": 8, "XXHASH128": 16,
}  # fmt: skip
# What an object has that came without one.
DEFAULT = "CRC64NVME"
# The ones that an upload in parts can have of the whole object; CRC64NVME is of nothing else.
OF_THE_WHOLE = {"CRC32", "CRC32C", "CRC64NVME"}


def encoded(digest: Any) -> str:
    return base64.b64encode(digest.digest()).decode()


def of(algorithm: str, pieces: Iterable[bytes]) -> str:
    """A checksum, in base 64."""
    digest = CHECKSUMS[algorithm]()
    for piece in pieces:
        digest.update(piece)
    return encoded(digest)


def composite(algorithm: str, parts: list[str]) -> str:
    """The checksum of the parts' checksums."""
    return f"{of(algorithm, map(base64.b64decode, parts))}-{len(parts)}"


def kind_of(algorithm: str | None, asked: str | None) -> str | None:
    """FULL_OBJECT or COMPOSITE: what the checksum of an upload in parts is of. Raises AwsError for what cannot be."""
    if algorithm is None:
        if asked is not None:
            raise _invalid(f"The {PREFIX}type header can only be used with the {PREFIX}algorithm header.")
        return None
    kind = asked or ("FULL_OBJECT" if algorithm == DEFAULT else "COMPOSITE")
    if algorithm not in OF_THE_WHOLE if kind == "FULL_OBJECT" else algorithm == DEFAULT:
        raise _invalid(f"The {kind} checksum type cannot be used with the {algorithm.lower()} checksum algorithm.")
    return kind


def given(values: Mapping[str, str], trailer: str | None, asked: str | None) -> tuple[str | None, str | None]:
    """(algorithm, value) of the one checksum that a request comes with; without a value it is in the trailer.

    Parameters: `values` by algorithm, `trailer` the request's x-amz-trailer, `asked` its ChecksumAlgorithm. Raises
    AwsError.
    """
    found = [(algorithm, _checked(algorithm, value)) for algorithm, value in values.items()]
    if trailer and trailer.lower().startswith(PREFIX):
        found.append((trailer[len(PREFIX) :].upper(), None))
        if found[-1][0] not in CHECKSUMS:
            raise _invalid("The value specified in the x-amz-trailer header is not supported")
    if len(found) > 1:
        raise _invalid(f"Expecting a single {PREFIX} header. Multiple checksum Types are not allowed.")
    if asked and not found:
        raise _invalid(
            f"x-amz-sdk-checksum-algorithm specified, but no corresponding {PREFIX}* or x-amz-trailer headers were "
            "found."
        )
    if asked and asked.upper() != found[0][0]:
        raise _invalid("Value for x-amz-sdk-checksum-algorithm header is invalid.")
    return found[0] if found else (None, None)


def check_trailer(algorithm: str, value: str | None) -> str:
    """A value that has come behind the body. Raises AwsError."""
    if value is None:
        raise AwsError("MalformedTrailerError", "The request contained trailing data that was not well-formed.")
    return _checked(algorithm, value, "trailing header")


def _checked(algorithm: str, value: str, place: str = "header") -> str:
    try:
        right = len(base64.b64decode(value, validate=True)) == SIZES[algorithm]
    except binascii.Error:
        right = False
    if not right:
        raise _invalid(f"Value for {PREFIX}{algorithm.lower()} {place} is invalid.")
    return value


def check(algorithm: str, value: str, computed: str) -> None:
    """Raises AwsError for a body that is not what it is said to be."""
    if value != computed:
        raise AwsError("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")


def check_md5(text: str | None, computed: bytes) -> None:
    """Content-MD5. Raises AwsError."""
    if text is None:
        return
    try:
        known = base64.b64decode(text, validate=True)
    except binascii.Error:
        known = b""
    if len(known) != 16:
        raise AwsError("InvalidDigest", "The Content-MD5 you specified was invalid.")
    if known != computed:
        raise AwsError("BadDigest", "The Content-MD5 you specified did not match what we received.")


def check_document(data: bytes, headers: Mapping[str, str], *, required: bool) -> None:
    """Hold the XML of a request to what its headers say of it. Raises AwsError."""
    values = {each: headers[name] for each in CHECKSUMS if (name := f"{PREFIX}{each.lower()}") in headers}
    algorithm, value = given(values, None, headers.get("x-amz-sdk-checksum-algorithm"))
    md5 = headers.get("content-md5")
    if required and data and algorithm is None and md5 is None:
        raise _invalid(f"Missing required header for this request: Content-MD5 OR {PREFIX}*")
    if algorithm is not None and value is not None:
        check(algorithm, value, of(algorithm, [data]))
    check_md5(md5, hashlib.md5(data, usedforsecurity=False).digest())


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidRequest", message)
