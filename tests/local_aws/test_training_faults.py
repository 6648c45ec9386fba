"""Training jobs when the machine fails: a full disk, a killed daemon."""

from __future__ import annotations

import contextlib
import signal

import psutil
import pytest

from tests.local_aws.daemon import make_role
from tests.local_aws.training_scripts import Jobs
from tests.small_disk import small_disk


def jobs_in(daemon, wait_for):
    daemon.client("s3").create_bucket(Bucket="faults")
    return Jobs(daemon, "faults", make_role(daemon), wait_for)


def fill(folder):
    """Take all the space there is; the file that holds it."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return ballast


@pytest.fixture(name="small_disk")
def small_disk_fixture(tmp_path):
    with small_disk(tmp_path / "disk") as folder:
        yield folder


def test_a_full_disk_fails_the_job_and_not_the_daemon(small_disk, new_local_aws, wait_for):
    daemon = new_local_aws(state=small_disk / "state")
    jobs = jobs_in(daemon, wait_for)
    # WHEN the script, or the data of a channel, fills the disk
    filled = jobs.end(jobs.start("fill"))
    jobs.s3.put_object(Bucket="faults", Key="large/train/picture.jpg", Body=b"x" * 10 * 2**20)
    channels = [jobs.channel("train", "large/"), jobs.channel("code", "code/job/")]
    too_large = jobs.end(jobs.start(changes={"InputDataConfig": channels}))
    # THEN both jobs say so
    for described in (filled, too_large):
        assert described["TrainingJobStatus"] == "Failed", described
        assert "No space left on device" in described["FailureReason"]
    # AND the daemon lives, has its space back and runs the next one, also after the disk was filled from outside
    ballast = fill(small_disk)
    assert "No space left" in jobs.end(jobs.start())["FailureReason"]
    ballast.unlink()
    assert jobs.end(jobs.start())["TrainingJobStatus"] == "Completed"
    assert daemon.stop() == 0


def test_nothing_of_a_job_outlives_a_killed_daemon(new_local_aws, wait_for):
    daemon = new_local_aws(anew=True)
    jobs = jobs_in(daemon, wait_for)
    jobs.start("hang", instances=2)
    # Two hosts, each with a supervisor, the toolkit and the script; the slower one's may come any time later.
    wait_for(lambda: len(psutil.Process(daemon.pid).children(recursive=True)) >= 6, 60)
    family = psutil.Process(daemon.pid).children(recursive=True)
    daemon.stop(signal.SIGKILL)
    wait_for(lambda: not any(each.is_running() and each.status() != "zombie" for each in family))
