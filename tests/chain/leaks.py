"""Where a secret may have got to: every value of Airflow's database, every file of a folder, every object of a bucket
with what is packed in it, every line of the jobs' and functions' logs."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

PRIVATE = "PRIVATE KEY-----"


def forms(secret: str) -> set[bytes]:
    """A secret as it is, and as it stands in an address."""
    return {secret.encode(), quote(secret, safe="").encode()}


def secrets_of(stack: Any) -> tuple[str, dict[str, str]]:
    """The id of the key that Airflow calls AWS with, and every secret of a stack: that key's, and Airflow's own, which
    lie where nobody else may read."""
    files = [stack.home / f"stack/{name}.json" for name in ("secrets", "credentials")]
    assert [file for file in files if file.stat().st_mode & 0o077] == []
    drawn, credentials = (json.loads(file.read_text()) for file in files)
    address = credentials["TOKEN"].rstrip("=")
    session = requests.get(f"{stack.stack.aws_url}/_local_aws/credentials/{address}", timeout=10).json()
    named = {"the secret key": session["SecretAccessKey"], "the session's token": session["Token"]}
    return session["AccessKeyId"], drawn | named | {"the session's address": address, "a private key": PRIVATE}


class Search:
    """Looks for secrets, by what they are called: `found` is a line for each place, `looked` counts what was read."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self.needles = [(name, form) for name, secret in secrets.items() for form in forms(secret)]
        self.found: list[str] = []
        self.looked: dict[str, int] = {}

    def text(self, kind: str, where: str, content: bytes) -> None:
        self.looked[kind] = self.looked.get(kind, 0) + 1
        for name, needle in self.needles:
            if needle in content:
                line = f"{name} is in {where}"
                if line not in self.found:
                    self.found.append(line)

    def database(self, file: Path) -> None:
        """Every value of every table of a SQLite database: a value may be spread over its file."""
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        try:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                rows = connection.execute(f'SELECT * FROM "{table}"')
                columns = [each[0] for each in rows.description]
                for row in rows:
                    for column, value in zip(columns, row, strict=True):
                        if isinstance(value, str | bytes):
                            content = value.encode() if isinstance(value, str) else value
                            self.text(table, f"{table}.{column}", content)
        finally:
            connection.close()

    def folder(self, folder: Path) -> None:
        for file in folder.rglob("*"):
            if file.is_file() and not file.is_symlink():
                self.text("files", str(file.relative_to(folder)), file.read_bytes())

    def bucket(self, s3: Any, bucket: str) -> None:
        """Every version of every object, archives unpacked."""
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for each in page.get("Versions", ()):
                answer = s3.get_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])
                for part in unpacked(answer["Body"].read()):
                    self.text("objects", f"s3://{bucket}/{each['Key']}", part)

    def logs(self, logs: Any) -> None:
        """What jobs, endpoints and functions wrote."""
        for page in logs.get_paginator("describe_log_groups").paginate():
            for group in page["logGroups"]:
                for line in _events(logs, group["logGroupName"]):
                    self.text("log lines", group["logGroupName"], line.encode())


def unpacked(body: bytes) -> Iterable[bytes]:
    """An object's own bytes, and what is packed in it."""
    yield body
    if body.startswith(b"\x1f\x8b"):
        yield gzip.decompress(body)  # of a tar: its members stand in it as they are
    elif body.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(body)) as packed:
            yield from (packed.read(name) for name in packed.namelist())


def _events(logs: Any, group: str) -> Iterator[str]:
    for page in logs.get_paginator("describe_log_streams").paginate(logGroupName=group):
        for stream in page["logStreams"]:
            name, token = {"logGroupName": group, "logStreamName": stream["logStreamName"]}, {}
            while True:
                answer = logs.get_log_events(**name, startFromHead=True, **token)
                yield from (each["message"] for each in answer["events"])
                if not answer["events"] or token.get("nextToken") == answer["nextForwardToken"]:
                    break
                token = {"nextToken": answer["nextForwardToken"]}
