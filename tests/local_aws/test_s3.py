"""S3's objects answer as AWS says: what is stored, read in parts, listed, copied, versioned and refused."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import http.client
import io
import json
import urllib.error
import urllib.request
import zlib

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.local_aws.s3_calls import PART, body, own_bucket, refusal, refused, s3_client  # noqa: F401


@pytest.fixture(scope="module")
def local_aws(tmp_path_factory, start_daemon):
    """One that looks at no signature: bodies are written by hand here, and IAM does not see what an ACL opens."""
    daemon = start_daemon(tmp_path_factory.mktemp("s3"), iam="off")
    yield daemon
    daemon.stop()
    assert daemon.ignored == []


@pytest.fixture
def versioned(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


def keys(answer) -> list[str]:
    return [each["Key"] for each in answer.get("Contents", ())]


def raw(local_aws, method, path, content=None, **headers) -> tuple[int, dict[str, str], bytes]:
    """A request that no SDK makes."""
    connection = http.client.HTTPConnection("127.0.0.1", local_aws.port, timeout=60)
    connection.request(method, path, content, headers)
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return found


SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=AKIATESTTESTTESTTEST/20261125/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=0"
}


def test_what_is_said_of_an_object_is_said_back(s3, bucket):
    said = {
        "CacheControl": "no-cache", "ContentDisposition": "attachment", "ContentEncoding": "gzip",
        "ContentLanguage": "de", "ContentType": "text/plain", "Metadata": {"run-id": "7", "by": "tests"},
    }  # fmt: skip
    put = s3.put_object(Bucket=bucket, Key="a folder/ü+%&?.txt", Body=b"text", Tagging="k=v&l=", **said)
    assert put["ETag"] == f'"{hashlib.md5(b"text").hexdigest()}"'
    for answer in (
        s3.get_object(Bucket=bucket, Key="a folder/ü+%&?.txt"),
        s3.head_object(Bucket=bucket, Key="a folder/ü+%&?.txt"),
    ):
        assert {name: answer[name] for name in said} == said
        assert (answer["ETag"], answer["ContentLength"], answer["TagCount"]) == (put["ETag"], 4, 2)
        assert "StorageClass" not in answer
        assert "VersionId" not in answer
        assert answer["ServerSideEncryption"] == "AES256"
    s3.put_object(Bucket=bucket, Key="plain", Body=b"", StorageClass="STANDARD_IA")
    plain = s3.head_object(Bucket=bucket, Key="plain")
    assert (plain["ContentType"], plain["StorageClass"]) == ("binary/octet-stream", "STANDARD_IA")
    assert (plain["ContentLength"], plain["Metadata"]) == (0, {})
    overridden = s3.get_object(Bucket=bucket, Key="plain", ResponseContentType="text/csv")
    assert overridden["ContentType"] == "text/csv"
    named = s3.get_object(Bucket=bucket, Key="plain", ResponseContentDisposition="attachment; filename=ü€.txt")
    assert named["ContentDisposition"].encode("latin-1").decode() == "attachment; filename=ü€.txt"
    lines = {"ResponseContentDisposition": "a\r\nX-Other: b"}
    assert refused(s3.get_object, Bucket=bucket, Key="plain", **lines) == ("InvalidArgument", 400)


def test_a_missing_object_bucket_or_version_is_said_by_its_name(s3, bucket):
    s3.put_object(Bucket=bucket, Key="there", Body=b"")
    with pytest.raises(s3.exceptions.NoSuchKey) as caught:
        s3.get_object(Bucket=bucket, Key="missing")
    assert caught.value.response["Error"]["Key"] == "missing"
    assert refused(s3.head_object, Bucket=bucket, Key="missing") == ("404", 404)
    assert refused(s3.get_object, Bucket="no-such-bucket", Key="a") == ("NoSuchBucket", 404)
    assert refused(s3.put_object, Bucket="no-such-bucket", Key="a", Body=b"") == ("NoSuchBucket", 404)
    assert refused(s3.list_objects_v2, Bucket="no-such-bucket") == ("NoSuchBucket", 404)
    assert refused(s3.get_object, Bucket=bucket, Key="there", VersionId="other") == ("NoSuchVersion", 404)
    # Deleting what is not there is no error.
    s3.delete_object(Bucket=bucket, Key="missing")


def test_names_have_the_lengths_that_aws_has(s3, bucket, local_aws):
    s3.put_object(Bucket=bucket, Key="ü" * 512, Body=b"1,024 bytes")
    assert refused(s3.put_object, Bucket=bucket, Key="ü" * 512 + "x", Body=b"") == ("KeyTooLongError", 400)
    for name in ("Capitals", "ab", "x" * 64, "under_score", "dots..twice", "-hyphen", "192.168.5.4", "xn--a"):
        status, _, said = raw(local_aws, "PUT", f"/{name}", **SIGNED)
        assert (status, b"<Code>InvalidBucketName</Code>" in said) == (400, True), name


@pytest.mark.parametrize(
    ("asked", "found", "said"),
    [
        ("bytes=2-4", b"234", "bytes 2-4/10"), ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"), ("bytes=8-99", b"89", "bytes 8-9/10"),
        ("bytes=-99", b"0123456789", "bytes 0-9/10"),
        ("bytes=5-2", b"0123456789", None), ("lines=1-2", b"0123456789", None),
    ],
)  # fmt: skip
def test_a_range_is_read(s3, bucket, asked, found, said):
    s3.put_object(Bucket=bucket, Key="digits", Body=b"0123456789")
    answer = s3.get_object(Bucket=bucket, Key="digits", Range=asked)
    assert (body(answer), answer.get("ContentRange")) == (found, said)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == (206 if said else 200)
    head = s3.head_object(Bucket=bucket, Key="digits", Range=asked)
    assert head["ContentLength"] == len(found)


def test_a_range_outside_of_an_object_is_refused(s3, bucket):
    s3.put_object(Bucket=bucket, Key="digits", Body=b"0123456789")
    assert refused(s3.get_object, Bucket=bucket, Key="digits", Range="bytes=10-") == ("InvalidRange", 416)


def test_conditions_of_reading(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"a")["ETag"]
    named = {"Bucket": bucket, "Key": "a"}
    later, earlier = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=hours) for hours in (1, -1))
    for read in (s3.get_object, s3.head_object):
        assert read(**named, IfMatch=etag, IfUnmodifiedSince=earlier)["ETag"] == etag
        assert refused(read, **named, IfMatch='"other"')[1] == 412
        assert refused(read, **named, IfNoneMatch=etag)[1] == 304
        assert read(**named, IfNoneMatch='"other"', IfModifiedSince=later)["ETag"] == etag
        assert refused(read, **named, IfModifiedSince=later)[1] == 304
        assert refused(read, **named, IfUnmodifiedSince=earlier)[1] == 412


def test_conditions_of_writing(s3, bucket):
    named = {"Bucket": bucket, "Key": "a"}
    assert refused(s3.put_object, **named, Body=b"1", IfMatch='"x"') == ("NoSuchKey", 404)
    first = s3.put_object(**named, Body=b"1", IfNoneMatch="*")["ETag"]
    assert refused(s3.put_object, **named, Body=b"2", IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert refused(s3.put_object, **named, Body=b"2", IfMatch='"x"') == ("PreconditionFailed", 412)
    assert body(s3.get_object(**named)) == b"1"
    s3.put_object(**named, Body=b"2", IfMatch=first)
    assert refused(s3.delete_object, **named, IfMatch=first) == ("PreconditionFailed", 412)
    assert body(s3.get_object(**named)) == b"2"


def test_bodies_that_are_not_what_they_are_said_to_be_are_refused(s3, bucket, local_aws):
    md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    assert refused(s3.put_object, Bucket=bucket, Key="a", Body=b"x", ContentMD5=md5) == ("BadDigest", 400)
    assert refused(s3.put_object, Bucket=bucket, Key="a", Body=b"x", ContentMD5="short") == ("InvalidDigest", 400)
    path, other = f"/{bucket}/a", hashlib.sha256(b"other").hexdigest()
    status, _, said = raw(local_aws, "PUT", path, b"x", **SIGNED, **{"x-amz-content-sha256": other})
    assert (status, b"XAmzContentSHA256Mismatch" in said) == (400, True)
    chunked = {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-decoded-content-length": "5"}
    for content in (b"5\r\nhel", b"3\r\nhel\r\n0\r\n\r\n", b"zz\r\nhello\r\n0\r\n\r\n"):
        status, _, said = raw(local_aws, "PUT", path, content, **SIGNED, **chunked)
        assert (status, b"IncompleteBody" in said) == (400, True), content
    assert refused(s3.head_object, Bucket=bucket, Key="a")[1] == 404


def test_a_body_in_signed_chunks_is_stored_without_them(s3, bucket, local_aws):
    chunks = [b"a" * 70_000, b"b" * 3]
    content = b"".join(b"%x;chunk-signature=0\r\n%b\r\n" % (len(each), each) for each in [*chunks, b""])
    headers = {
        "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "x-amz-decoded-content-length": "70003",
        "Content-Encoding": "aws-chunked,gzip",
    }  # fmt: skip
    assert raw(local_aws, "PUT", f"/{bucket}/chunks", content, **SIGNED, **headers)[0] == 200
    read = s3.get_object(Bucket=bucket, Key="chunks")
    assert body(read) == b"".join(chunks)
    assert read["ContentEncoding"] == "gzip"
    # AND a checksum that comes after them is checked
    trailer = base64.b64encode(zlib.crc32(b"other").to_bytes(4, "big"))
    content = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:%b\r\n\r\n" % trailer
    headers = {
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-trailer": "x-amz-checksum-crc32"
    }  # fmt: skip
    status, _, said = raw(local_aws, "PUT", f"/{bucket}/sum", content, **SIGNED, **headers)
    assert (status, b"BadDigest" in said) == (400, True)


def test_lists_are_in_the_order_of_utf_8_and_by_pages(s3, bucket):
    named = sorted(["a", "a b", "a/1", "a/2", "b", "ü", "\U0001f426", "￮", "c&<d>"], key=str.encode)
    for key in named:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    for operation in ("list_objects_v2", "list_objects"):
        pages = s3.get_paginator(operation).paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
        assert [each["Key"] for page in pages for each in page["Contents"]] == named
    assert keys(s3.list_objects_v2(Bucket=bucket, Prefix="a")) == ["a", "a b", "a/1", "a/2"]
    after = s3.list_objects_v2(Bucket=bucket, StartAfter="a/1", MaxKeys=2)
    assert keys(after) == ["a/2", "b"]
    assert (after["KeyCount"], after["IsTruncated"], after["StartAfter"]) == (2, True, "a/1")
    assert keys(s3.list_objects(Bucket=bucket, Marker="b")) == named[named.index("b") + 1 :]
    assert s3.list_objects_v2(Bucket=bucket, MaxKeys=0)["KeyCount"] == 0
    assert refused(s3.list_objects_v2, Bucket=bucket, ContinuationToken="none")[0] == "InvalidArgument"
    (first,) = s3.list_objects_v2(Bucket=bucket, MaxKeys=1, FetchOwner=True)["Contents"]
    assert (first["Size"], first["StorageClass"], first["Owner"]["ID"]) == (1, "STANDARD", "123456789012")


def test_common_prefixes_count_as_one_and_are_on_one_page(s3, bucket):
    for key in ("a", "jobs/1/x", "jobs/1/y", "jobs/2/x", "jobs/z", "runs/1", "zz"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    for operation in ("list_objects_v2", "list_objects"):
        for size in (1, 2, 3, 1000):
            paginate = s3.get_paginator(operation).paginate
            pages = list(paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": size}))
            assert [key for page in pages for key in keys(page)] == ["a", "zz"]
            common = [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", ())]
            assert common == ["jobs/", "runs/"], (operation, size)
    below = s3.list_objects_v2(Bucket=bucket, Prefix="jobs/", Delimiter="/")
    assert [each["Prefix"] for each in below["CommonPrefixes"]] == ["jobs/1/", "jobs/2/"]
    assert (keys(below), below["KeyCount"]) == (["jobs/z"], 3)


def test_versions_come_and_go(s3, versioned):
    named = {"Bucket": versioned, "Key": "a"}
    first, second = (s3.put_object(**named, Body=content)["VersionId"] for content in (b"1", b"2"))
    marker = s3.delete_object(**named)
    assert marker["DeleteMarker"] is True
    # GIVEN a marker on it, the object is gone, but by its versions
    assert refused(s3.get_object, **named) == ("NoSuchKey", 404)
    with pytest.raises(ClientError) as caught:
        s3.head_object(**named)
    headers = caught.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert (headers["x-amz-delete-marker"], headers["x-amz-version-id"]) == ("true", marker["VersionId"])
    assert refused(s3.get_object, **named, VersionId=marker["VersionId"]) == ("MethodNotAllowed", 405)
    assert body(s3.get_object(**named, VersionId=first)) == b"1"
    assert s3.list_objects_v2(Bucket=versioned)["KeyCount"] == 0
    listed = s3.list_object_versions(Bucket=versioned)
    assert [(each["VersionId"], each["IsLatest"]) for each in listed["Versions"]] == [(second, False), (first, False)]
    assert [(each["VersionId"], each["IsLatest"]) for each in listed["DeleteMarkers"]] == [(marker["VersionId"], True)]
    # WHEN the marker is deleted, and then the latest
    undone = s3.delete_object(**named, VersionId=marker["VersionId"])
    assert (undone["DeleteMarker"], undone["VersionId"]) == (True, marker["VersionId"])
    assert body(s3.get_object(**named)) == b"2"
    s3.delete_object(**named, VersionId=second)
    assert s3.get_object(**named)["VersionId"] == first
    # AND a bucket with anything in it stays
    s3.delete_object(**named)
    assert refused(s3.delete_bucket, Bucket=versioned) == ("BucketNotEmpty", 409)
    for each in s3.list_object_versions(Bucket=versioned)["Versions"]:
        s3.delete_object(**named, VersionId=each["VersionId"])
    for each in s3.list_object_versions(Bucket=versioned)["DeleteMarkers"]:
        s3.delete_object(**named, VersionId=each["VersionId"])
    s3.delete_bucket(Bucket=versioned)


def test_versions_are_listed_by_pages(s3, versioned):
    made = [
        (key, s3.put_object(Bucket=versioned, Key=key, Body=b"")["VersionId"])
        for key in ("a", "b", "b", "b", "c/1", "c/2")
    ]
    expected = sorted(made[::-1], key=lambda each: each[0])
    for size in (1, 2, 4):
        paginate = s3.get_paginator("list_object_versions").paginate
        pages = paginate(Bucket=versioned, PaginationConfig={"PageSize": size})
        found = [(each["Key"], each["VersionId"]) for page in pages for each in page["Versions"]]
        assert found == expected, size
    assert s3.list_object_versions(Bucket=versioned, Delimiter="/")["CommonPrefixes"] == [{"Prefix": "c/"}]


def test_where_versions_are_suspended_there_is_one_null_version(s3, bucket):
    named = {"Bucket": bucket, "Key": "a"}
    s3.put_object(**named, Body=b"before")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(**named, Body=b"versioned")["VersionId"]
    assert body(s3.get_object(**named, VersionId="null")) == b"before"
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert s3.put_object(**named, Body=b"suspended")["VersionId"] == "null"
    assert body(s3.get_object(**named, VersionId="null")) == b"suspended"
    listed = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert [each["VersionId"] for each in listed] == ["null", version]


def test_many_are_deleted_at_once(s3, versioned):
    for key in ("a", "b"):
        s3.put_object(Bucket=versioned, Key=key, Body=b"")
    answer = s3.delete_objects(Bucket=versioned, Delete={"Objects": [{"Key": key} for key in ("a", "missing")]})
    assert [(each["Key"], each["DeleteMarker"]) for each in answer["Deleted"]] == [("a", True), ("missing", True)]
    quiet = s3.delete_objects(Bucket=versioned, Delete={"Objects": [{"Key": "b"}], "Quiet": True})
    assert "Deleted" not in quiet
    assert s3.list_objects_v2(Bucket=versioned)["KeyCount"] == 0
    many = [{"Key": str(number)} for number in range(1001)]
    assert refused(s3.delete_objects, Bucket=versioned, Delete={"Objects": many})[0] == "MalformedXML"


def test_copies(s3, bucket, versioned):
    s3.put_object(Bucket=bucket, Key="from", Body=b"1", ContentType="text/plain", Metadata={"a": "1"}, Tagging="t=1")
    source = {"Bucket": bucket, "Key": "from"}
    etag = s3.head_object(**source)["ETag"]
    copied = s3.copy_object(Bucket=bucket, Key="to ü", CopySource=source)
    assert copied["CopyObjectResult"]["ETag"] == etag
    read = s3.get_object(Bucket=bucket, Key="to ü")
    assert (read["ContentType"], read["Metadata"], read["TagCount"], body(read)) == ("text/plain", {"a": "1"}, 1, b"1")
    replaced = {"MetadataDirective": "REPLACE", "Metadata": {"b": "2"}, "TaggingDirective": "REPLACE", "Tagging": "u=2"}
    s3.copy_object(Bucket=bucket, Key="to ü", CopySource=source, **replaced)
    read = s3.head_object(Bucket=bucket, Key="to ü")
    assert (read["ContentType"], read["Metadata"]) == ("binary/octet-stream", {"b": "2"})
    assert s3.get_object_tagging(Bucket=bucket, Key="to ü")["TagSet"] == [{"Key": "u", "Value": "2"}]
    assert refused(s3.copy_object, Bucket=bucket, Key="from", CopySource=source)[0] == "InvalidRequest"
    other = {"Bucket": bucket, "Key": "to"}
    assert refused(s3.copy_object, **other, CopySource=source, CopySourceIfMatch='"x"')[1] == 412
    assert refused(s3.copy_object, **other, CopySource=source, CopySourceIfNoneMatch=etag)[1] == 412
    assert refused(s3.copy_object, **other, CopySource={"Bucket": bucket, "Key": "none"})[0] == "NoSuchKey"
    there = {"Bucket": bucket, "Key": "to ü", "CopySource": source}
    assert refused(s3.copy_object, **there, IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert refused(s3.copy_object, **there, ExpectedSourceBucketOwner="999999999999") == ("AccessDenied", 403)
    s3.delete_object(**source)
    assert body(s3.get_object(Bucket=bucket, Key="to ü")) == b"1"


def test_tags_and_acls(s3, bucket):
    named = {"Bucket": bucket, "Key": "a"}
    s3.put_object(**named, Body=b"")
    s3.put_object_tagging(**named, Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    assert s3.get_object_tagging(**named)["TagSet"] == [{"Key": "k", "Value": "v"}]
    twice = {"TagSet": [{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}]}
    assert refused(s3.put_object_tagging, **named, Tagging=twice)[0] == "InvalidTag"
    many = {"TagSet": [{"Key": str(number), "Value": ""} for number in range(11)]}
    assert refused(s3.put_object_tagging, **named, Tagging=many)[0] == "BadRequest"
    s3.delete_object_tagging(**named)
    assert s3.get_object_tagging(**named)["TagSet"] == []
    s3.put_object_acl(**named, ACL="public-read")
    assert [each["Permission"] for each in s3.get_object_acl(**named)["Grants"]] == ["FULL_CONTROL", "READ"]


def test_an_upload_in_parts(s3, versioned):
    parts = [b"a" * PART, b"b" * PART, b"end"]
    named = {"Bucket": versioned, "Key": "parts"}
    upload = s3.create_multipart_upload(**named, ContentType="text/plain", Metadata={"a": "1"}, Tagging="t=1")
    named_upload = named | {"UploadId": upload["UploadId"]}
    tags = [s3.upload_part(**named_upload, PartNumber=at, Body=part)["ETag"] for at, part in enumerate(parts, 1)]
    done = [{"PartNumber": at, "ETag": tag} for at, tag in enumerate(tags, 1)]
    listed = s3.list_parts(**named_upload, MaxParts=2)
    assert [(each["PartNumber"], each["Size"]) for each in listed["Parts"]] == [(1, PART), (2, PART)]
    assert (listed["IsTruncated"], listed["NextPartNumberMarker"]) == (True, 2)
    assert [each["Key"] for each in s3.list_multipart_uploads(Bucket=versioned)["Uploads"]] == ["parts"]
    assert s3.list_objects_v2(Bucket=versioned)["KeyCount"] == 0

    def complete(parts):
        return s3.complete_multipart_upload(**named_upload, MultipartUpload={"Parts": parts})

    assert refused(complete, parts=done[::-1])[0] == "InvalidPartOrder"
    assert refused(complete, parts=[{"PartNumber": 1, "ETag": '"x"'}])[0] == "InvalidPart"
    assert refused(complete, parts=[{**done[0], "ChecksumCRC32": "AAAAAA=="}])[0] == "InvalidPart"
    assert refused(complete, parts=[])[0] == "MalformedXML"
    answer = complete(done)
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    assert answer["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-3"'
    read = s3.get_object(**named)
    assert (read["ContentType"], read["Metadata"], read["TagCount"]) == ("text/plain", {"a": "1"}, 1)
    assert (body(read), read["VersionId"]) == (b"".join(parts), answer["VersionId"])
    second = s3.get_object(**named, PartNumber=2)
    assert (body(second), second["PartsCount"], second["ContentLength"]) == (parts[1], 3, PART)
    assert refused(s3.upload_part, **named_upload, PartNumber=1, Body=b"") == ("NoSuchUpload", 404)


def test_uploads_are_listed_by_folders(s3, bucket):
    for key in ("a", "dogs/1", "dogs/2", "dogs/2", "z &"):
        s3.create_multipart_upload(Bucket=bucket, Key=key)

    def listed(**asked):
        answer = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/", **asked)
        uploads = [each["Key"] for each in answer.get("Uploads", ())]
        return uploads, [each["Prefix"] for each in answer.get("CommonPrefixes", ())], answer.get("NextKeyMarker")

    assert listed() == (["a", "z &"], ["dogs/"], None)
    assert listed(MaxUploads=2) == (["a"], ["dogs/"], "dogs/")
    assert listed(KeyMarker="dogs/") == (["z &"], [], None)
    assert listed(Prefix="dogs/")[0] == ["dogs/1", "dogs/2", "dogs/2"]
    assert listed(EncodingType="url")[0] == ["a", "z%20%26"]


def test_what_no_operation_on_objects_ignores(s3, bucket):
    named = {"Bucket": bucket, "Key": "a"}
    s3.put_object(**named, Body=b"", RequestPayer="requester")
    # An encryption that the object has not, also where a key is only asked about
    upload = named | {"UploadId": s3.create_multipart_upload(**named)["UploadId"]}
    secret = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    for call, params in ((s3.get_object, named), (s3.list_parts, upload), (s3.upload_part, upload | {"PartNumber": 1})):
        code, message, status = refusal(call, **params, **secret)
        assert (code, status, "SSE-C" in message) == ("NotImplemented", 501, True)
    owner = {"ID": "1"}
    grants = {"Owner": owner, "Grants": [{"Grantee": owner | {"Type": "CanonicalUser"}, "Permission": "READ"}]}
    code, message, _ = refusal(s3.put_object_acl, **named, AccessControlPolicy=grants, ACL="private")
    assert (code, "canned ACL" in message) == ("NotImplemented", True)
    assert refused(s3.list_objects_v2, Bucket=bucket, RequestPayer="nobody") == ("InvalidArgument", 400)


def test_uploads_that_come_to_nothing(s3, bucket):
    named = {"Bucket": bucket, "Key": "small"}
    upload = named | {"UploadId": s3.create_multipart_upload(**named)["UploadId"]}
    tags = [s3.upload_part(**upload, PartNumber=at, Body=b"small")["ETag"] for at in (1, 2)]
    done = {"Parts": [{"PartNumber": at, "ETag": tag} for at, tag in enumerate(tags, 1)]}
    assert refused(s3.complete_multipart_upload, **upload, MultipartUpload=done)[0] == "EntityTooSmall"
    assert refused(s3.upload_part, **upload, PartNumber=10_001, Body=b"")[0] == "InvalidArgument"
    s3.abort_multipart_upload(**upload)
    assert refused(s3.list_parts, **upload) == ("NoSuchUpload", 404)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    assert refused(s3.head_object, **named)[1] == 404
    # AND what nobody has completed goes with its bucket
    upload = named | {"UploadId": s3.create_multipart_upload(**named)["UploadId"]}
    s3.upload_part(**upload, PartNumber=1, Body=b"nobody completes it")
    s3.delete_bucket(Bucket=bucket)
    s3.create_bucket(Bucket=bucket)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    assert refused(s3.list_parts, **upload) == ("NoSuchUpload", 404)


def test_parts_are_copied(s3, bucket):
    s3.put_object(Bucket=bucket, Key="from", Body=b"0123456789" * 600_000)
    named = {"Bucket": bucket, "Key": "to"}
    upload = named | {"UploadId": s3.create_multipart_upload(**named)["UploadId"]}
    source = {"Bucket": bucket, "Key": "from"}
    ranges = [f"bytes=0-{PART - 1}", "bytes=10-14"]
    copied = [
        s3.upload_part_copy(**upload, PartNumber=at, CopySource=source, CopySourceRange=each)["CopyPartResult"]["ETag"]
        for at, each in enumerate(ranges, 1)
    ]
    done = [{"PartNumber": at, "ETag": tag} for at, tag in enumerate(copied, 1)]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": done})
    assert body(s3.get_object(**named)) == (b"0123456789" * 600_000)[:PART] + b"01234"


def test_the_sdks_own_transfers(s3, bucket):
    content = bytes(range(256)) * 50_000
    config = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=3)
    s3.upload_fileobj(io.BytesIO(content), bucket, "large", Config=config)
    back = io.BytesIO()
    s3.download_fileobj(bucket, "large", back, Config=config)
    assert back.getvalue() == content
    head = s3.head_object(Bucket=bucket, Key="large", ChecksumMode="ENABLED")
    assert head["ETag"].endswith('-3"')
    assert (head["ChecksumType"], head["ChecksumCRC32"][-2:]) == ("COMPOSITE", "-3")
    attributes = s3.get_object_attributes(Bucket=bucket, Key="large", ObjectAttributes=["ObjectParts"], MaxParts=2)
    parts = attributes["ObjectParts"]
    assert (parts["TotalPartsCount"], parts["IsTruncated"], parts["NextPartNumberMarker"]) == (3, True, 2)
    first = base64.b64encode(zlib.crc32(content[:PART]).to_bytes(4, "big")).decode()
    assert [(each["PartNumber"], each["Size"]) for each in parts["Parts"]] == [(1, PART), (2, PART)]
    assert parts["Parts"][0]["ChecksumCRC32"] == first


def test_presigned_addresses(s3, bucket):
    put = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "by address"}, ExpiresIn=600)
    with urllib.request.urlopen(urllib.request.Request(put, data=b"signed", method="PUT"), timeout=60) as answer:
        assert answer.status == 200
    get = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "by address"}, ExpiresIn=600)
    with urllib.request.urlopen(get, timeout=60) as answer:
        assert answer.read() == b"signed"
    late = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "by address"}, ExpiresIn=-1)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(late, timeout=60)
    assert (caught.value.code, b"Request has expired" in caught.value.read()) == (403, True)


def test_who_has_no_credentials_reads_what_is_public(s3, bucket, local_aws):
    anonymous = boto3.client(
        "s3", endpoint_url=local_aws.url, region_name="us-east-1",
        config=Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1}),
    )  # fmt: skip
    s3.put_object(Bucket=bucket, Key="open", Body=b"open", ACL="public-read")
    s3.put_object(Bucket=bucket, Key="closed", Body=b"closed")
    assert body(anonymous.get_object(Bucket=bucket, Key="open")) == b"open"
    assert refused(anonymous.get_object, Bucket=bucket, Key="closed") == ("AccessDenied", 403)
    assert refused(anonymous.put_object, Bucket=bucket, Key="open", Body=b"") == ("AccessDenied", 403)
    assert refused(anonymous.list_objects_v2, Bucket=bucket) == ("AccessDenied", 403)
    # AND a policy opens and closes
    statements = [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/closed"},
        {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"},
    ]
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    assert body(anonymous.get_object(Bucket=bucket, Key="closed")) == b"closed"
    assert refused(s3.put_object, Bucket=bucket, Key="more", Body=b"") == ("AccessDenied", 403)


def test_what_is_not_carried_out_is_refused_by_its_name(s3, bucket):
    named = {"Bucket": bucket, "Key": "a"}
    s3.put_object(**named, Body=b"")
    for call, params in (
        (s3.put_object, {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": dt.datetime(2030, 1, 1)}),
        (s3.put_object, {"GrantRead": "id=1"}),
        (s3.put_object, {"StorageClass": "GLACIER"}),
        (s3.put_object_legal_hold, {"LegalHold": {"Status": "ON"}}),
        (s3.restore_object, {"RestoreRequest": {"Days": 1}}),
    ):
        assert refused(call, **named, **params) == ("NotImplemented", 501), params
    logging = {"LoggingEnabled": {"TargetBucket": bucket, "TargetPrefix": "logs/"}}
    assert refused(s3.put_bucket_logging, Bucket=bucket, BucketLoggingStatus=logging) == ("NotImplemented", 501)
    assert refused(s3.create_bucket, Bucket="locked-bucket", ObjectLockEnabledForBucket=True) == ("NotImplemented", 501)
    assert refused(s3.put_object, **named, StorageClass="ATTIC")[0] == "InvalidStorageClass"
    assert refused(s3.put_object, **named, ExpectedBucketOwner="999999999999") == ("AccessDenied", 403)


def test_a_buckets_encryption_is_its_objects(s3, bucket):
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "key"}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    put = s3.put_object(Bucket=bucket, Key="a", Body=b"")
    assert (put["ServerSideEncryption"], put["SSEKMSKeyId"]) == ("aws:kms", "key")


def test_the_bucket_can_be_in_the_hosts_name(s3, bucket, local_aws):
    s3.put_object(Bucket=bucket, Key="folder/a", Body=b"by host")
    status, _, found = raw(local_aws, "GET", "/folder/a", Host=f"{bucket}.localhost:{local_aws.port}", **SIGNED)
    assert (status, found) == (200, b"by host")
    status, _, found = raw(local_aws, "GET", "/?list-type=2", Host=f"{bucket}.localhost:{local_aws.port}", **SIGNED)
    assert (status, b"<Key>folder/a</Key>" in found) == (200, True)


def test_the_rest_of_aws_reads_and_writes_the_same_objects(s3, bucket, local_aws):
    # GIVEN a template that moto's CloudFormation reads by its address
    template = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "from-a-url"}}}}
    s3.put_object(Bucket=bucket, Key="stack.json", Body=json.dumps(template))
    cloudformation = local_aws.client("cloudformation")
    cloudformation.create_stack(StackName="from-a-url", TemplateURL=f"https://{bucket}.s3.amazonaws.com/stack.json")
    assert cloudformation.describe_stacks(StackName="from-a-url")["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"
    # AND logs that moto exports
    logs = local_aws.client("logs")
    logs.create_log_group(logGroupName="exported")
    logs.create_export_task(logGroupName="exported", fromTime=0, to=1, destination=bucket, destinationPrefix="logs")
    assert "aws-logs-write-test" in keys(s3.list_objects_v2(Bucket=bucket))
    # AND what a bucket tells a queue
    queues = local_aws.client("sqs")
    queue = queues.create_queue(QueueName="told")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    wanted = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [wanted]})
    s3.put_object(Bucket=bucket, Key="told of", Body=b"12")
    told = [json.loads(each["Body"]) for _ in range(3)
            for each in queues.receive_message(QueueUrl=queue).get("Messages", ())]  # fmt: skip
    (record,) = next(each["Records"] for each in told if "Records" in each)
    assert record["s3"]["object"]["key"] == "told+of"
    assert (record["eventName"], record["s3"]["object"]["size"]) == ("ObjectCreated:Put", 2)
