"""What the record says of a training on EC2, worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime

from musher.ec2.history import History
from musher.ec2.host_status import HostStatus
from musher.record import Ec2Instance

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
START = NOON.timestamp()


def test_seconds_lost_and_saved_of_an_interrupted_training(s3, env):
    # GIVEN two instances: one interrupted after 100 s, one that finished the training
    history = History(s3, env.bucket, "a-run")
    history.begin("i-1", "spot", NOON)
    history.end("i-1", "interruption", START + 100)
    history.begin("i-2", "on-demand", datetime.fromtimestamp(START + 110, UTC))
    history.end("i-2", "finished", START + 150)
    # The first one trained from its 20th second on; its last checkpoint was of its 90th.
    statuses = {"i-1": HostStatus(training_started_at=START + 20, checkpoint_at=START + 90)}

    facts = History(s3, env.bucket, "a-run").facts(statuses.get)

    # THEN 70 of its 100 seconds were kept, and 100 + 40 seconds are billed over 150
    assert (facts["seconds_saved"], facts["seconds_lost"]) == (70, 30)
    assert (facts["seconds"], facts["wall_seconds"]) == (140, 150)
    assert (facts["interruptions"], facts["market"]) == (1, "on-demand")
    assert [each.ended_by for each in facts["instances"]] == ["interruption", "finished"]


def test_an_instance_that_vanished_without_a_word_saved_nothing(s3, env):
    history = History(s3, env.bucket, "a-run")
    history.begin("i-1", "spot", NOON)
    history.end("i-1", "interruption", START + 100)
    facts = history.facts(lambda instance: HostStatus())
    assert (facts["seconds_saved"], facts["seconds_lost"]) == (0, 100)


def test_a_retry_writes_nothing_twice(s3, env):
    history = History(s3, env.bucket, "a-run")
    for _ in range(2):
        history.begin("i-1", "spot", NOON)
    assert history.open == {"i-1"}
    history.end("i-1", "finished", START + 60)
    history.end("i-1", "teardown", START + 90)
    assert history.instances == [
        Ec2Instance(
            instance_id="i-1",
            market="spot",
            launched_at="2026-11-20T12:00:00.000+00:00",
            ended_at="2026-11-20T12:01:00.000+00:00",
            seconds=60,
            ended_by="finished",
        )
    ]
    assert history.finished
