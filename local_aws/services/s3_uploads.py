"""S3's multipart uploads."""

from __future__ import annotations

from typing import Any

from local_aws.errors import AwsError
from local_aws.s3 import checksums, content, errors
from local_aws.s3.bodies import Received
from local_aws.s3.conditions import byte_range, check_replacement, copy_source
from local_aws.s3.index import Part, Upload
from local_aws.s3.store import moment, quoted
from local_aws.s3.uploads import MOST_PARTS, Uploads
from local_aws.services.base import Call, Service
from local_aws.services.s3_listing import common_prefix, encoded
from local_aws.services.s3_objects import CREATED

MOST_LISTED = 1000


class S3Uploads(Service):
    name = "s3"

    @property
    def _uploads(self) -> Uploads:
        return Uploads(self.aws.store)

    def create_multipart_upload(self, call: Call) -> dict[str, Any]:
        params = call.params
        about = content.described(self.aws.store, params)
        algorithm = (params.get("ChecksumAlgorithm") or "").upper() or None
        kind = checksums.kind_of(algorithm, params.get("ChecksumType"))
        if algorithm:
            about |= {"UploadAlgorithm": algorithm, "ChecksumType": kind}
        upload = self._uploads.begin(params["Bucket"], params["Key"], about)
        return {
            "Bucket": upload.bucket, "Key": upload.key, "UploadId": upload.id, "ChecksumAlgorithm": algorithm,
            "ChecksumType": kind, **content.encryption(about),
        }  # fmt: skip

    def upload_part(self, call: Call) -> dict[str, Any]:
        params, store = call.params, self.aws.store
        upload = self._uploads.get(params["Bucket"], params["Key"], params["UploadId"])
        _check_number(params["PartNumber"])
        body, sums = content.receive(store, params, call.headers, upload.about.get("UploadAlgorithm"))
        part = self._add(call, body, sums)
        return {
            "ETag": quoted(part.etag), **{f"Checksum{name}": value for name, value in sums.items()},
            **content.encryption(upload.about),
        }  # fmt: skip

    def upload_part_copy(self, call: Call) -> dict[str, Any]:
        params, store = call.params, self.aws.store
        upload = self._uploads.get(params["Bucket"], params["Key"], params["UploadId"])
        _check_number(params["PartNumber"])
        source = copy_source(store, params)
        asked = params.get("CopySourceRange")
        start, end = byte_range(asked, source.size) or (0, source.size)
        if asked is not None and not asked.endswith(f"-{end - 1}"):
            raise AwsError("InvalidArgument", f"Range specified is not valid for source object of size: {source.size}")
        algorithm = {upload.about.get("UploadAlgorithm", checksums.DEFAULT)}
        source, file = store.open_body(source.bucket, source.key, source.version)
        with file:
            file.seek(start)
            body = store.bodies.receive(_Limited(file, end - start), algorithm)
        part = self._add(call, body, body.checksums)
        return {
            "CopyPartResult": {
                "ETag": quoted(part.etag), "LastModified": moment(part.modified),
                **{f"Checksum{name}": value for name, value in part.about.get("Checksums", {}).items()},
            },
            "CopySourceVersionId": content.version_of(store, source), **content.encryption(upload.about),
        }  # fmt: skip

    def _add(self, call: Call, body: Received, sums: dict[str, str]) -> Part:
        params = call.params
        about = {"Checksums": sums} if sums else {}
        return self._uploads.add_part(
            params["Bucket"], params["Key"], params["UploadId"], params["PartNumber"], body, about
        )

    def complete_multipart_upload(self, call: Call) -> dict[str, Any]:
        params, store = call.params, self.aws.store
        upload = self._uploads.get(params["Bucket"], params["Key"], params["UploadId"])
        known = dict(upload.about)
        algorithm, kind = known.pop("UploadAlgorithm", checksums.DEFAULT), known.get("ChecksumType", "FULL_OBJECT")
        if params.get("ChecksumType", kind) != kind:
            raise AwsError(
                "InvalidRequest",
                f"The upload was created using the {kind} checksum mode. The complete request must use the same "
                "checksum mode.",
            )
        # A composite one may be given with its count of parts, or without.
        values = {
            each: value.partition("-")[0]
            for each in checksums.CHECKSUMS
            if (value := params.get(f"Checksum{each}")) is not None
        }
        given = checksums.given(values, None, None)
        if given[0] not in {None, algorithm}:
            message = f"Checksum Type mismatch occurred, expected checksum Type: {algorithm.lower()}, actual checksum "
            raise AwsError("InvalidRequest", f"{message}Type: {str(given[0]).lower()}")

        def about(parts: list[Part], whole: dict[str, str]) -> dict[str, Any]:
            if kind == "COMPOSITE":
                whole = {
                    algorithm: checksums.composite(algorithm, [part.about["Checksums"][algorithm] for part in parts])
                }
            if given[1] is not None:
                checksums.check(algorithm, given[1], whole[algorithm].partition("-")[0])
            size = params.get("MpuObjectSize")
            computed = sum(part.size for part in parts)
            if size is not None and size != computed:
                said = f"The provided 'x-amz-mp-object-size' header value {size} does not match what was computed"
                raise AwsError("InvalidRequest", f"{said}: {computed}")
            return known | {"Checksums": whole}

        found = self._uploads.complete(
            upload, (params.get("MultipartUpload") or {}).get("Parts") or [],
            lambda before: check_replacement(before, upload.key, params.get("IfMatch"), params.get("IfNoneMatch")),
            algorithm if kind == "FULL_OBJECT" else None, about,
        )  # fmt: skip
        store.notify(f"{CREATED}CompleteMultipartUpload", found)
        return {
            "Location": f"{self.aws.url_for(call.headers)}/{found.bucket}/{found.key}", "Bucket": found.bucket,
            "Key": found.key, "ETag": quoted(found.etag), **content.checksums(found),
            **content.encryption(found.about), "VersionId": content.version_of(store, found),
        }  # fmt: skip

    def abort_multipart_upload(self, call: Call) -> dict[str, Any]:
        self._uploads.abort(call.params["Bucket"], call.params["Key"], call.params["UploadId"])
        return {}

    def list_parts(self, call: Call) -> dict[str, Any]:
        params = call.params
        upload = self._uploads.get(params["Bucket"], params["Key"], params["UploadId"])
        marker, most = params.get("PartNumberMarker", 0), min(params.get("MaxParts", MOST_LISTED), MOST_LISTED)
        parts = [part for part in self._uploads.index.parts(upload.id) if part.number > int(marker)]
        listed = parts[:most]
        owner = {"ID": self.aws.account}
        return {
            "Bucket": upload.bucket, "Key": upload.key, "UploadId": upload.id, "PartNumberMarker": marker,
            "NextPartNumberMarker": listed[-1].number if listed else 0, "MaxParts": most,
            "IsTruncated": len(parts) > len(listed), "Initiator": owner, "Owner": owner,
            "StorageClass": upload.about.get("StorageClass", "STANDARD"),
            "ChecksumAlgorithm": upload.about.get("UploadAlgorithm"), "ChecksumType": upload.about.get("ChecksumType"),
            "Parts": [
                {
                    "PartNumber": part.number, "LastModified": moment(part.modified), "ETag": quoted(part.etag),
                    "Size": part.size,
                    **{f"Checksum{name}": value for name, value in part.about.get("Checksums", {}).items()},
                }
                for part in listed
            ],
        }  # fmt: skip

    def list_multipart_uploads(self, call: Call) -> dict[str, Any]:
        params, store = call.params, self.aws.store
        store.buckets.get(params["Bucket"])
        prefix, most = params.get("Prefix", ""), min(params.get("MaxUploads", MOST_LISTED), MOST_LISTED)
        delimiter, marker, after = params.get("Delimiter"), params.get("KeyMarker", ""), params.get("UploadIdMarker")
        found = [each for each in store.index.uploads(params["Bucket"]) if each.key.startswith(prefix)]
        if after:
            numbers = [each.id for each in found]
            found = found[numbers.index(after) + 1 :] if after in numbers else found
        elif marker:
            # A marker may be a common prefix: what is below it is in the page that has ended with it.
            found = [each for each in found
                     if each.key > marker and common_prefix(each.key, prefix, delimiter) != marker]  # fmt: skip
        entries: dict[str, Upload] = {}
        for each in found:
            entries.setdefault(common_prefix(each.key, prefix, delimiter) or each.id, each)
        listed, owner = dict(list(entries.items())[:most]), {"ID": self.aws.account}
        prefixes = {name for name, each in listed.items() if name != each.id}
        last = list(listed.items())[-1] if listed and len(entries) > len(listed) else None
        answer = {
            "Bucket": params["Bucket"], "KeyMarker": marker, "UploadIdMarker": after or "", "Prefix": prefix,
            "Delimiter": delimiter, "EncodingType": params.get("EncodingType"), "MaxUploads": most,
            "NextKeyMarker": (last[0] if last[0] in prefixes else last[1].key) if last else None,
            "NextUploadIdMarker": last[1].id if last and last[0] not in prefixes else None,
            "IsTruncated": last is not None,
            "CommonPrefixes": [{"Prefix": each} for each in listed if each in prefixes],
            "Uploads": [
                {
                    "UploadId": each.id, "Key": each.key, "Initiated": moment(each.begun), "Owner": owner,
                    "Initiator": owner, "StorageClass": each.about.get("StorageClass", "STANDARD"),
                    "ChecksumAlgorithm": each.about.get("UploadAlgorithm"),
                    "ChecksumType": each.about.get("ChecksumType"),
                }
                for name, each in listed.items()
                if name not in prefixes
            ],
        }  # fmt: skip
        return encoded(answer, params)


class _Limited:
    """So many bytes of a file from where it stands."""

    def __init__(self, file: Any, count: int) -> None:
        self._file, self._left = file, count

    def read(self, count: int) -> bytes:
        data = self._file.read(min(count, self._left))
        self._left -= len(data)
        return data


def _check_number(number: int) -> None:
    if not 1 <= number <= MOST_PARTS:
        message = f"Part number must be an integer between 1 and {MOST_PARTS}, inclusive"
        raise errors.invalid_argument("partNumber", number, message)
