"""S3's multipart uploads: parts that become one object."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

from local_aws.errors import AwsError
from local_aws.s3 import checksums, errors
from local_aws.s3.bodies import BLOCK, Received
from local_aws.s3.checksums import CHECKSUMS
from local_aws.s3.index import Part, StoredObject, Upload
from local_aws.s3.store import Store, new_id

# AWS: S3 user guide, "Amazon S3 multipart upload limits".
SMALLEST_PART, MOST_PARTS = 5 << 20, 10_000


class Uploads:
    """The uploads that go on."""

    def __init__(self, store: Store) -> None:
        self.store, self.index = store, store.index

    def begin(self, bucket: str, key: str, about: dict[str, Any]) -> Upload:
        upload = Upload(new_id(128), bucket, key, time.time(), about)
        with self.index.lock:
            self.store.buckets.get(bucket)
            self.store.buckets.keep_if_new(bucket)
            with self.index.change():
                self.index.add_upload(upload)
        return upload

    def get(self, bucket: str, key: str, number: str) -> Upload:
        """Raises AwsError."""
        self.store.buckets.get(bucket)
        found = self.index.upload(number)
        if found is None or (found.bucket, found.key) != (bucket, key):
            raise errors.no_such_upload(number)
        return found

    def add_part(self, bucket: str, key: str, upload: str, number: int, body: Received, about: dict[str, Any]) -> Part:
        """Raises AwsError, OSError."""
        try:
            with self.index.lock:
                self.get(bucket, key, upload)
                with self.store.kept(body) as name, self.index.change():
                    part = Part(number, time.time(), body.size, body.md5.hex(), name, about)
                    replaced = self.index.add_part(upload, part)
                if replaced and replaced != part.body:
                    self.store.drop([replaced])
        except BaseException:
            self.store.bodies.discard(body)
            raise
        return part

    def complete(
        self,
        upload: Upload,
        named: list[dict[str, Any]],
        check: Callable[[StoredObject | None], None],
        algorithm: str | None,
        about: Callable[[list[Part], dict[str, str]], dict[str, Any]],
    ) -> StoredObject:
        """Make an object of the parts that are named, in the API's words.

        Parameters: `algorithm` is what the whole gets a checksum of, if any; `about` gives what else to know of it, by
        the parts and that checksum. Raises AwsError.
        """
        composite = upload.about.get("UploadAlgorithm") if algorithm is None else None
        parts = chosen(self.index.parts(upload.id), named, composite)
        etag = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in parts), usedforsecurity=False).hexdigest()
        wanted = [algorithm] if algorithm else []
        try:
            if len(parts) == 1:
                body = Received(parts[0].size, parts[0].body, b"")
                with self.store.bodies.open(body.digest) as file:
                    blocks = iter(lambda: file.read(BLOCK), b"")
                    body.checksums = {each: checksums.of(each, blocks) for each in wanted}
            else:
                body = self.store.bodies.join([part.body for part in parts], wanted)
        except FileNotFoundError:
            raise errors.no_such_upload(upload.id) from None
        try:
            described = about(parts, body.checksums)
        except BaseException:
            self.store.bodies.discard(body)
            raise
        described |= {"Parts": [[part.size, part.about.get("Checksums", {})] for part in parts]}

        def check_both(before: StoredObject | None) -> None:
            if self.index.upload(upload.id) is None:
                raise errors.no_such_upload(upload.id)  # somebody has completed or aborted it meanwhile
            check(before)

        def end() -> list[str]:
            return self.index.remove_upload(upload.id)

        return self.store.put(
            upload.bucket, upload.key, body, described, etag=f"{etag}-{len(parts)}", check=check_both, also=end
        )

    def abort(self, bucket: str, key: str, upload: str) -> None:
        """Raises AwsError."""
        with self.index.lock:
            self.get(bucket, key, upload)
            with self.index.change():
                bodies = self.index.remove_upload(upload)
            self.store.drop(bodies)


def chosen(parts: list[Part], named: list[dict[str, Any]], composite: str | None = None) -> list[Part]:
    """The parts that CompleteMultipartUpload names. Raises AwsError, as AWS does (API reference of it, "Errors").

    Parameters: `composite` is the algorithm whose checksums of the parts the whole one is made of; each is to be named.
    """
    if not named:
        raise errors.malformed_xml()
    known = {part.number: part for part in parts}
    numbers = [each.get("PartNumber") for each in named]
    if numbers != sorted(set(numbers), key=lambda number: number or 0):
        message = "The list of parts was not in ascending order. Parts must be ordered by part number."
        raise AwsError("InvalidPartOrder", message)
    found = []
    for each in named:
        part = known.get(each.get("PartNumber") or 0)
        known_sums = part.about.get("Checksums", {}) if part is not None else {}
        said = {name: each.get(f"Checksum{name}") for name in CHECKSUMS}
        other = any(value and value != known_sums.get(name, value) for name, value in said.items())
        if part is None or other or part.etag != (each.get("ETag") or "").strip('"'):
            raise AwsError(
                "InvalidPart",
                "One or more of the specified parts could not be found.  The part may not have been uploaded, or the "
                "specified entity tag may not match the part's entity tag.",
                PartNumber=each.get("PartNumber"),
            )
        if composite is not None and not said[composite]:
            raise AwsError(
                "InvalidRequest",
                f"The upload was created using a {composite.lower()} checksum. The complete request must include the "
                f"checksum for each part. It was missing for part {part.number} in the request.",
            )
        found.append(part)
    for part in found[:-1]:
        if part.size < SMALLEST_PART:
            raise AwsError(
                "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size",
                ProposedSize=part.size, MinSizeAllowed=SMALLEST_PART, PartNumber=part.number,
            )  # fmt: skip
    return found
