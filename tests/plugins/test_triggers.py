"""A trigger survives a restart of the triggerer: what it serialises is what it is made from."""

from __future__ import annotations

import asyncio
import time

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError
from moto.server import ThreadedMotoServer
from musher.triggers import polling
from musher.triggers.endpoint import EndpointTrigger
from musher.triggers.polling import PollingTrigger
from musher.triggers.sagemaker_jobs import SageMakerJobTrigger

from tests.ports import free_port

COMMON = {"poll_seconds": 1.0, "deadline": 2.0, "aws_conn_id": "aws_default", "region_name": "us-east-1"}


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        (SageMakerJobTrigger, {"kind": "training job", "name": "a-job", "rules": ["Confusion"]}),
        (EndpointTrigger, {"name": "an-endpoint", "previous": None}),
    ],
)
def test_a_trigger_can_be_made_again_from_what_it_serialises(kind, own):
    path, values = kind(**own, **COMMON).serialize()
    assert path == f"{kind.__module__}.{kind.__name__}"
    assert values == {**own, **COMMON}
    assert kind(**values).serialize() == (path, values)


class Waiting(PollingTrigger):
    """A wait that has no end of its own."""

    killed = False

    def look(self):
        return "waiting", None

    def give_up(self):
        raise AssertionError("its deadline is far away")

    def kill(self):
        self.killed = True


def test_a_triggerer_that_ends_stops_nothing():
    # GIVEN a wait in a triggerer that is about to end, so that nobody says what became of the waiting task
    trigger = Waiting(**COMMON | {"deadline": float("inf"), "poll_seconds": 0.01})

    async def ended_in_mid_wait():
        wait = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.sleep(0.1)
        wait.cancel()
        await wait

    # WHEN the wait is cancelled THEN it is cancelled and not failed, and what the task started goes on
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(ended_in_mid_wait())
    assert not trigger.killed


class Looking(Waiting):
    """A wait for S3 to answer; `looks` counts."""

    looks = 0
    bucket: str | None = None

    def __init__(self, port, **more):
        super().__init__(**COMMON | {"deadline": time.time() + 120, "poll_seconds": 0.05} | more)
        self.client = boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", aws_access_key_id="test",
            aws_secret_access_key="test", config=Config(retries={"total_max_attempts": 1}),
        )  # fmt: skip

    def look(self):
        self.looks += 1
        if self.bucket is None:
            self.client.list_buckets()
        else:
            self.client.list_objects_v2(Bucket=self.bucket)
        return "there", {"looks": self.looks}

    async def event(self):
        return (await anext(self.run())).payload


def test_a_wait_outlives_an_aws_that_does_not_answer_for_a_while():
    # GIVEN a wait for something in an AWS that is away
    port = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    trigger = Looking(port)

    async def away_for_two_looks():
        wait = asyncio.ensure_future(trigger.event())
        while trigger.looks < 2:
            assert not wait.done(), wait
            await asyncio.sleep(0.01)
        # WHEN it is back
        await asyncio.to_thread(server.start)
        return await wait

    # THEN the wait ends as if nothing had been
    try:
        assert asyncio.run(away_for_two_looks())["looks"] > 2
    finally:
        server.stop()


def test_a_wait_does_not_outlive_what_aws_says_no_to_or_a_silence_without_end(s3_server, monkeypatch):
    refused = Looking(int(s3_server.rpartition(":")[2]))
    refused.bucket = "never-made"
    with pytest.raises(ClientError, match="NoSuchBucket"):
        asyncio.run(refused.event())
    monkeypatch.setattr(polling, "SILENCE_SECONDS", 0.2)
    with pytest.raises(EndpointConnectionError):
        asyncio.run(Looking(free_port()).event())
