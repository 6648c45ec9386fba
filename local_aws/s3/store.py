"""S3's objects and their versions: what is put, copied and deleted, and in which order it is listed."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import secrets
import sqlite3
import string
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from local_aws.s3 import errors
from local_aws.s3.bodies import Bodies, Received
from local_aws.s3.buckets import Buckets
from local_aws.s3.index import Index, StoredObject
from local_aws.state import snapshot

log = logging.getLogger(__name__)

SYNC_SECONDS = 5.0
ID_CHARACTERS = string.ascii_letters + string.digits + "._"
# How many rows a list takes from the index at a time: few at first, since common prefixes are leapt over.
FIRST_ROWS, MOST_ROWS = 4, 1024


class Store:
    """The objects of one account.

    What a method has returned from outlives the process: a SIGKILL takes nothing of it. A power cut can take the last
    `SYNC_SECONDS`.
    """

    def __init__(self, folder: Path, account: str) -> None:
        self.folder, self.account = folder, account
        self.index = Index(folder)
        self.bodies = Bodies(folder / "objects")
        self.buckets = Buckets(account, self.index)
        self._stored = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._sync_now_and_then, name="objects", daemon=True)

    # --- the whole

    def open(self, *, expected: bool) -> None:
        """Open what is there, and put the buckets back. Raises snapshot.Refused, OSError.

        Parameters: `expected` when there has to be something, since the rest of the state is there.
        """
        folder, path = self.folder, self.index.path
        if path.exists():
            snapshot.require_own(folder, path)
        elif expected:
            raise snapshot.refused(folder, f"is damaged: {path.name} is missing")
        self.bodies.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self.index.open(json.dumps(snapshot.versions()))
            snapshot.require_versions(folder, json.loads(self.index.about("versions")))
            self._check_bodies()
            self.buckets.restore()
        except sqlite3.Error as error:
            raise snapshot.refused(folder, f"is damaged: {path.name} cannot be read ({error})") from error
        except (OSError, snapshot.Refused):
            raise
        except Exception as error:
            raise snapshot.unreadable(folder, error) from error
        finally:
            if sys.exc_info()[0] is not None:
                self.index.close()
        self._thread.start()

    def _check_bodies(self) -> None:
        needed, there = self.index.bodies(), self.bodies.sizes()
        for body, size in needed.items():
            if there.get(body) != size:
                why = f"is damaged: the object body {self.bodies.path(body)} is missing or not whole"
                raise snapshot.refused(self.folder, why)
        for name in there.keys() - needed.keys():
            # Of a call that was never answered.
            self.bodies.path(name).unlink(missing_ok=True)

    def close(self) -> None:
        self._closed = True
        self._stored.set()
        if self._thread.is_alive():
            self._thread.join()
        self.index.close()

    def _sync_now_and_then(self) -> None:
        while not self._closed:
            self._stored.wait()
            deadline = time.monotonic() + SYNC_SECONDS
            while not self._closed and time.monotonic() < deadline:
                time.sleep(min(0.1, SYNC_SECONDS))
            if not self._closed:
                self._stored.clear()
            try:
                with self.index.lock:
                    names = self.bodies.take_unsynced()
                self.bodies.sync(names)
                self.index.sync()
            except Exception as error:
                log.warning("the objects of S3 could not be brought to the disk: %s", error)

    # --- objects

    def put(
        self,
        bucket: str,
        key: str,
        body: Received,
        about: dict[str, Any],
        *,
        etag: str | None = None,
        check: Callable[[StoredObject | None], None] = lambda _: None,
        also: Callable[[], list[str]] = list,
    ) -> StoredObject:
        """Store a version of an object. Raises AwsError, OSError.

        Parameters
        ----------
        check
            Is told what the key has now, and raises for what must not be replaced.
        also
            Is done in the same transaction; it gives names of bodies that it needs no longer.
        """
        try:
            with self.index.lock:
                known = self.buckets.get(bucket)
                before = self.index.find(bucket, key)
                check(before)
                self.buckets.keep_if_new(bucket)
                added = StoredObject(bucket, key, "null", time.time(), body.size, etag or body.md5.hex(), about=about)
                with self.kept(body) as added.body, self.index.change():
                    unneeded = [*self._add(added, before, known.versioning_status), *also()]
                self._drop(unneeded)
        except BaseException:
            self.bodies.discard(body)
            raise
        self._stored.set()
        return added

    def _add(self, added: StoredObject, before: StoredObject | None, versioning: str | None) -> list[str]:
        """Make something the latest of its key: the bodies that may not be needed any more."""
        unneeded = []
        if versioning == "Enabled":
            added.version = new_id(32)
            replaced = None
        else:
            replaced = self.index.find(added.bucket, added.key, "null") if versioning else before
        if replaced is not None:
            self.index.remove(replaced)
            unneeded.append(replaced.body)
        if before is not None and (replaced is None or before.id != replaced.id):
            self.index.set_latest(before, False)
        self.index.add(added)
        return [each for each in unneeded if each]

    def get(self, bucket: str, key: str, version: str | None = None) -> StoredObject:
        """Raises AwsError for a bucket, a key or a version that does not exist."""
        self.buckets.get(bucket)
        found = self.index.find(bucket, key, version)
        if found is None:
            raise errors.no_such_key(key) if version is None else errors.no_such_version(key, version)
        return found

    def open_body(self, bucket: str, key: str, version: str | None = None) -> tuple[StoredObject, BinaryIO]:
        """An object and its body, to be read and closed; it can be read whatever happens to the object meanwhile.

        Raises AwsError, also for a marker.
        """
        with self.index.lock:
            found = self.get(bucket, key, version)
            if found.body is None:
                raise errors.no_such_key(key)
            return found, self.bodies.open(found.body)

    def delete(
        self,
        bucket: str,
        key: str,
        version: str | None = None,
        check: Callable[[StoredObject | None], None] = lambda _: None,
    ) -> StoredObject | None:
        """Delete one version for good, or the key: in a bucket with versions that puts a marker on it.

        Returns what was deleted, or the marker that was put; None when there was nothing. Raises AwsError.
        """
        with self.index.lock:
            versioning = self.buckets.get(bucket).versioning_status
            before = self.index.find(bucket, key, version)
            check(before)
            self.buckets.keep_if_new(bucket)
            if version is None and versioning:
                marker = StoredObject(bucket, key, "null", time.time(), marker=True)
                with self.index.change():
                    unneeded = self._add(marker, before, versioning)
                self._drop(unneeded)
                return marker
            if before is None:
                return None
            with self.index.change():
                self.index.remove(before)
                if before.latest and (newest := self.index.newest(bucket, key)):
                    self.index.set_latest(newest, True)
            self._drop([before.body] if before.body else [])
            return before

    def describe(self, found: StoredObject) -> None:
        """Save an object's `about`, such as its tags, without making a version."""
        with self.index.change():
            self.index.describe(found)

    def notify(self, event: str, found: StoredObject) -> None:
        """Tell of an event such as `s3:ObjectCreated:Put` whom the bucket's configuration names."""
        self.buckets.notify(self.buckets.get(found.bucket), event, found)

    def forget_uploads(self, bucket: str) -> None:
        """What has been uploaded in parts and never completed goes with its bucket."""
        with self.index.lock:
            with self.index.change():
                bodies = [body for each in self.index.uploads(bucket) for body in self.index.remove_upload(each.id)]
            self._drop(bodies)

    @contextlib.contextmanager
    def kept(self, body: Received) -> Iterator[str]:
        """Keep a body under its name, unless what is done with it fails. The index's lock is held."""
        name = self.bodies.keep(body)
        try:
            yield name
        except BaseException:
            self._drop([name])
            raise

    def _drop(self, bodies: list[str]) -> None:
        for body in set(bodies):
            if not self.index.needs(body):
                self.bodies.drop(body)

    def drop(self, bodies: list[str]) -> None:
        """Delete those of these bodies that nothing needs."""
        with self.index.lock:
            self._drop(bodies)

    # --- lists

    def latest(self, bucket: str, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """The objects under a prefix whose keys come after `after`, in the order of S3: of the keys' UTF-8."""
        start, past = (after, True) if after >= prefix and after else (prefix, False)
        return _under(
            prefix,
            lambda last, count: self.index.latest_from(
                bucket, last.key if last else start, count, after=past or last is not None
            ),
        )

    def versions(self, bucket: str, prefix: str, after: str = "", version: str | None = None) -> Iterator[StoredObject]:
        """Versions and markers under a prefix, each key's newest first: those of the keys after `after`, or with
        `version` those that come after that version of it."""
        start, before = prefix, None
        if after and after >= prefix:
            known = self.index.find(bucket, after, version) if version else None
            start, before = (after, known.id) if known else (after, 0)
        return _under(
            prefix,
            lambda last, count: self.index.versions_from(
                bucket, last.key if last else start, count, before=last.id if last else before
            ),
        )


def _under(prefix: str, rows: Callable[[StoredObject | None, int], list[StoredObject]]) -> Iterator[StoredObject]:
    """Those under a prefix, in portions that grow.

    Parameters: `rows` gives up to so many after the last of the portion before; None for the first.
    """
    last, count = None, FIRST_ROWS
    while portion := rows(last, count):
        for found in portion:
            if not found.key.startswith(prefix):
                return
            yield found
        if len(portion) < count:
            return
        last, count = portion[-1], min(4 * count, MOST_ROWS)


def new_id(length: int) -> str:
    return "".join(secrets.choice(ID_CHARACTERS) for _ in range(length))


def moment(seconds: float) -> dt.datetime:
    """A time as S3 has it: of whole seconds, in UTC."""
    return dt.datetime.fromtimestamp(int(seconds), dt.UTC)


def quoted(etag: str) -> str:
    return f'"{etag}"'
