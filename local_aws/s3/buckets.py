"""The buckets: moto keeps them and how they are configured, and the index keeps what moto keeps of them.

With `moto_side.py` the only place that knows moto's S3.
"""

from __future__ import annotations

import functools
import io
import json
import pickle
from types import SimpleNamespace
from typing import Any

from moto.backends import get_backend

from local_aws.s3 import errors
from local_aws.s3.index import Index, StoredObject
from local_aws.state import moto_state

# The class is imported as one of moto's services is: when it is used first.
SERVICE = "s3"
KEPT = "moto"
# Actions of policies that are not called as the operation is (AWS: service authorization reference, "Amazon S3").
ACTIONS = {
    "HeadObject": "GetObject", "CopyObject": "PutObject", "DeleteObjects": "DeleteObject", "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket", "ListObjectVersions": "ListBucketVersions", "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject", "CreateMultipartUpload": "PutObject", "CompleteMultipartUpload": "PutObject",
    "ListParts": "ListMultipartUploadParts", "ListMultipartUploads": "ListBucketMultipartUploads",
}  # fmt: skip


class Buckets:
    """Moto's buckets of one account, in every region."""

    def __init__(self, account: str, index: Index) -> None:
        self.account, self._index = account, index
        self._kept = b""
        self._names: set[str] = set()

    @functools.cached_property
    def _backends(self) -> Any:
        return get_backend(SERVICE)

    @property
    def _backend(self) -> Any:
        return self._backends[self.account]["aws"]

    def get(self, name: str) -> Any:
        """Moto's bucket. Raises AwsError when there is none."""
        found = self._backend.buckets.get(name)
        if found is None:
            raise errors.no_such_bucket(name)
        return found

    def exists(self, name: str) -> bool:
        return name in self._backend.buckets

    def policy_says(self, bucket: Any, operation: str, key: str | None) -> bool | None:
        """What a bucket's policy says of an operation, whoever calls; None when it says nothing."""
        if bucket.policy is None:
            return None
        from moto.iam.access_control import IAMPolicy, PermissionResult

        resource = f"{bucket.arn}/{key}" if key else bucket.arn
        policy = json.loads(bucket.policy)
        statements = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
        policy["Statement"] = [each for each in statements if not _is_about_no_tls(each)]
        said = IAMPolicy(json.dumps(policy)).is_action_permitted(f"s3:{ACTIONS.get(operation, operation)}", resource)
        return {PermissionResult.PERMITTED: True, PermissionResult.DENIED: False}.get(said)

    def policy_of(self, name: str) -> str | None:
        """The text of a bucket's policy; None where there is none, or no bucket."""
        found = self._backend.buckets.get(name)
        return found.policy.decode() if found is not None and found.policy is not None else None

    def encryption(self, bucket: Any) -> dict[str, Any]:
        """How objects are encrypted unless a call says otherwise, in the words of S3's API."""
        rule = bucket.encryption["Rule"] if bucket.encryption else {}
        default = rule.get("ApplyServerSideEncryptionByDefault", {})
        # AWS: since January 2023 every new object is encrypted with SSE-S3 at least.
        found = {"ServerSideEncryption": default.get("SSEAlgorithm", "AES256")}
        if found["ServerSideEncryption"] != "AES256":
            found["SSEKMSKeyId"] = default.get("KMSMasterKeyID")
        return found

    def notify(self, bucket: Any, event: str, found: StoredObject) -> None:
        """Tell whom the bucket's notification configuration names."""
        if bucket.notification_configuration is None:
            return
        from moto.s3 import notifications

        key = SimpleNamespace(name=found.key, size=found.size, etag=found.etag, version_id=found.version)
        notifications.send_event(self.account, notifications.S3NotificationEvent(event), bucket, key)

    def keep_if_new(self, name: str) -> None:
        """Before anything is put into a bucket that CloudFormation, say, has made it is kept itself."""
        if name not in self._names:
            self.keep()

    def keep(self) -> None:
        """Save what moto keeps of the buckets now: it outlives the process. Raises OSError, sqlite3.Error."""
        with self._index.lock:
            names = set(self._backend.buckets)
            file = io.BytesIO()
            pickler = pickle.Pickler(file, 5)
            pickler.dispatch_table = moto_state.reducers(whole_buckets=True)
            pickler.dump(moto_state.remember(only={SERVICE}))
            if file.getvalue() == self._kept:
                return
            with self._index.change():
                self._index.set_about(KEPT, file.getvalue())
            self._kept, self._names = file.getvalue(), names

    def restore(self) -> None:
        """Put back what was saved. Raises whatever a pickle can."""
        self._kept = self._index.about(KEPT) or b""
        if self._kept:
            moto_state.restore(pickle.loads(self._kept))
        self._names = set(self._backend.buckets)


def _is_about_no_tls(statement: dict[str, Any]) -> bool:
    """Whether a statement holds for callers without TLS, or of an old one, alone.

    Here all speak to this machine itself, which stands for an encrypted way: no such statement is about them.
    """
    for operator, tests in (statement.get("Condition") or {}).items():
        for name, value in tests.items():
            values = [str(each).lower() for each in (value if isinstance(value, list) else [value])]
            if name.lower() == "aws:securetransport" and operator.startswith("Bool") and values == ["false"]:
                return True
            if name.lower() == "s3:tlsversion" and operator.startswith("NumericLessThan"):
                return True
    return False
