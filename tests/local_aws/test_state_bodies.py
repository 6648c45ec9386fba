"""Large objects, and what saves say that fail."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import os
import random
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from boto3.s3.transfer import TransferConfig

from local_aws.s3.store import Store
from local_aws.state.child import Child, ChildFailed
from local_aws.state.saver import Saver
from tests.local_aws.remembering import SOON

BUCKET = "large"
# The smallest part of an upload but the last.
PART = 5 << 20
# Saved when the test says so: at the end, and no sooner.
LATE = ("--save-every", "3600s")


def content(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(size)


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def upload(s3, key: str, parts: list[bytes]) -> None:
    """A multipart upload."""
    number = s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    named = {"Bucket": BUCKET, "Key": key, "UploadId": number}
    tags = [s3.upload_part(**named, PartNumber=at, Body=part)["ETag"] for at, part in enumerate(parts, 1)]
    done = [{"PartNumber": at, "ETag": tag} for at, tag in enumerate(tags, 1)]
    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": done})


def body_of(s3, key: str) -> bytes:
    return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()


def test_uploads_in_parts_outlive_a_kill(tmp_path, new_local_aws):
    # GIVEN uploads in parts, begun and completed without any save
    daemon = new_local_aws(state=tmp_path / "state", options=LATE)
    s3 = daemon.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    parts = [content(1, PART), content(2, PART), b"the end"]
    upload(s3, "whole", parts)
    # ... of which one was copied, and the other deleted afterwards
    upload(s3, "source", parts)
    s3.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "source"})
    s3.delete_object(Bucket=BUCKET, Key="source")
    # ... and one that goes on
    going = s3.create_multipart_upload(Bucket=BUCKET, Key="going")["UploadId"]
    first = s3.upload_part(Bucket=BUCKET, Key="going", UploadId=going, PartNumber=1, Body=parts[0])["ETag"]
    before = s3.head_object(Bucket=BUCKET, Key="whole", PartNumber=2)
    # THEN the parts of what is complete have no bodies of their own any more, but the one that goes on has
    sizes = sorted(path.stat().st_size for path in (tmp_path / "state/objects").iterdir())
    assert sizes == [PART, 2 * PART + len(parts[2])]
    daemon.stop(signal.SIGKILL)
    # AND all of it is there again
    again = new_local_aws(state=tmp_path / "state", options=SOON)
    s3 = again.client("s3")
    for key in ("whole", "copy"):
        assert body_of(s3, key) == b"".join(parts)
    after = s3.head_object(Bucket=BUCKET, Key="whole", PartNumber=2)
    assert [after[name] for name in ("ContentLength", "ETag", "PartsCount")] == [
        before[name] for name in ("ContentLength", "ETag", "PartsCount")
    ]
    second = s3.upload_part(Bucket=BUCKET, Key="going", UploadId=going, PartNumber=2, Body=b"on")["ETag"]
    done = [{"PartNumber": at, "ETag": tag} for at, tag in enumerate((first, second), 1)]
    s3.complete_multipart_upload(Bucket=BUCKET, Key="going", UploadId=going, MultipartUpload={"Parts": done})
    assert body_of(s3, "going") == parts[0] + b"on"


def test_large_objects_come_and_go_and_outlive_a_kill(tmp_path, new_local_aws):
    # GIVEN writers that store, replace, upload in parts, copy, read and delete
    daemon = new_local_aws(state=tmp_path / "state", options=LATE)
    daemon.client("s3").create_bucket(Bucket=BUCKET)
    transfer = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=2)
    end, last = time.monotonic() + 4, {}

    def write(writer: int) -> None:
        s3, file = daemon.client("s3"), tmp_path / f"writer-{writer}"
        for turn in itertools.count():
            if time.monotonic() > end:
                return
            body, key = content(writer * 1000 + turn, PART + 1000 + turn), f"{writer}/{turn % 2}"
            if turn % 3:
                s3.put_object(Bucket=BUCKET, Key=key, Body=body)
                s3.copy_object(Bucket=BUCKET, Key=f"{key}/copy", CopySource={"Bucket": BUCKET, "Key": key})
                last[f"{key}/copy"] = digest(body)
            else:
                file.write_bytes(body)
                s3.upload_file(str(file), BUCKET, key, Config=transfer)
            last[key] = digest(body)
            assert digest(body_of(s3, key)) == digest(body)
            if turn % 4 == 3:
                s3.delete_object(Bucket=BUCKET, Key=key)
                del last[key]

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, range(2)))
    # THEN after a kill every body is as it was, and no other is kept
    daemon.stop(signal.SIGKILL)
    s3 = new_local_aws(state=tmp_path / "state").client("s3")
    found = {each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert found == set(last)
    assert {key: digest(body_of(s3, key)) for key in found} == last
    assert {path.name for path in (tmp_path / "state/objects").iterdir()} == set(last.values())


def most_memory(daemon) -> int:
    """The most bytes that it had in memory."""
    lines = Path(f"/proc/{daemon.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what is read is Linux's")
def test_a_large_body_is_never_in_memory_as_a_whole(tmp_path, new_local_aws):
    daemon = new_local_aws(state=tmp_path / "state", options=LATE)
    s3, file, size = daemon.client("s3"), tmp_path / "large", 16 * PART
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="small", Body=b"")
    file.write_bytes(content(6, size))
    before = most_memory(daemon)
    with file.open("rb") as large:
        s3.put_object(Bucket=BUCKET, Key="large", Body=large)
    s3.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "large"})
    found = hashlib.sha256()
    for block in s3.get_object(Bucket=BUCKET, Key="copy")["Body"].iter_chunks(PART):
        found.update(block)
    assert found.hexdigest() == hashlib.sha256(file.read_bytes()).hexdigest()
    assert most_memory(daemon) - before < size / 2


def saver(folder) -> Saver:
    """One that saves what moto keeps in this process."""
    store = Store(folder, "111122223333")
    return Saver(SimpleNamespace(services=[], logs=SimpleNamespace(lock=threading.RLock()), store=store), folder)


def test_an_error_without_a_number_keeps_its_words():
    def work():
        raise FileNotFoundError("the object body 0123 is missing or not whole")

    with pytest.raises(ChildFailed, match="the object body 0123 is missing or not whole"):
        Child(work, ()).wait(30)


def test_an_error_of_the_system_says_which_file():
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: '/not/there'"):
        Child(lambda: os.stat("/not/there"), ()).wait(30)


def test_saves_that_fail_for_long_are_warned_of_until_one_succeeds(tmp_path, monkeypatch, caplog):
    clock, failing = [1000.0], OSError(5, "Input/output error")
    monkeypatch.setattr("local_aws.state.saver.time", SimpleNamespace(monotonic=lambda: clock[0]))
    saving = saver(tmp_path)
    saving.saved_at = dt.datetime(2026, 11, 25, 10, 58, 1, tzinfo=dt.UTC)

    def save():
        if failing:
            raise failing

    monkeypatch.setattr(saving, "save", save)

    def warnings() -> list[str]:
        return [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]

    # GIVEN saves that fail, every 50 s, for half an hour
    assert not saving._try()
    assert (saving.describe()["problem"], saving.describe()["warning"]) == ("Input/output error", None)
    for _ in range(36):
        clock[0] += 50
        saving._try()
    # THEN the log says it after a minute and then every ten, and the health page as long as it lasts
    said = (
        "The state could not be saved for {} min (Input/output error): what a restart would give back is as of "
        "2026-11-25 10:58:01 UTC."
    )
    assert saving.describe()["warning"] == said.format(30)
    assert warnings() == [said.format(minutes) for minutes in (2, 12, 22)]
    # AND no more once one succeeds
    failing = None
    assert saving._try()
    assert saving.describe()["warning"] is None
