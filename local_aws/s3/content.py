"""What is said of an object besides its body: what its request says is recorded or checked, and given back as it was.

In the words of S3's API throughout; `StoredObject.about` has it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from local_aws.errors import AwsError
from local_aws.s3 import checksums as integrity
from local_aws.s3 import errors
from local_aws.s3.bodies import Received
from local_aws.s3.checksums import CHECKSUMS
from local_aws.s3.chunked import Chunked
from local_aws.s3.index import StoredObject
from local_aws.s3.store import Store, moment, quoted

# Content-Type and the like: what HTTP says of a body.
HTTP_MEMBERS = (
    "CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Expires",
)  # fmt: skip
ENCRYPTION = ("ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled")
RECORDED = (*HTTP_MEMBERS, *ENCRYPTION, "WebsiteRedirectLocation")
DEFAULT_TYPE = "binary/octet-stream"
# AWS: S3 user guide, "Understanding and managing Amazon S3 storage classes". Archived objects are not to be had here.
STORAGE_CLASSES = {
    "STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR",
}  # fmt: skip
ARCHIVES = {"GLACIER", "DEEP_ARCHIVE", "OUTPOSTS", "SNOW", "EXPRESS_ONEZONE", "FSX_OPENZFS", "FSX_ONTAP"}
CANNED_ACLS = {
    "private", "public-read", "public-read-write", "authenticated-read", "aws-exec-read", "bucket-owner-read",
    "bucket-owner-full-control",
}  # fmt: skip
# Members that would change who can read an object, or for how long it stays: nothing of it is ignored.
SSE_C = "encryption with keys of customers (SSE-C)"
REFUSED = {
    "SSECustomerKey": SSE_C, "SSECustomerAlgorithm": SSE_C, "SSECustomerKeyMD5": SSE_C,
    "CopySourceSSECustomerKey": SSE_C, "CopySourceSSECustomerAlgorithm": SSE_C, "CopySourceSSECustomerKeyMD5": SSE_C,
    "ObjectLockMode": "Object Lock", "ObjectLockRetainUntilDate": "Object Lock",
    "ObjectLockLegalHoldStatus": "Object Lock", "BypassGovernanceRetention": "Object Lock", "MFA": "MFA delete",
    "ObjectLockEventHold": "Object Lock", "ObjectLockEventHoldDurationDays": "Object Lock",
    "ObjectLockEventHoldDurationYears": "Object Lock",
    "GrantFullControl": "grants; give a canned ACL", "GrantRead": "grants; give a canned ACL",
    "GrantReadACP": "grants; give a canned ACL", "GrantWriteACP": "grants; give a canned ACL",
    "GrantWrite": "grants; give a canned ACL", "AccessControlPolicy": "grants; give a canned ACL",
    "WriteOffsetBytes": "appending to objects",
    "SSEKMSEncryptionContext": "encryption contexts", "AnnotationDirective": "annotations of objects",
    "IfMatchLastModifiedTime": "conditions of directory buckets", "IfMatchSize": "conditions of directory buckets",
    "IfMatchInitiatedTime": "conditions of directory buckets",
}  # fmt: skip
# AWS: S3 user guide, "Categorizing your objects using tags".
MOST_TAGS, LONGEST_TAG, LONGEST_VALUE = 10, 128, 256


def refuse(params: dict[str, Any]) -> None:
    """Raise AwsError for what is not supported."""
    for name, what in REFUSED.items():
        if params.get(name) is not None:
            raise errors.not_implemented(f"{what} ({name})")


def described(store: Store, params: dict[str, Any]) -> dict[str, Any]:
    """What a request that stores an object says of it. Raises AwsError."""
    about = {name: params[name] for name in RECORDED if params.get(name) is not None}
    about.setdefault("ContentType", DEFAULT_TYPE)
    # What the SDKs call a body in chunks is none of the object's own.
    encodings = about.pop("ContentEncoding", "").split(",")
    encodings = [each for each in encodings if each.strip() not in {"aws-chunked", ""}]
    if encodings:
        about["ContentEncoding"] = ",".join(encodings)
    if "ServerSideEncryption" not in about:
        about |= store.buckets.encryption(store.buckets.get(params["Bucket"]))
    kind = params.get("StorageClass", "STANDARD")
    if kind in ARCHIVES:
        raise errors.not_implemented(f"the storage class {kind}")
    if kind not in STORAGE_CLASSES:
        message = "The storage class you specified is not valid"
        raise AwsError("InvalidStorageClass", message, StorageClassRequested=kind)
    if kind != "STANDARD":
        about["StorageClass"] = kind
    if params.get("Metadata"):
        about["Metadata"] = dict(params["Metadata"])
    if params.get("Tagging"):
        about["Tags"] = check_tags(parse_qsl(params["Tagging"], keep_blank_values=True))
    if params.get("ACL"):
        about["ACL"] = check_acl(params["ACL"])
    return about


def check_acl(name: str) -> str:
    """Raises AwsError."""
    if name not in CANNED_ACLS:
        raise errors.invalid_argument("x-amz-acl", name, "")
    return name


def check_tags(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Raises AwsError."""
    tags = dict(pairs)
    if len(tags) != len(pairs):
        raise AwsError("InvalidTag", "Cannot provide multiple Tags with the same key")
    if len(tags) > MOST_TAGS:
        raise AwsError("BadRequest", "Object tags cannot be greater than 10")
    for key, value in tags.items():
        if not 1 <= len(key) <= LONGEST_TAG:
            raise AwsError("InvalidTag", "The TagKey you have provided is invalid")
        if len(value) > LONGEST_VALUE:
            raise AwsError("InvalidTag", "The TagValue you have provided is invalid")
        if key.lower().startswith("aws:"):
            raise AwsError("InvalidTag", "System tags cannot be added/updated by requester")
    return tags


def receive(
    store: Store, params: dict[str, Any], headers: dict[str, str], also: str | None = None
) -> tuple[Received, dict[str, str]]:
    """A request's body, and its checksum by algorithm: the one it came with, `also`, or what S3 gives without one.

    Raises AwsError, OSError.
    """
    stream, chunked = params["Body"], None
    sent_as = headers.get("x-amz-content-sha256", "")
    if sent_as.startswith("STREAMING-") or "aws-chunked" in headers.get("content-encoding", ""):
        stream = chunked = Chunked(stream)
    values = {each: value for each in CHECKSUMS if (value := params.get(f"Checksum{each}")) is not None}
    algorithm, value = integrity.given(values, headers.get("x-amz-trailer"), params.get("ChecksumAlgorithm"))
    if also is not None and algorithm not in {None, also}:
        raise AwsError(
            "InvalidRequest",
            f"Checksum Type mismatch occurred, expected checksum Type: {also.lower()}, actual checksum Type: "
            f"{str(algorithm).lower()}",
        )
    body = store.bodies.receive(stream, {algorithm or also or integrity.DEFAULT})
    try:
        if chunked is not None:
            if algorithm is not None and value is None:
                name = f"{integrity.PREFIX}{algorithm.lower()}"
                value = integrity.check_trailer(algorithm, chunked.trailers.get(name))
            expected = headers.get("x-amz-decoded-content-length")
            if expected is not None and expected != str(body.size):
                raise errors.incomplete_body()
        if algorithm is not None and value is not None:
            integrity.check(algorithm, value, body.checksums[algorithm])
        integrity.check_md5(params.get("ContentMD5"), body.md5)
        if len(sent_as) == 64 and sent_as.lower() != body.digest:
            message = "The provided 'x-amz-content-sha256' header does not match what was computed."
            raise AwsError("XAmzContentSHA256Mismatch", message)
    except BaseException:
        store.bodies.discard(body)
        raise
    return body, body.checksums


def checksums(found: StoredObject) -> dict[str, Any]:
    """An object's checksums, as members of an answer."""
    known = found.about.get("Checksums") or {}
    if not known:
        return {}
    return {f"Checksum{name}": value for name, value in known.items()} | {
        "ChecksumType": found.about.get("ChecksumType", "FULL_OBJECT")
    }


def encryption(about: dict[str, Any]) -> dict[str, Any]:
    return {name: about[name] for name in ENCRYPTION if about.get(name) is not None}


def version_of(store: Store, found: StoredObject) -> str | None:
    """The version that an answer names: none in a bucket that never had any."""
    return found.version if store.buckets.get(found.bucket).versioning_status else None


def headers(store: Store, found: StoredObject) -> dict[str, Any]:
    """What GetObject and HeadObject say of an object, but of its body's length and its checksums."""
    about = found.about
    return {
        **{name: about[name] for name in RECORDED if about.get(name) is not None},
        "AcceptRanges": "bytes",
        "ETag": quoted(found.etag),
        "LastModified": moment(found.modified),
        "Metadata": about.get("Metadata", {}),
        "StorageClass": about.get("StorageClass"),
        "TagCount": len(about.get("Tags", {})) or None,
        "VersionId": version_of(store, found),
    }
