"""Captured calls of an endpoint, from the files that SageMaker's data capture leaves in the bucket.

Source of their form and place: SageMaker developer guide, "Capture data from real-time endpoint":
`<destination>/<endpoint>/<variant>/yyyy/mm/dd/hh/<file>.jsonl`. Callers fill them, so that there may be any number
of any size: a round reads the newest ones, and no more than the limits below.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from musher.release.parity import Prediction, predictions_in

DAYS = 7
MOST_CALLS = 500
MOST_FILES = 300
# Of a round; what is left comes with the next one.
FILES_A_ROUND, MOST_BYTES = 60, 16 * 2**20
# Files of an hour come some minutes after its end.
SETTLED = dt.timedelta(minutes=30)
_FOLDERS = ("year", "month", "day", "hour")
_HOUR = re.compile(r"(\d{4})/(\d\d)/(\d\d)/(\d\d)/$")
_LONGEST_LABEL = 200


@dataclass(frozen=True, slots=True)
class Call:
    """A captured call: `picture` by which equal pictures are known, their size in `bytes`; the most probable `label`
    and its probability; `weights` as the answer tells them, "" where it does not. `key` and `line`: where it lies."""

    at: dt.datetime
    picture: str
    bytes: int
    label: str
    probability: float
    weights: str
    key: str
    line: int


@dataclass(frozen=True)
class Captured:
    """What was read: `calls` the newest first; `unreadable` lines that are no call of ours; `more` whether there are
    older ones within DAYS that are left out, `unread` whether files are left for the next round.

    `files` and `hours` are what need not be read again.
    """

    calls: tuple[Call, ...] = ()
    unreadable: int = 0
    more: bool = False
    unread: bool = False
    files: Mapping[str, tuple[tuple[Call, ...], int]] = field(default_factory=dict)
    hours: Mapping[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)


def read(
    s3: Any, bucket: str, prefix: str, classes: Sequence[str], before: Captured, now: dt.datetime | None = None
) -> Captured:
    """The newest captured calls below a prefix that ends in a slash.

    Parameters: `classes` of the model, in which order logits come; `before` what the last round read.
    """
    hours: dict[str, tuple[tuple[str, int], ...]] = {}
    files: dict[str, tuple[tuple[Call, ...], int]] = {}
    calls: list[Call] = []
    left, asked, more, unread = MOST_BYTES, 0, False, False
    for key, size in _newest(s3, bucket, prefix, before.hours, hours, now or dt.datetime.now(dt.UTC)):
        if len(files) == MOST_FILES or len(calls) >= MOST_CALLS:
            more = True
            break
        if key in before.files:
            files[key] = before.files[key]
        elif asked == FILES_A_ROUND or (left < size and left < MOST_BYTES):
            unread = True
            break
        else:
            files[key] = parsed(_body(s3, bucket, key, left), key, classes)
            left, asked = left - size, asked + 1
        calls += files[key][0]
    calls.sort(key=lambda each: each.at, reverse=True)
    unreadable = sum(count for _, count in files.values())
    return Captured(tuple(calls[:MOST_CALLS]), unreadable, more or len(calls) > MOST_CALLS, unread, files, hours)


def _newest(
    s3: Any,
    bucket: str,
    prefix: str,
    known: Mapping[str, tuple[tuple[str, int], ...]],
    listed: dict[str, tuple[tuple[str, int], ...]],
    now: dt.datetime,
) -> Iterator[tuple[str, int]]:
    """Keys and sizes, the newest first. Hours that have settled are listed once; `listed` is given those."""
    for hour in _hours(s3, bucket, prefix, len(_FOLDERS)):
        if (ends := _end(hour)) is None:
            continue
        if ends < now - dt.timedelta(days=DAYS):
            return
        if hour in known:
            found = known[hour]
        else:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=hour)
            objects = (each for page in pages for each in page.get("Contents", ()))
            # The newest are the last: a file's name begins with its minute.
            found = tuple(sorted(((each["Key"], each["Size"]) for each in objects), reverse=True))[:MOST_FILES]
        if ends < now - SETTLED:
            listed[hour] = found
        yield from found


def _hours(s3: Any, bucket: str, prefix: str, depth: int) -> Iterator[str]:
    """The folders of hours, the newest first."""
    if not depth:
        yield prefix
        return
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
    for folder in sorted((each["Prefix"] for page in pages for each in page.get("CommonPrefixes", ())), reverse=True):
        yield from _hours(s3, bucket, folder, depth - 1)


def _end(hour: str) -> dt.datetime | None:
    """When the hour of a folder ends; None for a folder that is no hour's."""
    if not (found := _HOUR.search(hour)):
        return None
    try:
        return dt.datetime(*map(int, found.groups()), tzinfo=dt.UTC) + dt.timedelta(hours=1)
    except ValueError:
        return None


def _body(s3: Any, bucket: str, key: str, most: int = MOST_BYTES) -> bytes:
    """A file, or its first `most` bytes; nothing where it has been deleted since."""
    try:
        return s3.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{most - 1}")["Body"].read(most)
    except s3.exceptions.NoSuchKey:
        return b""


def parsed(body: bytes, key: str, classes: Sequence[str]) -> tuple[tuple[Call, ...], int]:
    """The newest calls in a file's bytes, and how many lines are no call that we understand."""
    calls, unreadable = [], 0
    lines = [(number, line) for number, line in enumerate(body.split(b"\n")) if line.strip()]
    for number, line in lines[-MOST_CALLS:]:
        try:
            calls.append(_call(json.loads(line), key, number, classes))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            unreadable += 1
    return tuple(calls), unreadable


def _call(told: Any, key: str, line: int, classes: Sequence[str]) -> Call:
    given, answered = (told["captureData"][side] for side in ("endpointInput", "endpointOutput"))
    text = _picture(given)
    answer = answered["data"]
    if answered["encoding"] == "BASE64":
        answer = base64.b64decode(answer, validate=True)
    answer = json.loads(answer)
    label, probability = (predictions_in(answer) or _of_logits(answer, classes))[0]
    at = dt.datetime.fromisoformat(told["eventMetadata"]["inferenceTime"].replace("Z", "+00:00"))
    kind = Message()
    kind["Content-Type"] = answered["observedContentType"]
    return Call(
        at=at if at.tzinfo else at.replace(tzinfo=dt.UTC),
        picture=hashlib.sha256(text.encode()).hexdigest()[:32],
        bytes=len(text) // 4 * 3 - text[-2:].count("="),
        label=label[:_LONGEST_LABEL],
        probability=probability,
        weights=str(kind.get_param("weights") or ""),
        key=key,
        line=line,
    )


def _picture(given: Mapping[str, str]) -> str:
    """The picture of a call's input, as base64. Raises ValueError where it is none."""
    if given["encoding"] != "BASE64" or not given["data"]:
        raise ValueError("the input is no picture")
    return given["data"]


def _of_logits(answer: Any, classes: Sequence[str]) -> tuple[Prediction, ...]:
    """The label of an answer with `format=logits`. Raises ValueError where it is none."""
    (logits,) = answer
    if len(logits) != len(classes) or not all(map(math.isfinite, logits)):
        raise ValueError("these are no logits of the model")
    largest = max(logits)
    return ((classes[logits.index(largest)], 1 / sum(math.exp(each - largest) for each in logits)),)


def pictures(s3: Any, bucket: str, calls: Sequence[Call]) -> dict[str, str]:
    """The pictures of calls, as base64, by their `picture`; without those that are gone."""
    found = {}
    for key in {each.key for each in calls}:
        lines = _body(s3, bucket, key).split(b"\n")
        for each in calls:
            if each.key == key and each.line < len(lines):
                try:
                    found[each.picture] = _picture(json.loads(lines[each.line])["captureData"]["endpointInput"])
                except (ValueError, KeyError, TypeError):
                    continue  # the file is another one than before
    return found
