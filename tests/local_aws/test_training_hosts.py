"""Training jobs on several hosts."""

from __future__ import annotations

import pytest

from tests.local_aws.training_scripts import Jobs

TORCHRUN = {"program": "reduce.py", "torchrun": True, "instances": 2}


@pytest.fixture(scope="module")
def jobs(local_aws, bucket, role_arn, wait_for):
    return Jobs(local_aws, bucket, role_arn, wait_for)


def test_two_jobs_of_two_hosts_reduce_at_the_same_time(jobs):
    # GIVEN two jobs at once, which in AWS's container would both take port 7777
    names = [jobs.start("reduce", **TORCHRUN) for _ in range(2)]
    ports = set()
    for name in names:
        # WHEN both end
        described = jobs.end(name, 150)
        assert described["TrainingJobStatus"] == "Completed", described
        # THEN each of their hosts has the sum, and each host's output is in the archive
        facts = jobs.facts(name)
        assert [(each["rank"], each["world"], each["total"]) for each in facts] == [(0, 2, 3.0), (1, 2, 3.0)]
        assert all(each["torch"] and each["beside"] for each in facts)
        assert all((each["main"], each["script"]) == ("__main__", "reduce.py") for each in facts)
        assert "loss=3.0" in jobs.lines(name, "algo-1")
        assert "loss=3.0" in jobs.lines(name, "algo-2")
        ports |= {each["port"] for each in facts}
    assert len(ports) == 2


def test_hosts_share_the_objects_of_a_sharded_channel(jobs):
    channels = [jobs.channel("train", "data/train/", "ShardedByS3Key"), jobs.channel("code", "code/job/")]
    name = jobs.start(instances=2, changes={"InputDataConfig": channels})
    assert jobs.end(name)["TrainingJobStatus"] == "Completed"
    shares = [each["seen"] for each in jobs.facts(name)]
    assert [len(share) for share in shares] == [2, 2]
    assert sorted(shares[0] + shares[1]) == [f"bird/{number}.jpg" for number in range(4)]


def test_a_dead_host_ends_the_job_and_its_peers(jobs):
    described = jobs.end(jobs.start("one_host_dies", instances=2))
    assert described["TrainingJobStatus"] == "Failed"
    assert "the second host died" in described["FailureReason"]


def test_a_rank_that_raises_ends_the_job_with_its_message(jobs):
    described = jobs.end(jobs.start("raise", **TORCHRUN))
    assert described["TrainingJobStatus"] == "Failed"
    # Whichever host failed first has the reason: the rank that raised, or the one whose peer went away.
    log = jobs.lines(described["TrainingJobName"], "algo-2")
    raised = next(number for number, line in enumerate(log) if "ValueError: rank one is unhappy" in line)
    assert 'raise ValueError("rank one is unhappy")' in log[raised - 1]
    # What the script said comes before what torchrun says about it.
    said = described["FailureReason"].partition("torch/distributed/elastic")[0]
    assert any(text in said for text in ("rank one is unhappy", "Connection closed by peer"))


def test_a_stop_reaches_the_scripts_behind_torchrun(jobs):
    name = jobs.start("stopped", **TORCHRUN)
    jobs.says(name, "waiting")
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    assert jobs.end(name)["TrainingJobStatus"] == "Stopped"
    assert jobs.files(name, "model.tar.gz") == {"weights.bin": b"half trained"}
