"""The body of a request in chunks of AWS's own (`aws-chunked`), as SDKs send it with a checksum at its end.

AWS: Amazon S3 API reference, "Signature calculations for the authorization header: transferring payload in multiple
chunks".
"""

from __future__ import annotations

from local_aws.s3 import errors
from local_aws.s3.bodies import Readable

LONGEST_LINE = 8192


class Chunked:
    """Reads what is in the chunks; afterwards `trailers` has the headers that came after them, by lower-case name."""

    def __init__(self, stream: Readable) -> None:
        self._stream, self._buffer = stream, b""
        self._left = 0
        self._ended = False
        self.trailers: dict[str, str] = {}

    def read(self, count: int) -> bytes:
        """Some bytes, none at the end. Raises AwsError."""
        if not self._left and not self._ended:
            self._next()
        if self._ended:
            return b""
        data, self._buffer = self._buffer[: min(count, self._left)], self._buffer[min(count, self._left) :]
        if not data:
            data = self._stream.read(min(count, self._left))
        if not data:
            raise errors.incomplete_body()
        self._left -= len(data)
        if not self._left and self._line():
            raise errors.incomplete_body()
        return data

    def _next(self) -> None:
        size = self._line().split(b";", 1)[0]
        try:
            self._left = int(size, 16)
        except ValueError:
            raise errors.incomplete_body() from None
        if self._left:
            return
        self._ended = True
        while line := self._line(last=True):
            name, _, value = line.partition(b":")
            self.trailers[name.decode("latin-1").strip().lower()] = value.decode("latin-1").strip()

    def _line(self, *, last: bool = False) -> bytes:
        while b"\r\n" not in self._buffer:
            more = self._stream.read(LONGEST_LINE)
            if not more:
                if last:
                    line, self._buffer = self._buffer, b""
                    return line
                raise errors.incomplete_body()
            self._buffer += more
            if len(self._buffer) > 2 * LONGEST_LINE and b"\r\n" not in self._buffer:
                raise errors.incomplete_body()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line
