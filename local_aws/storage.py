"""S3 as the local AWS's own services use it: straight from the store, without HTTP in between.

What SageMaker does in a role's name goes through `Storage.under`: it may do what the role may.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

from local_aws.errors import AwsError
from local_aws.iam.acting import Acting
from local_aws.s3.bodies import Received
from local_aws.s3.content import DEFAULT_TYPE
from local_aws.s3.store import Store


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

    Parameters: `acting` is the role in whose name it does; None for this AWS itself. Every method but `bucket_exists`
    raises AccessDenied for what a role may not do.
    """

    def __init__(self, store: Store, acting: Acting | None = None) -> None:
        self._store, self._acting = store, acting

    def under(self, acting: Acting | None) -> Storage:
        """The same buckets, in a role's name."""
        return Storage(self._store, acting)

    def bucket_exists(self, bucket: str) -> bool:
        return self._store.buckets.exists(bucket)

    def list(self, bucket: str, prefix: str = "") -> Iterator[StoredObject]:
        """Every object under a prefix, in key order. Raises FileNotFoundError for a missing bucket."""
        if not self.bucket_exists(bucket):
            raise FileNotFoundError(f"The bucket {bucket!r} does not exist.")
        self._ask("ListObjectsV2", Bucket=bucket, Prefix=prefix)
        for each in self._store.latest(bucket, prefix):
            yield StoredObject(each.key, each.size, each.etag)

    def read(self, bucket: str, key: str) -> bytes:
        """One object's bytes. Raises FileNotFoundError."""
        self._ask("GetObject", Bucket=bucket, Key=key)
        try:
            _, body = self._store.open_body(bucket, key)
        except AwsError:
            raise FileNotFoundError(f"s3://{bucket}/{key} does not exist.") from None
        with body:
            return body.read()

    def download(self, bucket: str, key: str, path: Path) -> None:
        """Write one object to a file, making its folders. Raises FileNotFoundError, OSError."""
        self._ask("GetObject", Bucket=bucket, Key=key)
        try:
            _, body = self._store.open_body(bucket, key)
        except AwsError:
            raise FileNotFoundError(f"s3://{bucket}/{key} does not exist.") from None
        with body:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                shutil.copyfileobj(body, file, 1 << 20)

    def write(self, bucket: str, key: str, body: bytes) -> None:
        """Store one object. Raises FileNotFoundError for a missing bucket, OSError."""
        self._ask("PutObject", Bucket=bucket, Key=key)
        received = self._store.bodies.receive(io.BytesIO(body))
        self._put(bucket, key, received)

    def upload(self, path: Path, bucket: str, key: str) -> None:
        """Store a file as an object. Raises FileNotFoundError for a missing file or bucket, OSError."""
        self._ask("PutObject", Bucket=bucket, Key=key)
        with path.open("rb") as file:
            received = self._store.bodies.receive(file)
        self._put(bucket, key, received)

    def _ask(self, operation: str, **params: str) -> None:
        if self._acting is not None:
            self._acting.call("s3", operation, **params)

    def _put(self, bucket: str, key: str, received: Received) -> None:
        try:
            about = self._store.buckets.encryption(self._store.buckets.get(bucket))
            found = self._store.put(bucket, key, received, {"ContentType": DEFAULT_TYPE, **about})
            self._store.notify("s3:ObjectCreated:Put", found)
        except AwsError as error:
            self._store.bodies.discard(received)
            raise FileNotFoundError(f"The bucket {bucket!r} does not exist.") from error
