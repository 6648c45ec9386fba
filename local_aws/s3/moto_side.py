"""Leads moto to the store: what else of it reads or writes objects (a template by its URL, an export of logs) meets the
same ones, and before it deletes a bucket it asks whether there is anything in it.
"""

from __future__ import annotations

import functools
import io
from types import SimpleNamespace
from typing import Any

from local_aws.errors import AwsError
from local_aws.s3.store import Store


def teach_moto(store: Store) -> None:
    """Let moto find objects in the store, and put them there."""
    from moto.s3.models import S3Backend

    delete_bucket = S3Backend.delete_bucket

    def get_object(self: Any, bucket_name: str, key_name: str, version_id: str | None = None, **_: Any) -> Any:
        self.get_bucket(bucket_name)
        try:
            found, body = store.open_body(bucket_name, key_name, version_id)
        except AwsError:
            return None
        with body:
            return SimpleNamespace(name=key_name, size=found.size, etag=f'"{found.etag}"', value=body.read())

    def put_object(self: Any, bucket_name: str, key_name: str, value: bytes | str, **_: Any) -> Any:
        self.get_bucket(bucket_name)
        data = value.encode() if isinstance(value, str) else value
        found = store.put(bucket_name, key_name, store.bodies.receive(io.BytesIO(data)), {})
        store.notify("s3:ObjectCreated:Put", found)
        return found

    @functools.wraps(delete_bucket)
    def delete_empty_bucket(self: Any, bucket_name: str) -> Any:
        # Nothing comes into it meanwhile.
        with store.index.lock:
            if store.index.holds_any(bucket_name):
                return None  # moto's way to say that it is not empty
            deleted = delete_bucket(self, bucket_name)
            store.forget_uploads(bucket_name)
        return deleted

    S3Backend.get_object, S3Backend.put_object = get_object, put_object
    S3Backend.delete_bucket = delete_empty_bucket
