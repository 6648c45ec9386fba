"""A deployment's steps with fleets that are lists: time-outs, ways back, and what is left when those fail."""

from __future__ import annotations

import threading

import pytest

from local_aws.clock import Clock
from local_aws.endpoints.deployment import plan
from local_aws.endpoints.instance import StartFailed
from local_aws.endpoints.rollout import Ended, Rollout, TimedOut, Tripped

ONE = {"Type": "INSTANCE_COUNT", "Value": 1}


class Variant:
    """`limit`: more instances than that do not start; `hangs`: none does until it is closed."""

    name = "v"

    def __init__(self, count: int = 0, limit: int = 99, hangs: bool = False) -> None:
        self.instances, self.desired, self.active, self.status = [object()] * count, count, None, None
        self.limit, self.hangs, self.closed, self.counts = limit, hangs, threading.Event(), []

    def scale(self, count: int) -> None:
        self.desired = count
        if self.hangs:
            self.closed.wait(30)
        if count > self.limit or self.hangs:
            raise StartFailed("no capacity")
        self.instances = [object()] * count
        self.counts.append(count)


class Fleet:
    def __init__(self, *args, **more) -> None:
        self.variants, self.closed = [Variant(*args, **more)], False

    def close(self) -> None:
        self.closed = True
        self.variants[0].instances = []


class World:
    """A rollout from four instances to four, what it said and which shares it sent to the new fleet."""

    def __init__(self, config: dict, *, old: Fleet | None = None, new: Fleet | None = None, timeout=None) -> None:
        self.old, self.new, self.ringing, self.looks = old or Fleet(4), new or Fleet(), set(), 0
        self.shares, self.said, self.gone = [], [], threading.Event()
        made = plan(config | {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "a"}]}}, {"v": 4}, {"v": 4})
        if timeout is not None:
            object.__setattr__(made, "timeout", timeout)
        self.rollout = Rollout(
            made, self.old, self.new, Clock(0.5), self.alarms, self.shares.append, self.changed, self.gone
        )

    def alarms(self, names):
        self.looks += 1
        return ["a"] if self.looks in self.ringing else []

    def changed(self) -> None:
        for fleet in (self.new, self.old):
            status = fleet.variants[0].status
            if status is not None and (not self.said or self.said[-1] != status.message):
                self.said.append(status.message)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.old.variants[0].instances), len(self.new.variants[0].instances)


def rolling(back: int | None = None, wait: int = 0) -> dict:
    policy = {"MaximumBatchSize": ONE, "WaitIntervalInSeconds": wait}
    policy |= {} if back is None else {"RollbackMaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": back}}
    return {"RollingUpdatePolicy": policy}


def linear(wait: int = 0) -> dict:
    size = {"Type": "CAPACITY_PERCENT", "Value": 50}
    routing = {"Type": "LINEAR", "LinearStepSize": size, "WaitIntervalInSeconds": wait}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}


def test_a_linear_deployment_says_what_it_does_and_looks_at_alarms_without_a_wait():
    world = World(linear())
    world.rollout.run()
    assert (world.shares, world.shape, world.looks) == ([0.5, 1.0], (4, 4), 2)
    assert world.old.variants[0].active == 0
    world.rollout.finish()
    assert (
        world.said
        == [
            "Launching 4 instance(s).",
            "Activating traffic on canary capacity of 2 instance(s).",
            "Baking for 0 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity of 2 instance(s).",
            "Activating traffic on full capacity of 4 instance(s).",
            "Baking for 0 seconds (TerminationWaitInSeconds) with traffic enabled on full capacity of 4 instance(s).",
            "Terminating 4 instance(s).",
        ][: len(world.said)]
    )
    assert len(world.said) == 6
    assert world.shape == (0, 4)


def test_each_linear_step_closes_the_same_part_of_the_old_fleet_and_an_alarm_opens_it_again():
    world = World(linear())
    world.ringing = {1}
    with pytest.raises(Tripped):
        world.rollout.run()
    assert (world.shares, world.old.variants[0].active, world.new.variants[0].active) == ([0.5], 2, 2)
    world.rollout.roll_back()
    assert (world.shares[-1], world.old.variants[0].active, world.shape) == (0.0, None, (4, 0))
    assert world.new.closed


def test_a_launch_and_a_bake_end_with_the_time_of_the_deployment():
    world = World(linear(), new=Fleet(hangs=True), timeout=0.1)
    with pytest.raises(TimedOut, match="longer than its MaximumExecutionTimeoutInSeconds, 0"):
        world.rollout.run()
    # Bakes are counted in AWS seconds: 120 of them to a second here.
    world = World(linear(wait=3600), timeout=12)
    with pytest.raises(TimedOut):
        world.rollout.run()
    assert world.shares == [0.5]


def test_the_end_of_the_local_aws_ends_a_bake_without_another_step():
    world = World(linear(wait=3600))
    world.gone.set()
    with pytest.raises(Ended):
        world.rollout.run()
    assert world.shares == [0.5]


def test_a_rolling_deployment_never_has_more_than_one_batch_too_many():
    world = World(rolling())
    world.rollout.run()
    assert world.new.variants[0].counts == [1, 2, 3, 4]
    assert world.old.variants[0].counts == [3, 2, 1]
    assert world.shares == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(
    ("back", "launched", "shares"), [(None, [4], [0.0, 0.0]), (4, [4], [0.0, 0.0]), (1, [3, 4], [0.25, 0.0, 0.0])]
)
def test_what_was_replaced_comes_back_in_batches(back, launched, shares):
    # GIVEN an alarm in the third bake, when two old ones are gone
    world = World(rolling(back))
    world.ringing = {3}
    with pytest.raises(Tripped):
        world.rollout.run()
    assert world.shape == (2, 3)
    before = len(world.old.variants[0].counts), len(world.shares)
    # THEN as many at a time are there again, and take their share
    world.rollout.roll_back()
    assert world.old.variants[0].counts[before[0] :] == launched
    assert world.shares[before[1] :] == shares
    assert world.shape == (4, 0)


def test_a_way_back_without_capacity_leaves_both_serving():
    world = World(rolling(), old=Fleet(4, limit=3))
    world.ringing = {3}
    with pytest.raises(Tripped):
        world.rollout.run()
    with pytest.raises(StartFailed, match="no capacity"):
        world.rollout.roll_back()
    assert world.shape == (2, 3)
    assert not world.new.closed
    # What was asked for is remembered.
    assert world.old.variants[0].desired == 4
