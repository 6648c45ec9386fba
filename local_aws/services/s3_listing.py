"""S3's lists of objects and of their versions."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from local_aws.s3 import errors
from local_aws.s3.index import StoredObject
from local_aws.s3.store import moment, quoted
from local_aws.services.base import Call, Service

MOST_KEYS = 1000
# The greatest character there is: after it no key with this prefix comes.
LAST = "\U0010ffff"


@dataclass
class Page:
    """One answer's share of a list."""

    objects: list[StoredObject] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    truncated: bool = False
    last: str = ""
    """The key or the common prefix after which the next page begins."""
    last_version: str = ""

    def __len__(self) -> int:
        return len(self.objects) + len(self.prefixes)


class S3Listing(Service):
    name = "s3"

    def list_objects_v2(self, call: Call) -> dict[str, Any]:
        params = call.params
        token, after = params.get("ContinuationToken"), params.get("StartAfter", "")
        page = self._page(call, _decoded(token) if token is not None else after)
        answer = self._answer(call, page, owners=params.get("FetchOwner", False))
        answer |= {"KeyCount": len(page), "ContinuationToken": token, "StartAfter": params.get("StartAfter")}
        if page.truncated:
            answer["NextContinuationToken"] = base64.b64encode(page.last.encode()).decode()
        return encoded(answer, params)

    def list_objects(self, call: Call) -> dict[str, Any]:
        marker = call.params.get("Marker", "")
        page = self._page(call, marker)
        answer = self._answer(call, page, owners=True) | {"Marker": marker}
        if page.truncated and call.params.get("Delimiter"):
            answer["NextMarker"] = page.last
        return encoded(answer, call.params)

    def list_object_versions(self, call: Call) -> dict[str, Any]:
        params, store = call.params, self.aws.store
        bucket, prefix, marker = params["Bucket"], params.get("Prefix", ""), params.get("KeyMarker", "")
        version = params.get("VersionIdMarker")
        if version and not marker:
            message = "A version-id marker cannot be specified without a key marker."
            raise errors.invalid_argument("version-id-marker", version, message)
        store.buckets.get(bucket)

        def rows(after: str) -> Iterator[StoredObject]:
            return store.versions(bucket, prefix, after, version if after == marker else None)

        page = paged(rows, marker, prefix, params.get("Delimiter"), _size(call))
        listed = [_listed(each, owner=self.aws.account) | {"VersionId": each.version, "IsLatest": each.latest}
                  for each in page.objects]  # fmt: skip
        markers = [
            {name: said[name] for name in ("Key", "VersionId", "IsLatest", "LastModified", "Owner")}
            for said, each in zip(listed, page.objects, strict=True)
            if each.marker
        ]
        answer = self._answer(call, page, owners=True)
        answer |= {
            "Contents": None, "KeyMarker": marker, "VersionIdMarker": version or "", "DeleteMarkers": markers,
            "Versions": [said for said, each in zip(listed, page.objects, strict=True) if not each.marker],
        }  # fmt: skip
        if page.truncated:
            answer |= {"NextKeyMarker": page.last, "NextVersionIdMarker": page.last_version or None}
        return encoded(answer, params)

    def _page(self, call: Call, after: str) -> Page:
        store, params = self.aws.store, call.params
        store.buckets.get(params["Bucket"])
        prefix = params.get("Prefix", "")

        def rows(after: str) -> Iterator[StoredObject]:
            return store.latest(params["Bucket"], prefix, after)

        return paged(rows, after, prefix, params.get("Delimiter"), _size(call))

    def _answer(self, call: Call, page: Page, *, owners: bool) -> dict[str, Any]:
        params = call.params
        return {
            "Name": params["Bucket"], "Prefix": params.get("Prefix", ""), "Delimiter": params.get("Delimiter"),
            "MaxKeys": params.get("MaxKeys", MOST_KEYS), "EncodingType": params.get("EncodingType"),
            "IsTruncated": page.truncated, "CommonPrefixes": [{"Prefix": each} for each in page.prefixes],
            "Contents": [_listed(each, owner=self.aws.account if owners else None) for each in page.objects],
        }  # fmt: skip


def paged(
    rows: Callable[[str], Iterator[StoredObject]], after: str, prefix: str, delimiter: str | None, size: int
) -> Page:
    """One page of a list.

    Parameters: `rows(after)` gives what comes after a key, in order; `after` where the page begins.
    """
    page, found = Page(), rows(after)
    if size == 0:
        return page
    if delimiter and after.startswith(prefix) and after.endswith(delimiter):
        # The page before has ended with a common prefix: what is below it is in that page already.
        common = common_prefix(after, prefix, delimiter)
        if common == after:
            found = rows(after + LAST)
    while (each := next(found, None)) is not None:
        if len(page) == size:
            page.truncated = True
            return page
        common = common_prefix(each.key, prefix, delimiter)
        if common is None:
            page.objects.append(each)
            page.last, page.last_version = each.key, each.version
        else:
            page.prefixes.append(common)
            page.last, page.last_version = common, ""
            # No row of all that are below it is read.
            found = rows(common + LAST)
    return page


def common_prefix(key: str, prefix: str, delimiter: str | None) -> str | None:
    """What a list has in place of a key: it up to the first delimiter after the prefix; None where there is none."""
    if not delimiter:
        return None
    at = key.find(delimiter, len(prefix))
    return None if at < 0 else key[: at + len(delimiter)]


def _size(call: Call) -> int:
    asked = call.params.get("MaxKeys", MOST_KEYS)
    if asked < 0:
        raise errors.invalid_argument("max-keys", asked, "Argument maxKeys must be an integer between 0 and 2147483647")
    return min(asked, MOST_KEYS)


def _listed(found: StoredObject, *, owner: str | None) -> dict[str, Any]:
    said = {
        "Key": found.key, "LastModified": moment(found.modified), "ETag": quoted(found.etag), "Size": found.size,
        "StorageClass": found.about.get("StorageClass", "STANDARD"),
    }  # fmt: skip
    if known := found.about.get("Checksums"):
        said |= {"ChecksumAlgorithm": list(known), "ChecksumType": found.about.get("ChecksumType", "FULL_OBJECT")}
    if owner is not None:
        said["Owner"] = {"ID": owner}
    return said


def _decoded(token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise errors.invalid_argument(
            "continuation-token", token, "The continuation token provided is incorrect"
        ) from None


def encoded(answer: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """An answer with its keys as the caller wants them (AWS: ListObjectsV2, EncodingType)."""
    kind = params.get("EncodingType")
    if kind is None:
        return answer
    if kind != "url":
        raise errors.invalid_argument("encoding-type", kind, "Invalid Encoding Method specified in Request")
    for name in ("Prefix", "Delimiter", "Marker", "NextMarker", "StartAfter", "KeyMarker", "NextKeyMarker"):
        if answer.get(name):
            answer[name] = quote(answer[name])
    lists = {"Contents": "Key", "Versions": "Key", "DeleteMarkers": "Key", "Uploads": "Key", "CommonPrefixes": "Prefix"}
    for name, member in lists.items():
        for each in answer.get(name) or ():
            each[member] = quote(each[member])
    return answer
