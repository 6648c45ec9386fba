"""Captured calls are read the newest first, within limits, once; whatever else lies there is counted."""

from __future__ import annotations

import datetime as dt
import math

import pytest
from musher.page import captured
from musher.page.captured import Captured

from tests.plugins.page.capturing import NOW, PREFIX, Bucket, line, photo

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def bucket():
    return Bucket()


@pytest.fixture
def read(bucket):
    def read(before=None, now=NOW, classes=("a", "b")):
        return captured.read(bucket, "b", PREFIX, classes, before or Captured(), now)

    return read


def test_calls_come_the_newest_first_however_far_apart(bucket, read):
    for hours in (0, 1, 30, 100):
        bucket.capture(NOW - hours * HOUR, line(photo(hours), at=NOW - hours * HOUR, probability=hours / 200))
    bucket.objects[f"{PREFIX}2026/13/01/99/x.jsonl"] = b"no hour"
    assert [each.probability for each in read().calls] == [0.0, 0.005, 0.15, 0.5]


def test_what_is_older_than_a_week_is_left_alone(bucket, read):
    bucket.capture(NOW - dt.timedelta(days=8), line(photo()))
    assert read() == Captured()
    assert [operation for operation, _ in bucket.asked].count("get") == 0


def test_each_file_is_read_once_and_an_hour_that_has_settled_listed_once(bucket, read):
    bucket.capture(NOW - 5 * HOUR, line(photo(1)))
    first = read()
    newest = bucket.capture(NOW, line(photo(2)))
    bucket.asked.clear()
    second = read(first)
    assert len(second.calls) == 2
    assert [key for operation, key in bucket.asked if operation == "get"] == [newest]
    assert not [key for operation, key in bucket.asked if key.endswith("/07/")]


@pytest.mark.parametrize("limit", ["MOST_BYTES", "FILES_A_ROUND"])
def test_a_round_reads_no_more_than_its_limit_and_the_next_one_goes_on(bucket, read, monkeypatch, limit):
    files = [bucket.capture(NOW - minutes * HOUR / 60, line(photo(minutes))) for minutes in range(4)]
    monkeypatch.setattr(captured, limit, 2 * len(bucket.objects[files[0]]) if limit == "MOST_BYTES" else 2)
    first = read()
    assert (len(first.calls), first.unread) == (2, True)
    second = read(first)
    assert (len(second.calls), second.unread) == (4, False)
    assert len([each for operation, each in bucket.asked if operation == "get"]) == 4


def test_a_file_larger_than_a_round_is_read_as_far_as_that_goes(bucket, read, monkeypatch):
    one = line(photo(1))
    bucket.capture(NOW, *[one] * 10)
    (size,) = map(len, bucket.objects.values())
    monkeypatch.setattr(captured, "MOST_BYTES", size // 2 + 10)
    found = read()
    assert (len(found.calls), found.unreadable, found.unread) == (5, 1, False)


def test_of_many_calls_the_newest_are_kept(bucket, read, monkeypatch):
    monkeypatch.setattr(captured, "MOST_CALLS", 3)
    for minutes in range(3):
        bucket.capture(NOW - minutes * HOUR / 60, *[line(photo(minutes), at=NOW - minutes * HOUR / 60)] * 2)
    found = read()
    assert [each.at.minute for each in found.calls] == [30, 30, 29]
    assert found.more


@pytest.mark.parametrize("encoding", ["JSON", "BASE64"])
def test_a_call_is_its_label_whatever_the_answer_is_written_in(bucket, read, encoding):
    logits = [[0.0, math.log(3)]]
    bucket.capture(NOW, line(photo(1), "b", 0.75, encoding=encoding), line(photo(2), answer=logits, encoding=encoding))
    found = [(each.label, round(each.probability, 6), each.weights, each.bytes) for each in read().calls]
    assert found == [("b", 0.75, "0123456789abcdef", len(photo(1))), ("b", 0.75, "0123456789abcdef", len(photo(2)))]


@pytest.mark.parametrize(
    "written",
    [
        "no JSON",
        "[" * 100_000,
        "null",
        '{"captureData": {}}',
        {**line(photo()), "eventMetadata": {"inferenceTime": "yesterday"}},
        line(photo(), answer={"predictions": []}),
        line(photo(), answer={"predictions": [{"label": "a", "probability": 7}]}),
        line(photo(), answer=[[1.0, 2.0, 3.0]]),
        line(photo(), answer=[["1", 2]]),
        line(photo(), answer=[[float("nan"), 2]]),
        line(b""),
    ],
)
def test_what_is_no_call_is_counted_and_keeps_nothing_else_from_being_read(bucket, read, written):
    bucket.capture(NOW, written, line(photo()))
    found = read()
    assert (len(found.calls), found.unreadable) == (1, 1)


def test_pictures_are_found_again_and_those_that_are_gone_left_out(bucket, read):
    kept = bucket.capture(NOW, line(photo(1)), line(photo(2)), name="a")
    gone = bucket.capture(NOW, line(photo(3)), name="b")
    calls = read().calls
    del bucket.objects[gone]
    bucket.objects[kept] = bucket.objects[kept].split(b"\n")[0] + b"\nother"
    found = captured.pictures(bucket, "b", calls)
    assert found.keys() == {
        each.picture for each in calls if each.bytes == len(photo(1)) and each.key == kept and not each.line
    }
