"""S3's operations on single objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local_aws.errors import AwsError
from local_aws.s3 import checksums, content, errors
from local_aws.s3.conditions import byte_range, check_deletion, check_replacement, copy_source, unchanged
from local_aws.s3.index import StoredObject
from local_aws.s3.store import moment, quoted
from local_aws.services.base import Call, Service

CREATED, REMOVED = "s3:ObjectCreated:", "s3:ObjectRemoved:"
MOST_DELETED = MOST_LISTED = 1000
# AWS: CopyObject copies up to 5 GB, "Uploading and copying objects".
LARGEST_COPY = 5 << 30
OVERRIDES = (
    "CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Expires",
)  # fmt: skip
GROUPS = "http://acs.amazonaws.com/groups/global/"


class S3Objects(Service):
    name = "s3"

    # --- store

    def put_object(self, call: Call) -> dict[str, Any]:
        params, store = call.params, self.aws.store
        about = content.described(store, params)
        body, about["Checksums"] = content.receive(store, params, call.headers)
        key, conditions = params["Key"], (params.get("IfMatch"), params.get("IfNoneMatch"))
        found = store.put(
            params["Bucket"], key, body, about, check=lambda before: check_replacement(before, key, *conditions)
        )
        self.aws.store.notify(f"{CREATED}Put", found)
        return {
            "ETag": quoted(found.etag), **content.checksums(found), **content.encryption(about),
            "VersionId": content.version_of(store, found),
        }  # fmt: skip

    def copy_object(self, call: Call) -> dict[str, Any]:
        params, store = call.params, self.aws.store
        source = copy_source(store, params)
        if source.size > LARGEST_COPY:
            message = "The specified copy source is larger than the maximum allowable size for a copy source: "
            raise AwsError("InvalidRequest", f"{message}{LARGEST_COPY}")
        replaces = params.get("MetadataDirective", "COPY") == "REPLACE"
        about = content.described(store, params)
        if not replaces:
            about = about | {name: source.about[name] for name in content.HTTP_MEMBERS if name in source.about}
            about["Metadata"] = source.about.get("Metadata", {})
        if params.get("TaggingDirective", "COPY") == "COPY" and "Tags" in source.about:
            about["Tags"] = source.about["Tags"]
        same = (source.bucket, source.key) == (params["Bucket"], params["Key"]) and source.latest
        changes = ("StorageClass", "ServerSideEncryption", "WebsiteRedirectLocation")
        if same and not replaces and not any(params.get(name) for name in changes):
            raise AwsError(
                "InvalidRequest",
                "This copy request is illegal because it is trying to copy an object to itself without changing the "
                "object's metadata, storage class, website redirect location or encryption attributes.",
            )
        with store.index.lock:
            source, file = store.open_body(source.bucket, source.key, source.version)
            # Held open, the body can be taken again whatever happens to the source.
        with file:
            # AWS: CopyObject, "ChecksumAlgorithm": without one the copy has the source's, always of the whole object.
            algorithms = [params["ChecksumAlgorithm"]] if params.get("ChecksumAlgorithm") else None
            body = store.bodies.receive(file, algorithms or source.about.get("Checksums") or [checksums.DEFAULT])
        about["Checksums"] = body.checksums
        key, conditions = params["Key"], (params.get("IfMatch"), params.get("IfNoneMatch"))
        found = store.put(
            params["Bucket"], key, body, about, check=lambda before: check_replacement(before, key, *conditions)
        )
        store.notify(f"{CREATED}Copy", found)
        result = {"ETag": quoted(found.etag), "LastModified": moment(found.modified), **content.checksums(found)}
        return {
            "CopyObjectResult": result, **content.encryption(about), "VersionId": content.version_of(store, found),
            "CopySourceVersionId": content.version_of(store, source),
        }  # fmt: skip

    # --- read

    def get_object(self, call: Call) -> dict[str, Any]:
        params, store = call.params, self.aws.store
        self._found(call)
        found, file = store.open_body(params["Bucket"], params["Key"], params.get("VersionId"))
        try:
            answer, start = self._answer(call, found)
            if answer.get("Status") == 304:
                file.close()
                return answer
            file.seek(start)
        except BaseException:
            file.close()
            raise
        return answer | {"Body": file}

    def head_object(self, call: Call) -> dict[str, Any]:
        answer, _ = self._answer(call, self._found(call))
        return answer

    def _found(self, call: Call) -> StoredObject:
        """The object that a call reads. Raises AwsError."""
        params, store = call.params, self.aws.store
        version = params.get("VersionId")
        found = store.get(params["Bucket"], params["Key"], version)
        if found.marker:
            # AWS: S3 user guide, "Working with delete markers".
            about = [("x-amz-delete-marker", "true"), ("x-amz-version-id", found.version)]
            if version is None:
                error = errors.no_such_key(params["Key"])
            else:
                message = "The specified method is not allowed against this resource."
                error = AwsError("MethodNotAllowed", message, status=405)
                about += [("Allow", "DELETE"), ("Last-Modified", f"{moment(found.modified):%a, %d %b %Y %H:%M:%S GMT}")]
            error.headers = about
            raise error
        return found

    def _answer(self, call: Call, found: StoredObject) -> tuple[dict[str, Any], int]:
        """What is said of an object, and where in its body the answer begins."""
        params = call.params
        if unchanged(found, params):
            version = content.version_of(self.aws.store, found)
            said = {"ETag": quoted(found.etag), "LastModified": moment(found.modified), "VersionId": version}
            return said | {"Status": 304}, 0
        answer = content.headers(self.aws.store, found)
        for name in OVERRIDES:
            if params.get(f"Response{name}") is not None:
                value = params[f"Response{name}"]
                answer[name] = _override(value) if isinstance(value, str) else value
        start, end = 0, found.size
        if params.get("PartNumber") is not None:
            start, end, parts = _part(found, params["PartNumber"])
            answer |= {"Status": 206, "PartsCount": parts}
        elif (asked := byte_range(params.get("Range"), found.size)) is not None:
            start, end = asked
            answer["Status"] = 206
        if "Status" in answer:
            answer["Headers"] = [("Content-Range", f"bytes {start}-{end - 1}/{found.size}")]
        answer["ContentLength"] = end - start
        if params.get("ChecksumMode") == "ENABLED" and end - start == found.size:
            answer |= content.checksums(found)
        if params.get("PartNumber") is not None and found.size == 0:
            answer.pop("Headers")
        return answer, start

    def get_object_attributes(self, call: Call) -> dict[str, Any]:
        found, wanted = self._found(call), set(call.params["ObjectAttributes"])
        answer: dict[str, Any] = {
            "LastModified": moment(found.modified), "VersionId": content.version_of(self.aws.store, found)
        }  # fmt: skip
        if "ETag" in wanted:
            answer["ETag"] = found.etag
        if "Checksum" in wanted:
            answer["Checksum"] = content.checksums(found) or None
        if "ObjectSize" in wanted:
            answer["ObjectSize"] = found.size
        if "StorageClass" in wanted:
            answer["StorageClass"] = found.about.get("StorageClass", "STANDARD")
        if "ObjectParts" in wanted and "Parts" in found.about:
            answer["ObjectParts"] = _parts(found, call.params)
        return answer

    # --- delete

    def delete_object(self, call: Call) -> dict[str, Any]:
        params = call.params
        return self._delete(params["Bucket"], params["Key"], params.get("VersionId"), params.get("IfMatch"))

    def delete_objects(self, call: Call) -> dict[str, Any]:
        asked = call.params.get("Delete") or {}
        objects = asked.get("Objects") or []
        if not 1 <= len(objects) <= MOST_DELETED:
            raise errors.malformed_xml()
        deleted, failed = [], []
        for each in objects:
            named = {name: each[name] for name in ("Key", "VersionId") if each.get(name)}
            action = "s3:DeleteObjectVersion" if each.get("VersionId") else "s3:DeleteObject"
            denied = call.denied.get((action, f"arn:aws:s3:::{call.params['Bucket']}/{each['Key']}"))
            try:
                if denied is not None:
                    raise denied
                done = self._delete(call.params["Bucket"], each["Key"], each.get("VersionId"), each.get("ETag"))
            except AwsError as error:
                failed.append(named | {"Code": error.code, "Message": error.message})
                continue
            if done.get("DeleteMarker"):
                named |= {"DeleteMarker": True, "DeleteMarkerVersionId": done["VersionId"]}
            deleted.append(named)
        return {"Deleted": [] if asked.get("Quiet") else deleted, "Errors": failed}

    def _delete(self, bucket: str, key: str, version: str | None, if_match: str | None) -> dict[str, Any]:
        store = self.aws.store
        found = store.delete(bucket, key, version, lambda before: check_deletion(before, if_match))
        if found is None:
            return {"VersionId": version}
        if version is None and found.marker:
            self.aws.store.notify(f"{REMOVED}DeleteMarkerCreated", found)
        else:
            self.aws.store.notify(f"{REMOVED}Delete", found)
        return {"DeleteMarker": found.marker or None, "VersionId": content.version_of(store, found)}

    # --- tags and ACLs

    def resource_tags(self, arn: str) -> Mapping[str, str] | None:
        """An object's, by its ARN, for s3:ExistingObjectTag."""
        bucket, slash, key = arn.partition(":::")[2].partition("/")
        if not slash:
            return None
        try:
            return self.aws.store.get(bucket, key).about.get("Tags", {})
        except AwsError:
            return None

    def get_object_tagging(self, call: Call) -> dict[str, Any]:
        found = self._found(call)
        tags = [{"Key": key, "Value": value} for key, value in found.about.get("Tags", {}).items()]
        return {"TagSet": tags, "VersionId": content.version_of(self.aws.store, found)}

    def put_object_tagging(self, call: Call) -> dict[str, Any]:
        asked = (call.params.get("Tagging") or {}).get("TagSet") or []
        tags = content.check_tags([(each.get("Key", ""), each.get("Value", "")) for each in asked])
        return self._change(call, "Tags", tags, "s3:ObjectTagging:Put")

    def delete_object_tagging(self, call: Call) -> dict[str, Any]:
        return self._change(call, "Tags", {}, "s3:ObjectTagging:Delete") | {"Status": 204}

    def get_object_acl(self, call: Call) -> dict[str, Any]:
        found = self._found(call)
        # AWS: access control list (ACL) overview, "Canonical user": an account's own; which one means nothing here.
        owner = {"ID": self.aws.account}
        grants = [{"Grantee": owner | {"Type": "CanonicalUser"}, "Permission": "FULL_CONTROL"}]
        name = found.about.get("ACL", "private")
        if name.startswith("public-read"):
            grants.append({"Grantee": {"Type": "Group", "URI": f"{GROUPS}AllUsers"}, "Permission": "READ"})
        if name == "public-read-write":
            grants.append({"Grantee": {"Type": "Group", "URI": f"{GROUPS}AllUsers"}, "Permission": "WRITE"})
        if name == "authenticated-read":
            grants.append({"Grantee": {"Type": "Group", "URI": f"{GROUPS}AuthenticatedUsers"}, "Permission": "READ"})
        return {"Owner": owner, "Grants": grants}

    def put_object_acl(self, call: Call) -> dict[str, Any]:
        if call.params.get("ACL") is None:
            raise errors.not_implemented("grants; give a canned ACL (PutObjectAcl)")
        self._change(call, "ACL", content.check_acl(call.params["ACL"]), "s3:ObjectAcl:Put")
        return {}

    def _change(self, call: Call, name: str, value: Any, event: str) -> dict[str, Any]:
        """Say something else of an object that is there."""
        with self.aws.store.index.lock:
            found = self._found(call)
            found.about[name] = value
            self.aws.store.buckets.keep_if_new(found.bucket)
            self.aws.store.describe(found)
        self.aws.store.notify(event, found)
        return {"VersionId": content.version_of(self.aws.store, found)}


def _override(value: str) -> str:
    """A header that a caller has put into an address. Raises AwsError for what would be several."""
    if not value.isprintable():
        raise AwsError("InvalidArgument", "Header value cannot be represented.", ArgumentValue=value)
    # HTTP's headers are bytes; WSGI has each as a character (PEP 3333).
    return value.encode().decode("latin-1")


def _parts(found: StoredObject, params: dict[str, Any]) -> dict[str, Any]:
    """An object's parts; each by itself where it has a checksum, as AWS has it (GetObjectAttributesParts)."""
    parts, after = found.about["Parts"], params.get("PartNumberMarker", 0)
    most = min(params.get("MaxParts", MOST_LISTED), MOST_LISTED)
    if not any(sums for _, sums in parts):
        return {"TotalPartsCount": len(parts)}
    listed = [
        {"PartNumber": number, "Size": size, **{f"Checksum{name}": value for name, value in sums.items()}}
        for number, (size, sums) in enumerate(parts, 1)
        if number > after
    ]
    return {
        "TotalPartsCount": len(parts), "PartNumberMarker": after, "MaxParts": most,
        "IsTruncated": len(listed) > most, "Parts": listed[:most],
        "NextPartNumberMarker": after + len(listed[:most]),
    }  # fmt: skip


def _part(found: StoredObject, number: int) -> tuple[int, int, int | None]:
    """(start, end, how many parts) of a part of an object. Raises AwsError."""
    parts = found.about.get("Parts")
    sizes = [size for size, _ in parts] if parts else [found.size]
    if not 1 <= number <= len(sizes):
        raise AwsError(
            "InvalidPartNumber", "The requested partnumber is not satisfiable", status=416, PartNumberRequested=number,
            ActualPartCount=len(sizes),
        )  # fmt: skip
    start = sum(sizes[: number - 1])
    return start, start + sizes[number - 1], len(sizes) if parts else None
