"""The search for secrets finds them wherever they are: what it does not find in a chain is not there."""

from __future__ import annotations

import io
import sqlite3
import tarfile
import zipfile

import pytest

from tests.chain.leaks import Search, unpacked

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYnotAKey"
QUOTED = "wJalrXUtnFEMI%2FK7MDENG%2BbPxRfiCYnotAKey"


def tar(body: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        member = tarfile.TarInfo("settings.json")
        member.size = len(body)
        packed.addfile(member, io.BytesIO(body))
    return buffer.getvalue()


def zipped(body: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("settings.json", body)
    return buffer.getvalue()


@pytest.mark.parametrize("text", [SECRET, f"aws://AKIA:{QUOTED}@/"])
def test_a_secret_in_a_database_or_a_file_is_found(tmp_path, text):
    with sqlite3.connect(tmp_path / "airflow.db") as database:
        database.execute("CREATE TABLE xcom (key TEXT, value BLOB)")
        # GIVEN a value that no page of the database holds in one piece
        database.execute("INSERT INTO xcom VALUES ('a', ?)", (b"x" * 4000 + text.encode() + b"x" * 9000,))
    database.close()
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/task.log").write_text(f"signed with {text}")
    search = Search({"the key": SECRET, "another": "not there"})
    search.database(tmp_path / "airflow.db")
    search.folder(tmp_path / "logs")
    assert search.found == ["the key is in xcom.value", "the key is in task.log"]
    assert search.looked == {"xcom": 2, "files": 1}


@pytest.mark.parametrize("pack", [bytes, tar, zipped])
def test_a_secret_in_an_archive_is_found(pack):
    search = Search({"the key": SECRET})
    for part in unpacked(pack(f'{{"key": "{SECRET}"}}'.encode())):
        search.text("objects", "a", part)
    assert search.found == ["the key is in a"]
