"""S3's own errors, with the codes and statuses that AWS gives (Amazon S3 API reference, "Error responses")."""

from __future__ import annotations

import re

from local_aws.errors import AwsError

LONGEST_KEY = 1024
# AWS: S3 user guide, "General purpose bucket naming rules".
BUCKET_NAME = re.compile(r"(?!xn--|sthree-|amzn-s3-demo-)[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]")
ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
RESERVED_ENDS = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def no_such_bucket(bucket: str) -> AwsError:
    return AwsError("NoSuchBucket", "The specified bucket does not exist", status=404, BucketName=bucket)


def no_such_key(key: str, **more: object) -> AwsError:
    return AwsError("NoSuchKey", "The specified key does not exist.", status=404, Key=key, **more)


def no_such_version(key: str, version: str) -> AwsError:
    message = "The specified version does not exist."
    return AwsError("NoSuchVersion", message, status=404, Key=key, VersionId=version)


def malformed_xml() -> AwsError:
    message = "The XML you provided was not well-formed or did not validate against our published schema"
    return AwsError("MalformedXML", message)


def incomplete_body() -> AwsError:
    message = "You did not provide the number of bytes specified by the Content-Length HTTP header"
    return AwsError("IncompleteBody", message)


def no_such_upload(upload: str) -> AwsError:
    return AwsError(
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
        "completed.",
        status=404,
        UploadId=upload,
    )


def precondition_failed(condition: str) -> AwsError:
    message = "At least one of the pre-conditions you specified did not hold"
    return AwsError("PreconditionFailed", message, status=412, Condition=condition)


def invalid_argument(name: str, value: object, message: str) -> AwsError:
    return AwsError("InvalidArgument", message, ArgumentName=name, ArgumentValue=value)


def not_implemented(what: str) -> AwsError:
    """For what AWS has and this has not: nothing is ignored that changes what is stored, or for whom."""
    return AwsError("NotImplemented", f"The local AWS does not support {what}.", status=501)


def check_key(key: str) -> None:
    """AWS: S3 user guide, "Naming Amazon S3 objects": at most 1,024 bytes of UTF-8."""
    length = len(key.encode())
    if length > LONGEST_KEY:
        raise AwsError("KeyTooLongError", "Your key is too long", Size=length, MaxSizeAllowed=LONGEST_KEY)


def check_bucket_name(name: str) -> None:
    """Raises AwsError."""
    if not BUCKET_NAME.fullmatch(name) or ADDRESS.fullmatch(name) or name.endswith(RESERVED_ENDS):
        raise AwsError("InvalidBucketName", "The specified bucket is not valid.", BucketName=name)
