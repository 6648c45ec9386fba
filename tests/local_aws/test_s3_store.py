"""The store of S3's objects by itself: what many do at once, and what is left when something fails."""

from __future__ import annotations

import contextlib
import errno
import io
import random
import sqlite3
import threading

import pytest
from moto.backends import get_backend

from local_aws.errors import AwsError
from local_aws.s3.store import Store

BUCKET, ACCOUNT = "bucket", "111122224444"


@pytest.fixture(params=[None, "Enabled"], ids=["plain", "versioned"])
def store(request, tmp_path):
    """A store with an empty bucket."""
    found = Store(tmp_path, ACCOUNT)
    found.open(expected=False)
    backend = get_backend("s3")[ACCOUNT]["aws"]
    backend.create_bucket(BUCKET, "us-east-1").versioning_status = request.param
    yield found
    found.close()
    backend.buckets.clear()
    get_backend("s3").bucket_accounts.pop(BUCKET, None)


def put(store: Store, key: str, body: bytes, **more) -> None:
    store.put(BUCKET, key, store.bodies.receive(io.BytesIO(body)), {}, **more)


def read(store: Store, key: str) -> bytes:
    _, file = store.open_body(BUCKET, key)
    with file:
        return file.read()


def needed(store: Store) -> dict[str, int]:
    return store.index.bodies()


def test_bodies_that_many_store_and_delete_at_once_are_there_as_long_as_they_are_needed(store):
    # GIVEN few bodies and few keys, so that one is dropped while another one comes
    bodies = [bytes([number]) * 3000 for number in range(3)]
    failed: list[Exception] = []
    found: set[bytes] = set()

    def work(number: int) -> None:
        chance = random.Random(number)
        try:
            for _ in range(150):
                key = chance.choice("abcdef")
                if chance.random() < 0.6:
                    put(store, key, chance.choice(bodies))
                elif chance.random() < 0.5:
                    store.delete(BUCKET, key)
                else:
                    for each in list(store.versions(BUCKET, key))[:1]:
                        store.delete(BUCKET, key, each.version)
                with contextlib.suppress(AwsError):
                    found.add(read(store, chance.choice("abcdef")))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    # THEN nobody found one missing, none is left over, and of each key one version is the latest
    assert failed == []
    assert found == set(bodies)
    assert store.bodies.sizes() == needed(store)
    rows = list(store.versions(BUCKET, ""))
    for key in {each.key for each in rows}:
        newest = [each for each in rows if each.key == key]
        assert [each.latest for each in newest] == [True] + [False] * (len(newest) - 1)


def test_what_fails_leaves_nothing_behind(store, monkeypatch):
    put(store, "before", b"before")
    there = store.bodies.sizes()

    def refuse(_):
        raise AwsError("PreconditionFailed", "no", status=412)

    with pytest.raises(AwsError):
        put(store, "before", b"refused", check=refuse)

    def full(_):
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(store.index, "add", full)
        with pytest.raises(OSError, match="No space left") as caught:
            put(store, "before", b"full")
    assert caught.value.errno == errno.ENOSPC
    assert read(store, "before") == b"before"

    class Broken:
        def read(self, count):
            raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="broken"):
        store.bodies.receive(Broken())
    assert store.bodies.sizes() == there


def test_a_body_can_be_read_to_its_end_after_it_was_deleted(store):
    put(store, "a", b"a" * 5000)
    found, file = store.open_body(BUCKET, "a")
    store.delete(BUCKET, "a", found.version)
    assert store.bodies.sizes() == {}
    with file:
        assert file.read() == b"a" * 5000
    # AND the same body can come again
    put(store, "a", b"a" * 5000)
    assert read(store, "a") == b"a" * 5000
