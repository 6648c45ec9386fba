"""What pages show of AWS is read in the background, seldom, and by nobody twice at a time."""

from __future__ import annotations

import asyncio
import threading

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from musher.errors import ConfigError
from musher.page.reader import Reader


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Subject:
    """Something that is read: gives what it is told to, and counts."""

    def __init__(self) -> None:
        self.times, self.gives, self.free = 0, "first", threading.Event()
        self.free.set()
        self.at_once, self.most_at_once = 0, 0

    def read(self, before):
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.free.wait(20)
        self.at_once -= 1
        self.times += 1
        if isinstance(self.gives, Exception):
            raise self.gives
        return self.gives


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def reader(clock):
    return Reader(clock)


@pytest.fixture
def subject():
    return Subject()


async def settled(reader, subject):
    """What is known once everything has been read that was to be."""
    await reader.look("it", subject.read)
    for thread in threading.enumerate():
        if thread.name == "musher-page":
            await asyncio.to_thread(thread.join, 20)
    return await reader.look("it", subject.read)


def test_many_who_look_cause_one_reading_in_ten_seconds(reader, subject, clock):
    async def many():
        return await asyncio.gather(*(reader.look("it", subject.read) for _ in range(50)))

    assert {seen.value for seen in asyncio.run(many())} == {"first"}
    clock.now = 9.9
    asyncio.run(many())
    assert subject.times == 1
    clock.now, subject.gives = 10.0, "second"
    assert asyncio.run(settled(reader, subject)).value == "second"
    assert subject.times == 2


def test_who_looks_waits_for_the_first_reading_alone_and_never_long(reader, subject, clock):
    async def look(patience):
        return await reader.look("it", subject.read, patience=patience)

    subject.free.clear()
    assert asyncio.run(look(0.01)).at is None, "it would have to wait for AWS"
    subject.free.set()
    assert asyncio.run(settled(reader, subject)).value == "first"
    subject.free.clear()
    clock.now = 60.0
    assert asyncio.run(look(60.0)).value == "first", "what was known is there at once"
    clock.now = 120.0
    assert asyncio.run(look(60.0)).value == "first"
    subject.free.set()
    asyncio.run(settled(reader, subject))
    assert subject.most_at_once == 1, "a reading that takes long is not begun again beside itself"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (EndpointConnectionError(endpoint_url="https://s3"), "AWS does not answer: Could not connect"),
        (ClientError({"Error": {"Message": "not allowed"}}, "GetObject"), "AWS refused GetObject: not allowed"),
        (ConfigError("bucket is missing."), "bucket is missing."),
        (KeyError("x"), "It could not be read (KeyError)"),
    ],
)
def test_a_reading_that_fails_says_why_and_keeps_what_was_known(reader, subject, clock, error, words):
    known = asyncio.run(settled(reader, subject))
    clock.now, subject.gives = 10.0, error
    seen = asyncio.run(settled(reader, subject))
    assert seen.problem.startswith(words)
    assert (seen.value, seen.at) == ("first", known.at)
    clock.now, subject.gives = 20.0, "again"
    seen = asyncio.run(settled(reader, subject))
    assert (seen.value, seen.problem) == ("again", "")
