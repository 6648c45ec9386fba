"""The package in the project's bucket: what the environment installs, and the DAGs.

Plugins and requirements lie under a key of their content: a rolled-back environment finds the ones it had, however old,
since no later package takes their place and the bucket's life cycle deletes only old versions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
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
    parameters = {"AirflowVersion": package.manifest["airflow"]}
    for what, file in (("Plugins", "plugins.zip"), ("Requirements", "requirements.txt")):
        content = package.files[file]
        key = f"{FOLDER}{what.lower()}/{hashlib.sha256(content).hexdigest()[:16]}/{file}"
        parameters |= {f"{what}Path": key, f"{what}Version": _put_once(s3, bucket, key, content)}
    return parameters


def put_dags(s3: Any, bucket: str, package: Package) -> tuple[int, int]:
    """Make mwaa/dags what the package's is; how many files were uploaded, and how many removed.

    The DAGs themselves come last, after what they read, and then the manifest, which says what is deployed.
    Raises InfrastructureError for one that S3 keeps.
    """
    files = {name: content for name, content in package.files.items() if name.startswith("dags/")}
    there = listed(s3, bucket, DAGS)
    ordered = sorted(files.keys() - {IGNORE}, key=lambda name: (name.count("/") == 1, name))
    uploaded = sync(s3, bucket, {FOLDER + name: files[name] for name in ordered}, there)
    gone = sorted(there.keys() - {FOLDER + name for name in files})
    for start in range(0, len(gone), AT_ONCE):
        objects = [{"Key": key} for key in gone[start : start + AT_ONCE]]
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        for error in answer.get("Errors", ()):
            raise InfrastructureError(f"{error['Key']} cannot be removed: {error['Message']} ({error['Code']}).")
    sync(s3, bucket, {f"{FOLDER}manifest.json": package.files["manifest.json"]})
    return uploaded, len(gone)


def sync(s3: Any, bucket: str, wanted: Mapping[str, bytes], there: Mapping[str, str] | None = None) -> int:
    """Upload what is not there with the same content; how many that were."""
    uploaded = 0
    for key, content in wanted.items():
        tag = there.get(key) if there is not None else listed(s3, bucket, key).get(key)
        if tag != hashlib.md5(content, usedforsecurity=False).hexdigest():
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


def _put_once(s3: Any, bucket: str, key: str, content: bytes) -> str:
    """Upload an object unless it is there; its version."""
    try:
        found = s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchKey", "NoSuchBucket"):
            raise
        found = s3.put_object(Bucket=bucket, Key=key, Body=content)
    return found.get("VersionId", NO_VERSION)
