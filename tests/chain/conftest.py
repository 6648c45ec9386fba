"""A whole stack for the tests of DAGs: local AWS and `airflow standalone`, on free ports, with homes of their own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local_aws.pipeline import trace
from tests.local_aws.daemon import wait_for
from tests.ports import free_port
from tools.airflow_rest import Airflow, RestError
from tools.stack import ROOT, Stack

HERE = Path(__file__).parent
JOBS = "/aws/sagemaker/TrainingJobs"
STARTED: list[Stack] = []
SHARED: list[AirflowStack] = []
# A machine that is busy with other things may break a limit of time; what is counted must hold everywhere, unless it is
# so busy that the load could not be offered.
COUNTED_CHECKS = (
    "no cold start within provisioned",
    "no throttle within reserved",
    "beyond reserved, concurrency is the reserved number",
    "throttles seen equal CloudWatch's",
    "endpoint scaled out under load",
    "endpoint scaled in afterwards",
)


class AirflowStack:
    """A running stack: `trigger`, `wait`, `task_instances`, `rest` and the rest of `tools.airflow_rest.Airflow`."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.airflow = Airflow(stack.airflow_url)
        self.home, self.state, self.logs = stack.home, stack.state, stack.logs
        self._clients: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.airflow, name)

    def local_aws(self, service: str) -> Any:
        """A boto3 client of the local AWS, the same one each time."""
        if service not in self._clients:
            self._clients[service] = self.stack.client(service)
        return self._clients[service]

    @property
    def bucket(self) -> str:
        """The bucket of the Variable `musher`."""
        return f"musher-{self.local_aws('sts').get_caller_identity()['Account']}"

    def calls(self) -> list[dict[str, Any]]:
        """Every call of the local AWS so far, with the stages that it passed."""
        return [json.loads(line) for line in (self.home.parent / "calls.jsonl").read_text().splitlines()]

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None, run_id: str | None = None) -> str:
        """Wait until the DAG is known, let it run, start a run; returns its id."""
        self.airflow.wait_for_dag(dag_id)
        self.airflow.unpause(dag_id)
        return self.airflow.trigger(dag_id, conf, run_id)

    def states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """The state of each task of a run."""
        return {task["task_id"]: task["state"] for task in self.airflow.task_instances(dag_id, run_id)}

    def wait_for_state(
        self, dag_id: str, run_id: str, task_id: str, *states: str, timeout: float = 300, tries: int = 1
    ) -> str:
        """Wait until a task is in one of the states, in try number `tries` or a later one; returns it.

        AssertionError when time is up, or when the run has ended otherwise.
        """
        deadline = time.monotonic() + timeout
        while True:
            ended = self._ended(dag_id, run_id)
            found = {task["task_id"]: task for task in self.airflow.task_instances(dag_id, run_id)}.get(task_id, {})
            state = found.get("state")
            if state in states and found["try_number"] >= tries:
                return str(state)
            assert not ended, f"{task_id} is {state}, not {' or '.join(states)}: {self.why(dag_id, run_id)}"
            assert time.monotonic() < deadline, f"{task_id} is {state} after {timeout} s, not {' or '.join(states)}"
            time.sleep(0.3)

    def _ended(self, dag_id: str, run_id: str) -> bool:
        try:
            return self.airflow.run(dag_id, run_id)["state"] in ("success", "failed")
        except RestError as error:
            if error.status < 500:  # Airflow 3.3.1 cannot write out a run that has no start date yet
                raise
            return False

    def set_task_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task, as a person does in the UI."""
        self.rest("PATCH", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", {"new_state": state})

    def clear(self, dag_id: str, run_id: str, *task_ids: str) -> None:
        """Clear tasks, as a person does in the UI."""
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": list(task_ids), "only_failed": False}
        self.rest("POST", f"dags/{dag_id}/clearTaskInstances", body)

    def why(self, dag_id: str, run_id: str) -> str:
        """What the failed tasks of a run said, for a message."""
        failed = [task for task in self.airflow.task_instances(dag_id, run_id) if task["state"] == "failed"]
        return "; ".join(f"{task['task_id']}: {self.airflow.error_of(dag_id, run_id, task)}" for task in failed)


def jobs_of(stack, run_id):
    """The training jobs that carry a run's tag: name -> status."""
    sagemaker = stack.local_aws("sagemaker")
    found = {}
    for job in sagemaker.list_training_jobs()["TrainingJobSummaries"]:
        tags = {tag["Key"]: tag["Value"] for tag in sagemaker.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]}
        if tags.get("run") == run_id:
            found[job["TrainingJobName"]] = job["TrainingJobStatus"]
    return found


def until_it_trains(stack, job, seconds=120):
    """Wait until a job's script trains: one that is only just starting misses a signal, and would be killed minutes
    later."""
    wait_for(lambda: "images: train=" in log_of(stack, job), seconds, "the job does not train")


def stop_training(stack, dag_id, run_id):
    """Mark the task `train` as failed, and wait until its job is told to stop. A job that stands still meanwhile gets
    the signal when it goes on, and takes no cores until then."""
    stack.set_task_state(dag_id, run_id, "train", "failed")
    wait_for(lambda: set(jobs_of(stack, run_id).values()) <= {"Stopping", "Stopped"}, 180, "it is not stopped")


def log_of(stack, job):
    """What a training job has printed so far; the log group comes with the first line of the first job."""
    logs = stack.local_aws("logs")
    if not logs.describe_log_groups(logGroupNamePrefix=JOBS)["logGroups"]:
        return ""
    # Moto's FilterLogEvents takes no notice of a prefix.
    streams = logs.describe_log_streams(logGroupName=JOBS, logStreamNamePrefix=f"{job}/")["logStreams"]
    return "\n".join(
        event["message"]
        for stream in streams
        for event in logs.get_log_events(logGroupName=JOBS, logStreamName=stream["logStreamName"], startFromHead=True)[
            "events"
        ]
    )


@pytest.fixture(scope="session")
def start_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., AirflowStack]]:
    """Starts stacks: `start_stack(dags=folder or None, minute="1s", settings={...})`; stopped at the session's end."""

    def start(dags: Path | None = None, minute: str = "1s", settings: dict[str, str] | None = None) -> AirflowStack:
        folder = tmp_path_factory.mktemp("stack")
        stack = Stack(
            local_aws_port=free_port(),
            airflow_port=free_port(),
            minute=minute,
            home=folder / "airflow",
            state=folder / "local_aws",
            logs=folder / "logs",
            dags=dags or folder_of_dags(folder / "dags"),
            settings=settings or {},
        )
        STARTED.append(stack)
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv(trace.VARIABLE, str(folder / "calls.jsonl"))
            stack.up(lambda line: None)
        return AirflowStack(stack)

    yield start
    stop_stacks()


def stop_stacks() -> None:
    while STARTED:
        STARTED.pop().down(lambda line: None)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """After the last test here: an idle Airflow would take memory and CPU from the tests of the other folders."""
    if nextitem is None or not nextitem.path.is_relative_to(HERE):
        stop_stacks()


def folder_of_dags(folder: Path) -> Path:
    """The project's DAGs and those of the tests, in one folder."""
    folder.mkdir(parents=True)
    for source in (ROOT / "dags", HERE / "dags"):
        for file in source.glob("*.py"):
            (folder / file.name).symlink_to(file)
    return folder


@pytest.fixture
def airflow_stack(start_stack: Callable[..., AirflowStack]) -> AirflowStack:
    """The stack that tests use one after the other; another one when a test has stopped that."""
    running = [stack for stack in SHARED if stack.stack.airflow.process()]
    if not running:
        SHARED[:] = running = [start_stack()]
    return running[0]
