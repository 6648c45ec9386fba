"""What an instance says is not trusted: whoever has taken it over may answer anything."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable

import pytest
from musher.ec2 import host_job, host_status
from musher.ec2.history import History
from musher.ec2.host_log import LONGEST_LINE, printable
from musher.ec2.ssh import CommandFailed, Host
from musher.errors import UserError
from musher.job_output import LARGEST_EVALUATION, read_evaluation, read_predictions
from musher.record import Ec2Instance

CHUNK = host_job.CHUNK


class Answers:
    """A host whose next answer is given."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def run(self, command: str, stdin: bytes = b"", seconds: float = 0) -> bytes:
        return self.answer


def look(status: bytes, log: bytes = b"", alive: bytes = b"alive", offset: bytes = b"0") -> host_job.Look:
    return host_job.look(Answers(b"\n".join((alive, status, offset, log))))


@pytest.mark.parametrize(
    "status",
    [
        b"{not json",
        b"[]",
        b'"completed"',
        b"null",
        b'{"state": ["completed"]}',
        b'{"state": "a state of its own"}',
        b'{"state": "training", "training_started_at": "yesterday"}',
        b'{"state": "training", "checkpoint_at": NaN}',
        b'{"state": "failed", "reason": {"a": 1}}',
        b'{"state": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"state": "training", "training_started_at": 1e999}',
        b"\xff\xfe",
    ],
)
def test_a_status_that_is_none_ends_nothing_and_says_so(status):
    seen = look(status, b"a line\n")
    assert seen.state == "unknown"
    assert seen.lines == ["a line"]
    assert seen.state not in host_job.FINISHED
    assert seen.status.reason.startswith("its status.json is not what run_on_ec2.py writes")


def test_a_status_is_read_with_what_a_later_version_adds():
    seen = look(b'{"state": "training", "training_started_at": 12.5, "added_later": [1]}')
    assert (seen.state, seen.status.training_started_at) == ("training", 12.5)


@pytest.mark.parametrize("offset", [b"", b"many", b"-5", b"9" * 400])
def test_a_forged_offset_starts_the_log_anew(offset):
    seen = look(b'{"state": "training"}', b"a line\n", offset=offset)
    assert (seen.lines, seen.shown) == (["a line"], 7)


def test_a_line_longer_than_one_look_does_not_stop_the_log():
    seen = look(b'{"state": "training"}', b"x" * CHUNK)
    assert seen.shown == CHUNK
    assert len(seen.lines) == 1
    assert len(seen.lines[0]) < LONGEST_LINE + 100


def test_one_look_never_takes_more_than_it_asked_for():
    with pytest.raises(CommandFailed, match="more than it was asked for"):
        look(b'{"state": "training"}', b"x\n" * CHUNK)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"plain, with a\ttab", "plain, with a tab"),
        ("Grüße, 犬".encode(), "Grüße, 犬"),
        (b"\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        (b"\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        (b"\x1b[2J\x1b[1;1H", "\\x1b[2J\\x1b[1;1H"),
        (b" 10 %\r 50 %\r100 %", "100 %"),
        (b"windows\r", "windows"),
        ("a\u2028[2026-01-01] ERROR".encode(), "a\\u2028[2026-01-01] ERROR"),
        ("a\x85b\x0bc\x0cd\x1ce".encode(), "a\\x85b\\x0bc\\x0cd\\x1ce"),
        ("\u202egnp.exe".encode(), "\\u202egnp.exe"),
        (b"\xff\x00", "\N{REPLACEMENT CHARACTER}\\x00"),
    ],
)
def test_a_line_shows_what_would_move_a_terminal_or_start_another_line(said, shown):
    assert printable(said) == shown
    # However it came, it is one line of the task's log.
    assert len(printable(said).splitlines()) == 1


def test_a_long_line_is_cut_and_says_by_how_much():
    assert printable(b"x" * (LONGEST_LINE + 7)).endswith("... (7 characters more)")


def test_the_last_lines_are_cleaned_too():
    assert host_job.last_lines(Answers(b"\x1b[31ma\nb\r\n" * 40)) == "\n".join(["\\x1b[31ma", "b"] * 40)[-8000:]


class Channel:
    """A channel that goes on for ever."""

    def exit_status_ready(self) -> bool:
        return False


class Endless:
    """paramiko's client, of a host that never stops talking."""

    def exec_command(self, command: str, timeout: float):
        endless = io.BytesIO()
        endless.read = lambda size=-1: b"x" * (size if size > 0 else 1 << 20)
        given = io.BytesIO()
        given.channel = type("Given", (), {"shutdown_write": lambda self: None})()
        return given, endless, io.BytesIO()

    def close(self) -> None:
        pass


def test_a_host_that_never_stops_talking_is_left():
    host = Host("127.0.0.1", 22, "ubuntu", [], lambda key: None, _client=Endless())
    with pytest.raises(CommandFailed, match=r"said more than 1048576 bytes"):
        host.run("true")


class Stored:
    """One object in S3."""

    class exceptions:
        class NoSuchKey(Exception): ...

    def __init__(self, body: bytes | None) -> None:
        self.body = body

    def get_object(self, **_):
        if self.body is None:
            raise self.exceptions.NoSuchKey
        return {"Body": io.BytesIO(self.body), "ContentLength": len(self.body)}


def archive(name: str, content: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    buffer = io.BytesIO()
    # Without the time in its head: the bytes name the test, in every process alike.
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size, info.type = len(content), kind
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def too_large(name: str) -> Callable[[], bytes]:
    """Made by the test that needs it: to pack it takes longer than to collect the file."""
    return lambda: archive(name, b" " * (LARGEST_EVALUATION + 1))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"no archive", "cannot be read"),
        (archive("evaluation.json", b"{not json"), "cannot be read"),
        (archive("evaluation.json", b"[1]"), "is no evaluation"),
        (archive("evaluation.json", b'{"accuracy": 2}'), "is no evaluation"),
        (too_large("evaluation.json"), "larger than"),
        (archive("other.json", b"{}"), "holds no evaluation.json"),
        (archive("evaluation.json", b"", tarfile.DIRTYPE), "holds no evaluation.json"),
        (None, "is not there"),
    ],
)
def test_an_evaluation_that_is_none_is_one_sentence(body, why):
    with pytest.raises(UserError, match=why) as caught:
        read_evaluation(Stored(body() if callable(body) else body), "s3://bucket/jobs/a/output/output.tar.gz")
    assert "\n" not in str(caught.value)
    assert "s3://bucket/jobs/a/output/output.tar.gz" in str(caught.value)


PICTURE = ["a/1.jpg", 9, 0, 0, 0.5]


def predictions(**changes) -> bytes:
    return archive(
        "predictions.json", json.dumps({"weights": "w", "classes": ["a"], "pictures": [PICTURE]} | changes).encode()
    )


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (archive("predictions.json", b"[" * 100_000), "cannot be read"),
        (archive("predictions.json", b"[1]"), "is no predictions"),
        (too_large("predictions.json"), "larger than"),
        (predictions(pictures=[["a/1.jpg", 9, 1, 0, 0.5]]), "a/1.jpg has a class beyond the 1 that there are"),
        (predictions(pictures=[["a/1.jpg", 9, 0, 0, 1.5]]), "is no predictions"),
        (predictions(pictures=[["a/1.jpg", 9, 0, 0]]), "is no predictions"),
    ],
)
def test_predictions_that_are_none_are_one_sentence(body, why):
    with pytest.raises(UserError, match=why) as caught:
        read_predictions(Stored(body() if callable(body) else body), "s3://bucket/jobs/a/output/output.tar.gz")
    assert "\n" not in str(caught.value)
    assert "s3://bucket/jobs/a/output/output.tar.gz" in str(caught.value)


def test_a_job_that_wrote_no_predictions_has_none():
    assert read_predictions(Stored(archive("evaluation.json", b"{}")), "s3://bucket/output.tar.gz") is None
    assert len(read_predictions(Stored(predictions()), "s3://bucket/output.tar.gz").pictures) == 1


def test_hosts_status_on_s3_that_is_none_counts_as_none():
    class Empty(Stored):
        def put_object(self, **_):
            pass

    history = History(Empty(None), "bucket", "run")
    history.instances = [
        Ec2Instance(
            instance_id="i-1",
            market="spot",
            launched_at="2026-01-01T00:00:00+00:00",
            ended_at="2026-01-01T00:01:00+00:00",
            seconds=60.0,
            ended_by="interruption",
        )
    ]
    for status in ({}, {"training_started_at": "x", "checkpoint_at": []}, [], "x", {"checkpoint_at": 1e400}):
        facts = history.facts(lambda _, status=status: host_status.read(json.dumps(status).encode()))
        assert (facts["seconds_saved"], facts["seconds_lost"]) == (0.0, 60.0)
    # A host that claims to have trained for longer than it lived.
    told = {"state": "interrupted", "training_started_at": 1.0, "checkpoint_at": 1e12}
    facts = history.facts(lambda _: host_status.read(json.dumps(told).encode()))
    assert (facts["seconds_saved"], facts["seconds_lost"]) == (60.0, 0.0)
