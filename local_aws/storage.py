"""S3 as the local AWS's own services use it: straight from moto's backend, without HTTP in between."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

from moto.backends import get_backend
from moto.core.exceptions import ServiceException


@dataclass(frozen=True)
class StoredObject:
    key: str
    size: int
    etag: str


def parse_s3_uri(uri: str) -> tuple[str, str]:
    """`s3://bucket/key` -> (bucket, key). Raises ValueError with a sentence."""
    parts = urlparse(uri)
    if parts.scheme != "s3" or not parts.netloc:
        raise ValueError(f"{uri!r} is no S3 URI: it must look like s3://bucket/key")
    return parts.netloc, parts.path.lstrip("/")


class Storage:
    """Reads and writes objects of one account's buckets.

    Parameters: `changed` is called after every write. Nothing is written while `lock` is held.
    """

    def __init__(self, account: str, changed: Callable[[], None]) -> None:
        self.account = account
        self.lock = threading.RLock()
        self._changed = changed

    @property
    def _backend(self):
        return get_backend("s3")[self.account]["aws"]

    def bucket_exists(self, bucket: str) -> bool:
        return bucket in self._backend.buckets

    def list(self, bucket: str, prefix: str = "") -> Iterator[StoredObject]:
        """Every object under a prefix, in key order. Raises FileNotFoundError for a missing bucket."""
        if not self.bucket_exists(bucket):
            raise FileNotFoundError(f"The bucket {bucket!r} does not exist.")
        with self.lock:
            keys = sorted(
                (name, key) for name, key in self._backend.buckets[bucket].keys.items() if name.startswith(prefix)
            )
        for name, key in keys:
            if hasattr(key, "size"):
                yield StoredObject(name, key.size, key.etag.strip('"'))

    def read(self, bucket: str, key: str) -> bytes:
        """One object's bytes. Raises FileNotFoundError."""
        found = self._backend.get_object(bucket, key) if self.bucket_exists(bucket) else None
        if found is None:
            raise FileNotFoundError(f"s3://{bucket}/{key} does not exist.")
        with self.lock:
            return found.value

    def download(self, bucket: str, key: str, path: Path) -> None:
        """Write one object to a file, making its folders. Raises FileNotFoundError, OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.read(bucket, key))

    def write(self, bucket: str, key: str, body: bytes) -> None:
        """Store one object. Raises FileNotFoundError for a missing bucket."""
        try:
            with self.lock:
                # Left to moto, the digest is made when somebody asks for it, and two who ask at once spoil it.
                etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
                self._backend.put_object(bucket, key, body, etag=etag)
        except ServiceException as error:
            raise FileNotFoundError(f"The bucket {bucket!r} does not exist.") from error
        self._changed()

    def upload(self, path: Path, bucket: str, key: str) -> None:
        self.write(bucket, key, path.read_bytes())
