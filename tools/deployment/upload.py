"""The package in the project's bucket: what the environment installs, and the DAGs.

Plugins and requirements lie under a key of their content: a rolled-back environment finds the ones it had, however old,
since no later package takes their place and the bucket's life cycle deletes only old versions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from tools.cloudformation import InfrastructureError
from tools.package import Package

FOLDER = "mwaa/"
DAGS = f"{FOLDER}dags/"
IGNORE = "dags/.airflowignore"
# S3's own name for the version of an object in a bucket without versioning, such as the local AWS's.
NO_VERSION = "null"
AT_ONCE = 1000  # objects that S3 deletes in one call


def put_package(s3: Any, bucket: str, package: Package) -> dict[str, str]:
    """Upload what the environment installs, where it is not there yet; the parameters of infra/mwaa.yaml for it.

    Airflow's ignore file goes with it: the folder has to be there before the environment, and ml_scripts/ must never be
    parsed.
    """
    sync(s3, bucket, {FOLDER + IGNORE: package.files[IGNORE]})
    return _parameters(package, lambda key, content: _put_once(s3, bucket, key, content))


def look_for_package(s3: Any, bucket: str, package: Package) -> dict[str, str]:
    """The same parameters without an upload: the version of what is not there yet is empty."""
    return _parameters(package, lambda key, _: version(s3, bucket, key) or "")


def put_dags(s3: Any, bucket: str, package: Package) -> tuple[int, int]:
    """Make mwaa/dags what the package's is; how many files were uploaded, and how many removed.

    The DAGs themselves come last, after what they read, and then the manifest, which says what is deployed.
    Raises InfrastructureError for one that S3 keeps.
    """
    wanted, there = _dags(package), listed(s3, bucket, DAGS)
    ordered = sorted(wanted.keys() - {FOLDER + IGNORE}, key=lambda key: (key.count("/") == 2, key))
    uploaded = sync(s3, bucket, {key: wanted[key] for key in ordered}, there)
    gone = sorted(there.keys() - wanted.keys())
    for start in range(0, len(gone), AT_ONCE):
        objects = [{"Key": key} for key in gone[start : start + AT_ONCE]]
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        for error in answer.get("Errors", ()):
            raise InfrastructureError(f"{error['Key']} cannot be removed: {error['Message']} ({error['Code']}).")
    sync(s3, bucket, {f"{FOLDER}manifest.json": package.files["manifest.json"]})
    return uploaded, len(gone)


def look_for_dags(s3: Any, bucket: str, package: Package) -> tuple[int, int]:
    """How many files `put_dags` would upload, and how many it would remove."""
    wanted, there = _dags(package), listed(s3, bucket, DAGS)
    changed = [key for key in wanted.keys() - {FOLDER + IGNORE} if there.get(key) != _tag(wanted[key])]
    return len(changed), len(there.keys() - wanted.keys())


def sync(s3: Any, bucket: str, wanted: Mapping[str, bytes], there: Mapping[str, str] | None = None) -> int:
    """Upload what is not there with the same content; how many that were."""
    uploaded = 0
    for key, content in wanted.items():
        tag = there.get(key) if there is not None else listed(s3, bucket, key).get(key)
        if tag != _tag(content):
            s3.put_object(Bucket=bucket, Key=key, Body=content)
            uploaded += 1
    return uploaded


def listed(s3: Any, bucket: str, prefix: str) -> dict[str, str]:
    """The entity tag of each object below a prefix; nothing where there is no bucket yet.

    The tag is the content's MD5, since the bucket encrypts with S3's own keys and nothing here is uploaded in parts;
    under another encryption everything would look changed. Source: Amazon S3 API reference, Object, ETag.
    """
    try:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {each["Key"]: each["ETag"].strip('"') for page in pages for each in page.get("Contents", ())}
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchBucket":
            return {}
        raise


def version(s3: Any, bucket: str, key: str) -> str | None:
    """The version of an object; none when it is not there."""
    try:
        return s3.head_object(Bucket=bucket, Key=key).get("VersionId", NO_VERSION)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchKey", "NoSuchBucket"):
            raise
        return None


def _put_once(s3: Any, bucket: str, key: str, content: bytes) -> str:
    """Upload an object unless it is there; its version."""
    found = version(s3, bucket, key)
    if found is None:
        found = s3.put_object(Bucket=bucket, Key=key, Body=content).get("VersionId", NO_VERSION)
    return found


def _parameters(package: Package, version_of: Callable[[str, bytes], str]) -> dict[str, str]:
    parameters = {"AirflowVersion": package.manifest["airflow"]}
    for what, file in (("Plugins", "plugins.zip"), ("Requirements", "requirements.txt")):
        content = package.files[file]
        key = f"{FOLDER}{what.lower()}/{hashlib.sha256(content).hexdigest()[:16]}/{file}"
        parameters |= {f"{what}Path": key, f"{what}Version": version_of(key, content)}
    return parameters


def _dags(package: Package) -> dict[str, bytes]:
    """What mwaa/dags is to hold, by key."""
    return {FOLDER + name: content for name, content in package.files.items() if name.startswith("dags/")}


def _tag(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
