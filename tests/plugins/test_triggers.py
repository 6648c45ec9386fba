"""A trigger survives a restart of the triggerer: what it serialises is what it is made from."""

from __future__ import annotations

import asyncio

import pytest
from musher.triggers.endpoint import EndpointTrigger
from musher.triggers.polling import PollingTrigger
from musher.triggers.sagemaker_jobs import SageMakerJobTrigger

COMMON = {"poll_seconds": 1.0, "deadline": 2.0, "aws_conn_id": "aws_default", "region_name": "us-east-1"}


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        (SageMakerJobTrigger, {"kind": "training job", "name": "a-job"}),
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
