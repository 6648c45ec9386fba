"""Which objects there are: an SQLite database whose every commit outlives the process.

SQLite: "Write-Ahead Logging" and PRAGMA synchronous. A commit is written to the log's file, and so in the system's
hands, before it returns; it is brought to the disk when the log is moved into the database.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local_aws.errors import AwsError

NAME = "objects.sqlite"
SCHEMA = """
CREATE TABLE about (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
-- A row a version: of one key the newest has the greatest id.
CREATE TABLE objects (
    id INTEGER PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, version TEXT NOT NULL, latest INTEGER NOT NULL,
    marker INTEGER NOT NULL, modified REAL NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL, body TEXT,
    about TEXT NOT NULL
);
CREATE INDEX versions ON objects (bucket, key, id DESC);
CREATE UNIQUE INDEX latest ON objects (bucket, key) WHERE latest;
CREATE INDEX bodies ON objects (body);
CREATE TABLE uploads (
    id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, begun REAL NOT NULL, about TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE parts (
    upload TEXT NOT NULL, number INTEGER NOT NULL, modified REAL NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
    body TEXT NOT NULL, about TEXT NOT NULL, PRIMARY KEY (upload, number)
) WITHOUT ROWID;
CREATE INDEX part_bodies ON parts (body);
"""
# SQLite moves the log into the database by itself from this many pages of 4 KB; before, that is done in the background.
LONGEST_LOG = 8000
COLUMNS = "id, bucket, key, version, latest, marker, modified, size, etag, body, about"
PART_COLUMNS = "number, modified, size, etag, body, about"


@dataclass
class StoredObject:
    """One version of an object, or the marker of its deletion."""

    bucket: str
    key: str
    version: str
    """`null` for one that was stored while the bucket was not versioned."""
    modified: float
    """Unix seconds."""
    size: int = 0
    etag: str = ""
    body: str | None = None
    """The name of the body; None for a marker."""
    about: dict[str, Any] = field(default_factory=dict)
    """What else is known of it, in the words of S3's API: ContentType, Metadata, StorageClass, ..."""
    latest: bool = True
    marker: bool = False
    id: int = 0


@dataclass
class Upload:
    """A multipart upload that goes on."""

    id: str
    bucket: str
    key: str
    begun: float
    about: dict[str, Any]


@dataclass
class Part:
    number: int
    modified: float
    size: int
    etag: str
    body: str
    about: dict[str, Any]


class Index:
    """The database. Whoever reads several things that belong together, or changes one, holds `lock`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.lock = threading.RLock()
        self._database: sqlite3.Connection | None = None

    @property
    def database(self) -> sqlite3.Connection:
        if self._database is None:
            raise AwsError("ServiceUnavailable", "The local AWS is shutting down.", status=503)
        return self._database

    def open(self, versions: str) -> None:
        """Open the database, or make one of these versions. Raises sqlite3.Error for what is none, OSError."""
        new = not self.path.exists()
        if new:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        self._database = self._connect()
        self._database.execute(f"PRAGMA wal_autocheckpoint = {LONGEST_LOG}")
        if new or not self._database.execute("SELECT 1 FROM sqlite_master").fetchone():
            kept = f"INSERT INTO about VALUES ('versions', '{versions}');"
            self._database.executescript(f"BEGIN; {SCHEMA} {kept} COMMIT;")

    def _connect(self) -> sqlite3.Connection:
        # Statements of several threads never meet: they hold the lock.
        database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=60)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        return database

    def close(self) -> None:
        with self.lock:
            if self._database is not None:
                self._database.close()
            self._database = None

    def sync(self) -> None:
        """Move the log into the database, and that to the disk, while others go on."""
        with contextlib.closing(self._connect()) as database:
            database.execute("PRAGMA wal_checkpoint(PASSIVE)")

    @contextlib.contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it outlives the process, or nothing. Raises OSError."""
        with self.lock:
            self.database.execute("BEGIN IMMEDIATE")
            try:
                yield self.database
                self.database.execute("COMMIT")
            except BaseException as error:
                # A full disk has ended it already.
                if self.database.in_transaction:
                    self.database.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):
                    number = errno.ENOSPC if "full" in str(error) else errno.EIO
                    raise OSError(number, f"{os.strerror(number)} (SQLite: {error})") from error
                raise

    # --- what is said of the whole

    def about(self, name: str) -> Any:
        with self.lock:
            found = self.database.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
        return found[0] if found else None

    def set_about(self, name: str, value: Any) -> None:
        with self.lock:
            self.database.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, value))

    # --- objects

    def find(self, bucket: str, key: str, version: str | None = None) -> StoredObject | None:
        """The latest version of a key, or that one."""
        where, values = "latest", (bucket, key)
        if version is not None:
            where, values = "version = ?", (bucket, key, version)  # type: ignore[assignment]
        found = self._rows(f"WHERE bucket = ? AND key = ? AND {where}", values, 1)
        return found[0] if found else None

    def newest(self, bucket: str, key: str) -> StoredObject | None:
        """The version of a key that was stored last, whatever is marked as the latest."""
        found = self._rows("WHERE bucket = ? AND key = ? ORDER BY id DESC", (bucket, key), 1)
        return found[0] if found else None

    def latest_from(self, bucket: str, key: str, count: int, *, after: bool) -> list[StoredObject]:
        """Up to so many objects from a key on, or after it, in the order of their keys' UTF-8."""
        sign = ">" if after else ">="
        where = f"WHERE bucket = ? AND key {sign} ? AND latest AND NOT marker ORDER BY key"
        return self._rows(where, (bucket, key), count)

    def versions_from(self, bucket: str, key: str, count: int, *, before: int | None = None) -> list[StoredObject]:
        """Up to so many versions and markers from a key on, each key's newest first; with `before`, that key's older
        than this id first, and then the keys after it."""
        order = "ORDER BY key, id DESC"
        if before is None:
            return self._rows(f"WHERE bucket = ? AND key >= ? {order}", (bucket, key), count)
        where = f"WHERE bucket = ? AND ((key = ? AND id < ?) OR key > ?) {order}"
        return self._rows(where, (bucket, key, before, key), count)

    def add(self, found: StoredObject) -> None:
        values = (
            found.bucket, found.key, found.version, found.latest, found.marker, found.modified, found.size, found.etag,
            found.body, json.dumps(found.about),
        )  # fmt: skip
        found.id = self.database.execute(
            "INSERT INTO objects (bucket, key, version, latest, marker, modified, size, etag, body, about) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values,
        ).lastrowid or 0  # fmt: skip

    def remove(self, found: StoredObject) -> None:
        self.database.execute("DELETE FROM objects WHERE id = ?", (found.id,))

    def set_latest(self, found: StoredObject, latest: bool) -> None:
        self.database.execute("UPDATE objects SET latest = ? WHERE id = ?", (latest, found.id))

    def describe(self, found: StoredObject) -> None:
        """Save an object's `about`."""
        self.database.execute("UPDATE objects SET about = ? WHERE id = ?", (json.dumps(found.about), found.id))

    def holds_any(self, bucket: str) -> bool:
        with self.lock:
            found = self.database.execute("SELECT 1 FROM objects WHERE bucket = ? LIMIT 1", (bucket,))
            return found.fetchone() is not None

    def needs(self, body: str) -> bool:
        """Whether anything has this body."""
        asked = "SELECT 1 FROM objects WHERE body = ?1 UNION ALL SELECT 1 FROM parts WHERE body = ?1 LIMIT 1"
        return self.database.execute(asked, (body,)).fetchone() is not None

    def bodies(self) -> dict[str, int]:
        """Every body that is needed, and its size."""
        with self.lock:
            asked = "SELECT body, size FROM objects WHERE body IS NOT NULL UNION SELECT body, size FROM parts"
            return dict(self.database.execute(asked))

    def _rows(self, where: str, values: tuple[Any, ...], count: int) -> list[StoredObject]:
        with self.lock:
            rows = self.database.execute(f"SELECT {COLUMNS} FROM objects {where} LIMIT ?", (*values, count)).fetchall()
        return [
            StoredObject(row[1], row[2], row[3], row[6], row[7], row[8], row[9], json.loads(row[10]), bool(row[4]),
                         bool(row[5]), row[0])
            for row in rows
        ]  # fmt: skip

    # --- uploads

    def add_upload(self, upload: Upload) -> None:
        values = (upload.id, upload.bucket, upload.key, upload.begun, json.dumps(upload.about))
        self.database.execute("INSERT INTO uploads VALUES (?, ?, ?, ?, ?)", values)

    def upload(self, number: str) -> Upload | None:
        with self.lock:
            row = self.database.execute("SELECT * FROM uploads WHERE id = ?", (number,)).fetchone()
        return Upload(*row[:4], json.loads(row[4])) if row else None

    def uploads(self, bucket: str) -> list[Upload]:
        with self.lock:
            rows = self.database.execute("SELECT * FROM uploads WHERE bucket = ? ORDER BY key, begun, id", (bucket,))
            return [Upload(*row[:4], json.loads(row[4])) for row in rows]

    def remove_upload(self, number: str) -> list[str]:
        """Remove an upload with its parts: the names of their bodies."""
        bodies = [body for (body,) in self.database.execute("SELECT body FROM parts WHERE upload = ?", (number,))]
        self.database.execute("DELETE FROM parts WHERE upload = ?", (number,))
        self.database.execute("DELETE FROM uploads WHERE id = ?", (number,))
        return bodies

    def add_part(self, upload: str, part: Part) -> str | None:
        """Add or replace a part: the name of the body of the one that it replaces."""
        before = self.database.execute(
            "SELECT body FROM parts WHERE upload = ? AND number = ?", (upload, part.number)
        ).fetchone()
        self.database.execute(
            "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?, ?)",
            (upload, part.number, part.modified, part.size, part.etag, part.body, json.dumps(part.about)),
        )
        return before[0] if before else None

    def parts(self, upload: str) -> list[Part]:
        with self.lock:
            rows = self.database.execute(
                f"SELECT {PART_COLUMNS} FROM parts WHERE upload = ? ORDER BY number", (upload,)
            )
            return [Part(*row[:5], json.loads(row[5])) for row in rows]
