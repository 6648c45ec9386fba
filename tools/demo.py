"""`make demo`: the whole chain on the local stack, from pictures to the verdict.

    python -m tools.demo [DATASET]

Exit status: 0 when the load test's verdict is a pass and both releases went as they should; 1 for anything else.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import requests
from botocore.exceptions import BotoCoreError, ClientError

from tools import demo_work
from tools.airflow_rest import Airflow, RestError
from tools.demo_interruption import Interruption
from tools.demo_lock import DemoRunning, only_one
from tools.demo_progress import Progress
from tools.demo_releases import Outcome, Releases
from tools.stack import ROOT, Stack, StackError

if TYPE_CHECKING:
    from musher.record import RunRecord

TRAIN, DEPLOY, TRAIN_ON_EC2 = "train_image_classifier", "deploy_image_classifier", "train_on_ec2"
LIMIT_SECONDS = 3600
RESULTS = ROOT / "build/demo"
SAMPLE = ROOT / "build/sample-dataset"
RUN_PREFIX = "demo-"


class DemoError(Exception):
    """Why the demo cannot go on, as a sentence for a person."""


def main(stack_type: type[Stack] = Stack) -> int:
    dataset = sys.argv[1].strip() if len(sys.argv) > 1 else ""
    try:
        with only_one(ROOT / "build/demo.lock"):
            return run_demo(dataset, stack_type.from_environment())
    except (DemoRunning, DemoError, StackError, RestError, TimeoutError) as error:
        print(error, file=sys.stderr)
    except (requests.RequestException, BotoCoreError, ClientError) as error:
        print(f"The local stack no longer answers as it should ({error}); {stack_type.LOGS_ARE}.", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"\nInterrupted. What was started goes on in Airflow; `{stack_type.STOP}` stops it all.", file=sys.stderr)
    return 1


def run_demo(dataset: str, stack: Stack) -> int:
    """Run the chain and report; returns the exit status."""
    began = time.monotonic()
    dataset = checked(dataset) if dataset else sample()
    stack.up(say)
    airflow = Airflow(stack.airflow_url)
    for dag_id in (TRAIN, DEPLOY, TRAIN_ON_EC2):
        airflow.wait_for_dag(dag_id)
        airflow.unpause(dag_id)
        end_abandoned(airflow, dag_id)
    say(f"Data set: {dataset}")
    run_id = airflow.trigger(
        TRAIN,
        {"dataset": dataset, "dataset_name": dataset_name(dataset), **demo_work.params(dataset)},
        RUN_PREFIX + time.strftime("%Y%m%d-%H%M%S"),
    )
    known = {run["dag_run_id"] for run in airflow.runs(DEPLOY)}
    finish(airflow, TRAIN, run_id)
    deployed = None
    if released(airflow, run_id):
        deployed = triggered_by(airflow, run_id, known)
        finish(airflow, DEPLOY, deployed, fail=False)
    prefix = report_prefix(airflow, run_id, deployed)
    released_after = release_more(airflow, stack, prefix) if deployed else []
    on_ec2 = train_on_ec2(airflow, stack, run_id, prefix)
    record = fetch_results(stack, prefix)
    fetch_releases(stack, released_after)
    passed = conclude(record, stack, released_after)
    for dag_id, run in ((DEPLOY, deployed), (TRAIN_ON_EC2, on_ec2)):
        state = airflow.run(dag_id, run)["state"] if run else "not started"
        if passed and state != "success":
            say(f"{dag_id} ended as {state}.")
            passed = False
    say(f"Stop it all: {stack.STOP}. The demo took {time.monotonic() - began:.0f} s.")
    return 0 if passed else 1


def release_more(airflow: Airflow, stack: Stack, prefix: str | None) -> list[Outcome]:
    """Release a good and a bad model to what the demo has deployed; nothing where nothing was."""
    record = run_record(stack, prefix) if prefix else None
    if record is None or record.model is None:
        return []
    releases = Releases(stack, bucket(stack), airflow, lambda run: finish(airflow, DEPLOY, run, fail=False), say)
    return releases.run(record)


def train_on_ec2(airflow: Airflow, stack: Stack, run_id: str, prefix: str | None) -> str | None:
    """Repeat the training on a Spot instance that is taken back once; returns the run, None without a training."""
    if prefix is None:
        return None
    conf = {"training_run": prefix.strip("/").rpartition("/")[2]}
    run = airflow.trigger(TRAIN_ON_EC2, conf, run_id)
    interruption = Interruption(stack, bucket(stack), run, say)
    finish(airflow, TRAIN_ON_EC2, run, fail=False, watch=interruption)
    return run


def bucket(stack: Stack) -> str:
    return f"musher-{stack.client('sts').get_caller_identity()['Account']}"


def checked(dataset: str) -> str:
    """The data set as the task takes it: a local path made absolute. Raises DemoError where there is nothing."""
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", dataset):
        if not dataset.startswith(("http://", "https://", "s3://")):
            raise DemoError(f"DATASET is {dataset!r}; an address has to begin with http://, https:// or s3://.")
        return dataset
    path = Path(dataset).expanduser()
    if not path.exists():
        raise DemoError(
            f"DATASET is {dataset!r}, and there is no such file or folder on this machine; it has to be a folder, "
            "a .zip, .tgz or .tar.gz, an http(s) address of one, or an s3:// prefix."
        )
    return str(path.resolve())


def dataset_name(dataset: str) -> str:
    """A folder of its own in the bucket for each data set that is demonstrated, or their classes would mix."""
    return f"demo-{hashlib.sha256(dataset.encode()).hexdigest()[:8]}"


def sample() -> str:
    """A drawn data set, made once."""
    done = SAMPLE / ".drawn"
    if not done.exists():
        from tools.sample_dataset import draw

        shutil.rmtree(SAMPLE, ignore_errors=True)
        say("Drawing a sample data set ...")
        counts = draw(SAMPLE / "pictures")
        done.write_text(json.dumps(counts))
    return str(SAMPLE / "pictures")


def end_abandoned(airflow: Airflow, dag_id: str) -> None:
    """Give up runs of demos that were interrupted: they would hold up this one. Other runs are waited for."""
    for run in airflow.runs(dag_id):
        if run["state"] not in ("running", "queued"):
            continue
        if run["dag_run_id"].startswith(RUN_PREFIX):
            say(f"Giving up {run['dag_run_id']}, left over from an earlier demo.")
            airflow.rest("PATCH", f"dags/{dag_id}/dagRuns/{run['dag_run_id']}", {"state": "failed"})
        else:
            say(f"Waiting for {run['dag_run_id']} of {dag_id}, which is {run['state']} ...")
            airflow.wait(dag_id, run["dag_run_id"], LIMIT_SECONDS)


def finish(
    airflow: Airflow,
    dag_id: str,
    run_id: str,
    fail: bool = True,
    watch: Callable[[list[dict[str, Any]]], None] = lambda tasks: None,
) -> None:
    """Show the run until it ends. Raises DemoError with the failed task's own words, if `fail`.

    `watch` sees the task instances each second.
    """
    say(f"{dag_id}: {airflow.url}/dags/{dag_id}/runs/{quote(run_id)}")
    progress = Progress()

    def look(tasks: list[dict[str, Any]]) -> None:
        progress(tasks)
        watch(tasks)

    run = airflow.wait(dag_id, run_id, LIMIT_SECONDS, look)
    tasks = airflow.task_instances(dag_id, run_id)
    for task in (task for task in tasks if task["state"] == "failed"):
        log = f".airflow/logs/dag_id={dag_id}/run_id={run_id}/task_id={task['task_id']}/"
        say(f"{task['task_id']}: {airflow.error_of(dag_id, run_id, task)}\n  (its log: {log})")
    if fail and run["state"] != "success":
        raise DemoError(f"{dag_id} ended as {run['state']}; the UI is at {airflow.url}.")


def released(airflow: Airflow, run_id: str) -> bool:
    """Whether the training run announced a model; one that was rejected is not deployed."""
    states = {task["task_id"]: task["state"] for task in airflow.task_instances(TRAIN, run_id)}
    return states.get("release_model") == "success"


def triggered_by(airflow: Airflow, run_id: str, known: set[str], seconds: float = 60) -> str:
    """The deployment that the training run's model started. Raises DemoError when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for run in airflow.runs(DEPLOY):
            if run["dag_run_id"] in known or run["run_type"] != "asset_triggered":
                continue
            if run_id in sources(airflow, run["dag_run_id"]):
                return run["dag_run_id"]
        time.sleep(0.5)
    raise DemoError(f"The model was registered, but {DEPLOY} did not start within {seconds:.0f} s.")


def sources(airflow: Airflow, run_id: str) -> set[str]:
    """The runs whose assets started this deployment; none where Airflow cannot say so yet."""
    try:
        events = airflow.rest("GET", f"dags/{DEPLOY}/dagRuns/{run_id}/upstreamAssetEvents")["asset_events"]
    except RestError as error:
        if error.status < 500:  # Airflow 3.3.1 cannot write out a run that has no start date yet
            raise
        return set()
    return {event["source_run_id"] for event in events}


def report_prefix(airflow: Airflow, run_id: str, deployed: str | None) -> str | None:
    """Where the report is in the bucket: what the last `report` task returned."""
    for dag_id, run in ((DEPLOY, deployed), (TRAIN, run_id)):
        if run and (prefix := airflow.xcom(dag_id, run, "report")):
            return str(prefix)
    return None


def fetch_results(stack: Stack, prefix: str | None) -> RunRecord | None:
    """Copy the report to build/demo; returns the run record, None where there is none."""
    shutil.rmtree(RESULTS, ignore_errors=True)
    if prefix is None:
        return None
    RESULTS.mkdir(parents=True)
    s3 = stack.client("s3")
    for name in ("report.json", "report.html"):
        s3.download_file(bucket(stack), f"{prefix.rstrip('/')}/{name}", str(RESULTS / name))
    return run_record(stack, prefix)


def run_record(stack: Stack, prefix: str) -> RunRecord:
    """The run record whose report is there."""
    sys.path.insert(0, str(ROOT / "plugins"))
    from musher.record import RunRecord

    key = f"{prefix.rstrip('/')}/report.json"
    body = stack.client("s3").get_object(Bucket=bucket(stack), Key=key)["Body"].read()
    return RunRecord.from_json(json.loads(body), "report.json")


def fetch_releases(stack: Stack, releases: list[Outcome]) -> None:
    """Copy the releases' pages to build/demo."""
    for each in releases:
        if each.report:
            page = f"{each.report.rstrip('/')}/report.html"
            stack.client("s3").download_file(bucket(stack), page, str(RESULTS / each.page))


def conclude(record: RunRecord | None, stack: Stack, releases: list[Outcome]) -> bool:
    """Print verdict, key figures and addresses; returns whether the verdict is a pass."""
    if record is None:
        say(f"There is no report: no `report` task has run.\nAirflow: {stack.airflow_url}")
        return False
    from musher.record import Check
    from musher.report import summary

    checks = [
        Check(name=each.name, passed=each.passed, measured=each.measured, required=each.required) for each in releases
    ]
    if record.verdict and not record.verdict.refused_because:
        passed = record.verdict.passed and all(each.passed for each in checks)
        record = record.replace(verdict=record.verdict.replace(checks=[*record.verdict.checks, *checks], passed=passed))
    say("")
    say(summary.text(record))
    for each in (each for each in releases if each.passed):
        say(f"  ✓ {each.name}: {each.measured} ({RESULTS / each.page})")
    say(f"Report: {RESULTS / 'report.html'}\nAirflow: {stack.airflow_url}")
    return summary.outcome(record).state == "passed"


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
