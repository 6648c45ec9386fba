"""S3's checksums: what is sent is held against them, and objects have them."""

from __future__ import annotations

import base64

import pytest
from botocore.config import Config

from local_aws.s3 import checksums
from tests.local_aws.s3_calls import PART, body, own_bucket, refusal, refused, s3_client  # noqa: F401


@pytest.fixture
def sending(local_aws):
    """`sending(**headers)`: a client whose requests have these headers, and no checksum of its own."""

    def client(**headers):
        found = local_aws.client("s3", config=Config(request_checksum_calculation="when_required"))

        def change(request, **_):
            for name in list(request.headers):
                if "checksum" in name.lower() or name.lower() == "content-md5":
                    del request.headers[name]
            for name, value in headers.items():
                request.headers[name.replace("_", "-")] = value

        found.meta.events.register("before-sign.s3", change)
        return found

    return client


ALGORITHMS = sorted(checksums.CHECKSUMS)
# What boto3 computes; of the others it sends what it is given.
SDKS = {"CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"}


def said(algorithm: str, data: bytes) -> dict[str, str]:
    """How a caller of boto3 asks for a checksum."""
    if algorithm in SDKS:
        return {"ChecksumAlgorithm": algorithm}
    return {f"Checksum{algorithm}": checksums.of(algorithm, [data])}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_checksums_are_checked_kept_and_given_back(s3, bucket, algorithm):
    put = s3.put_object(Bucket=bucket, Key="sum", Body=b"checked", **said(algorithm, b"checked"))
    name = f"Checksum{algorithm}"
    read = s3.get_object(Bucket=bucket, Key="sum", ChecksumMode="ENABLED")
    assert put[name] == read[name]
    assert read["ChecksumType"] == "FULL_OBJECT"
    wanted = ["Checksum", "ObjectSize", "ETag"]
    attributes = s3.get_object_attributes(Bucket=bucket, Key="sum", ObjectAttributes=wanted)
    assert attributes["Checksum"][name] == put[name]
    assert (attributes["ObjectSize"], attributes["ETag"]) == (7, put["ETag"].strip('"'))
    wrong = {name: checksums.of(algorithm, [b"other"])}
    assert refused(s3.put_object, Bucket=bucket, Key="sum", Body=b"x", **wrong) == ("BadDigest", 400)
    assert refused(s3.put_object, Bucket=bucket, Key="sum", Body=b"x", **{name: "AAA="}) == ("InvalidRequest", 400)
    assert body(s3.get_object(Bucket=bucket, Key="sum")) == b"checked"


@pytest.mark.parametrize(
    ("algorithm", "data", "hexadecimal"),
    [  # The check values of the published catalogues; XXH3's and XXH128's of no data, from their specification.
        ("CRC32", b"123456789", "cbf43926"),
        ("CRC32C", b"123456789", "e3069283"),
        ("CRC64NVME", b"123456789", "ae8b14860a799888"),
        ("XXHASH64", b"", "ef46db3751d8e999"),
        ("XXHASH3", b"", "2d06800538d394c2"),
        ("XXHASH128", b"", "99aa06d3014798d86001c324468d497f"),
    ],
)
def test_checksums_are_the_published_ones(algorithm, data, hexadecimal):
    assert base64.b64decode(checksums.of(algorithm, [data[:4], data[4:]])).hex() == hexadecimal


def test_what_comes_without_a_checksum_gets_s3s_own(local_aws, bucket):
    s3 = local_aws.client("s3", config=Config(request_checksum_calculation="when_required"))
    put = s3.put_object(Bucket=bucket, Key="bare", Body=b"bare")
    head = s3.head_object(Bucket=bucket, Key="bare", ChecksumMode="ENABLED")
    expected = (checksums.of("CRC64NVME", [b"bare"]), "FULL_OBJECT")
    for each in (put, head):
        assert (each["ChecksumCRC64NVME"], each["ChecksumType"]) == expected
    assert "ChecksumType" not in s3.head_object(Bucket=bucket, Key="bare")
    # AND a copy has the algorithm of its source, or another one that it asks for
    source = {"Bucket": bucket, "Key": "bare"}
    copy = s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)["CopyObjectResult"]
    assert copy["ChecksumCRC64NVME"] == expected[0]
    copy = s3.copy_object(Bucket=bucket, Key="copy", CopySource=source, ChecksumAlgorithm="SHA256")["CopyObjectResult"]
    assert (copy["ChecksumSHA256"], "ChecksumCRC64NVME" in copy) == (checksums.of("SHA256", [b"bare"]), False)


def test_a_request_comes_with_one_checksum(sending, bucket):
    right = {name: checksums.of(name, [b"one"]) for name in ("CRC32", "SHA1")}
    named = {"Bucket": bucket, "Key": "one", "Body": b"one"}
    sending(X_Amz_Checksum_Crc32=right["CRC32"]).put_object(**named)
    for headers, message in (
        (
            {"X_Amz_Checksum_Crc32": right["CRC32"], "X_Amz_Checksum_Sha1": right["SHA1"]},
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        ),
        (
            {"X_Amz_Sdk_Checksum_Algorithm": "SHA1", "X_Amz_Checksum_Crc32": right["CRC32"]},
            "Value for x-amz-sdk-checksum-algorithm header is invalid.",
        ),
        (
            {"X_Amz_Sdk_Checksum_Algorithm": "SHA1"},
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers "
            "were found.",
        ),
    ):
        assert refusal(sending(**headers).put_object, **named) == ("InvalidRequest", message, 400)


GRANT = {"Grants": [{"Grantee": {"Type": "CanonicalUser", "ID": "a"}, "Permission": "READ"}], "Owner": {"ID": "a"}}


@pytest.mark.parametrize(
    ("name", "params", "carried"),
    [
        ("put_object_tagging", {"Key": "kept", "Tagging": {"TagSet": [{"Key": "k", "Value": "v"}]}}, True),
        ("put_object_acl", {"Key": "kept", "AccessControlPolicy": GRANT}, False),
        ("delete_objects", {"Delete": {"Objects": [{"Key": "another"}]}}, True),
    ],
)
def test_the_documents_of_requests_are_held_to_their_checksums(s3, bucket, sending, name, params, carried):
    s3.put_object(Bucket=bucket, Key="kept", Body=b"kept")
    for headers in (
        {"Content_MD5": checksums.of("MD5", [b"other"])},
        {"X_Amz_Checksum_Crc32": checksums.of("CRC32", [b"other"]), "X_Amz_Sdk_Checksum_Algorithm": "CRC32"},
        {"X_Amz_Checksum_Crc64nvme": checksums.of("CRC64NVME", [b"other"])},
    ):
        assert refused(getattr(sending(**headers), name), Bucket=bucket, **params) == ("BadDigest", 400)
    code, message, _ = refusal(getattr(sending(), name), Bucket=bucket, **params)
    missing = "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
    assert (code, message) == ("InvalidRequest", missing)
    assert s3.get_object_tagging(Bucket=bucket, Key="kept")["TagSet"] == []
    for algorithm in ("CRC32", "CRC64NVME", "SHA256") if carried else ():
        getattr(s3, name)(Bucket=bucket, ChecksumAlgorithm=algorithm, **params)


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [("CRC32C", "FULL_OBJECT"), ("CRC64NVME", None), ("SHA256", "COMPOSITE"), ("XXHASH3", None), (None, None)],
)
def test_an_upload_in_parts_has_the_checksum_that_was_asked_for(s3, bucket, algorithm, kind):
    data = [b"a" * PART, b"end"]
    named = {"Bucket": bucket, "Key": f"parts-{algorithm}"}
    asked = {name: value for name, value in (("ChecksumAlgorithm", algorithm), ("ChecksumType", kind)) if value}
    upload = s3.create_multipart_upload(**named, **asked)
    whole = algorithm in checksums.OF_THE_WHOLE or algorithm is None
    assert upload.get("ChecksumType") == (None if algorithm is None else "FULL_OBJECT" if whole else "COMPOSITE")
    named |= {"UploadId": upload["UploadId"]}
    parts = [
        s3.upload_part(**named, **(said(algorithm, each) if algorithm else {}), PartNumber=at, Body=each)
        for at, each in enumerate(data, 1)
    ]
    name = f"Checksum{algorithm or 'CRC32'}"
    done = [{"PartNumber": at, "ETag": each["ETag"], name: each[name]} for at, each in enumerate(parts, 1)]

    def complete(parts, **more):
        return s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts}, **more)

    bare = [{key: value for key, value in each.items() if key != name} for each in done]
    if not whole:
        assert refused(complete, parts=bare) == ("InvalidRequest", 400)
    if algorithm:
        wrong = {name: checksums.of(algorithm, [b"other"])}
        assert refused(complete, parts=done, **wrong) == ("BadDigest", 400)
        assert (
            refused(s3.upload_part, **named, PartNumber=3, Body=b"x", ChecksumAlgorithm="SHA1")[0] == "InvalidRequest"
        )
        other = "COMPOSITE" if whole else "FULL_OBJECT"
        assert refused(complete, parts=done, ChecksumType=other) == ("InvalidRequest", 400)
    answer = complete(bare if whole else done)
    expected = (
        checksums.of(algorithm or "CRC64NVME", data)
        if whole
        else checksums.composite(algorithm, [each[name] for each in parts])
    )
    head = s3.head_object(Bucket=bucket, Key=named["Key"], ChecksumMode="ENABLED")
    for each in (answer, head):
        assert each[f"Checksum{algorithm or 'CRC64NVME'}"] == expected
        assert each["ChecksumType"] == ("FULL_OBJECT" if whole else "COMPOSITE")
    assert body(s3.get_object(Bucket=bucket, Key=named["Key"], ChecksumMode="ENABLED")) == b"".join(data)


def test_checksums_that_cannot_be_of_an_upload_in_parts(s3, bucket):
    named = {"Bucket": bucket, "Key": "parts"}
    for asked in (
        {"ChecksumAlgorithm": "SHA256", "ChecksumType": "FULL_OBJECT"},
        {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "COMPOSITE"},
        {"ChecksumType": "FULL_OBJECT"},
    ):
        assert refused(s3.create_multipart_upload, **named, **asked) == ("InvalidRequest", 400)
