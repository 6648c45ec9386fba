"""What happens to the paid job when its task is killed, cleared or marked, in a real Airflow."""

from __future__ import annotations

import contextlib
import re
import time

import psutil
import pytest

from tests.chain.conftest import jobs_of, stop_training, until_it_trains
from tests.local_aws.frozen import frozen
from tools.sample_dataset import draw

DAG = "one_training_job"
# Long enough to be interfered with: every epoch of a whole network takes a while on one core. It stands still while it
# is.
SLOW = {"finetune": "all", "epochs": 200, "dataset_name": "slow"}
QUICK = {"epochs": 1, "dataset_name": "slow"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    draw(folder, breeds=2, train=16, valid=2, test=2)
    return str(folder)


def wait_for_jobs(stack, run_id, accept, seconds=180):
    deadline = time.monotonic() + seconds
    while not accept(found := jobs_of(stack, run_id)):
        assert time.monotonic() < deadline, found
        time.sleep(0.3)
    return found


def running(found):
    return list(found.values()) == ["InProgress"]


def task_processes(stack):
    """The processes that run tasks right now: LocalExecutor's workers fork one for each, titled with its id."""
    root = stack.stack.airflow.process()
    assert root is not None
    title = re.compile(r"airflow worker -- [0-9a-f]{8}-[0-9a-f-]{27}\s*$")
    found = []
    for each in root.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if title.match(" ".join(each.cmdline()).strip()):
                found.append(each)
    return found


@pytest.mark.timeout(1200)
def test_a_cleared_task_attaches_and_a_failed_one_stops_its_job(airflow_stack, pictures):
    # GIVEN a task that waits for its training job
    run_id = airflow_stack.trigger(DAG, {"dataset": pictures, **SLOW}, "clear-and-mark")
    airflow_stack.wait_for_state(DAG, run_id, "train", "deferred")
    first = wait_for_jobs(airflow_stack, run_id, running)
    until_it_trains(airflow_stack, *first)
    with frozen(airflow_stack.state):
        # WHEN a person clears it in mid-training
        airflow_stack.clear(DAG, run_id, "train")
        airflow_stack.wait_for_state(DAG, run_id, "train", "deferred", tries=2)

        # THEN it waits for the very same job
        assert jobs_of(airflow_stack, run_id) == first

        # WHEN a person marks it as failed
        stop_training(airflow_stack, DAG, run_id)

    # THEN the job is stopped, and no other was started
    stopped = wait_for_jobs(airflow_stack, run_id, lambda found: set(found.values()) == {"Stopped"})
    assert set(stopped) == set(first)


@pytest.mark.timeout(1200)
def test_a_killed_task_process_leaves_one_job_that_the_retry_attaches_to(airflow_stack, pictures):
    # GIVEN a task whose process is alive in mid-training
    run_id = airflow_stack.trigger(DAG, {"dataset": pictures, **SLOW}, "linger-and-kill")
    first = wait_for_jobs(airflow_stack, run_id, running)
    until_it_trains(airflow_stack, *first)
    processes = task_processes(airflow_stack)
    assert processes, "the task's process was not found"
    with frozen(airflow_stack.state):
        # WHEN it is killed without a chance to say anything
        for process in processes:
            process.kill()

        # THEN the retry waits for the very same job
        airflow_stack.wait_for_state(DAG, run_id, "train", "deferred")
        assert jobs_of(airflow_stack, run_id) == first
        stop_training(airflow_stack, DAG, run_id)
    wait_for_jobs(airflow_stack, run_id, lambda found: set(found.values()) == {"Stopped"})


@pytest.mark.timeout(900)
def test_a_failing_script_is_the_tasks_error(airflow_stack, pictures):
    # WHEN training is told something that the script refuses: no picture is left after decoding
    run_id = airflow_stack.trigger(DAG, {"dataset": pictures + "-is-not-there", **QUICK}, "bad-dataset")

    # THEN the run fails with the sentence, and nothing was started
    assert airflow_stack.wait(DAG, run_id, 400)["state"] == "failed"
    why = airflow_stack.why(DAG, run_id)
    assert "-is-not-there" in why
    assert "Traceback" not in why
    assert jobs_of(airflow_stack, run_id) == {}
