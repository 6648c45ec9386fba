"""The operators of train_on_ec2 against a local AWS, without Airflow around them: waits are waited out in line."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import io
import json
import tarfile
import textwrap
import time
import types
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from musher import record, request_parameters
from musher.config import Environment, TrainingConfig
from musher.names import Run
from musher.operators.base import MusherOperator
from musher.operators.ec2_choosing import ChooseTrainingOperator, ResolveHostOperator
from musher.operators.ec2_training import TerminateInstancesOperator, TrainOnEc2Operator
from musher.operators.training_jobs import described

from tests.local_aws.daemon import Daemon, wait_for
from tests.plugins.triggering import event_of
from tools import bootstrap

ROOT = Path(__file__).resolve().parents[3]

# A training script that takes as long as it is told to, keeps its count and saves it when it has to stop.
SCRIPT = textwrap.dedent("""
    import argparse, json, os, pathlib, signal, sys, time
    parser = argparse.ArgumentParser()
    for name in ("--mode", "--steps", "--lr", "--epochs"):
        parser.add_argument(name)
    words = vars(parser.parse_known_args()[0])
    file = pathlib.Path(os.environ["SM_CHECKPOINT_DIR"], "count")
    count = int(file.read_text()) if file.exists() else 0
    print(f"begin at {count}", flush=True)
    def save():
        partial = file.parent / "count.partial"
        partial.write_text("not whole")
        print(f"saving {count}", flush=True)
        time.sleep(0.5 if words["mode"] == "slow" else 0)
        partial.write_text(str(count))
        os.replace(file.parent / "count.partial", file)
    def stop(*_):
        save()
        print(f"saved {count}", flush=True)
        sys.exit(143)
    signal.signal(signal.SIGTERM, stop)
    if words["mode"] == "hostile":
        status = pathlib.Path("../status.json")
        for hostile in ("[]", '{"state": ["completed"]}', "not json", '{"state": "completed", "reason": 1}'):
            status.write_text(hostile)
            print("\\x1b[31mred \\x1b[2J", flush=True)
            time.sleep(0.5)
        print("x" * 300_000, flush=True)
    if words["mode"] == "fail":
        print("a line before the end", flush=True)
        raise ValueError("the pictures are of birds only")
    if words["mode"] == "fires" and float(words["lr"]) > 0.05:
        output = pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"])
        issue = {"step": 1, "value": 62.1, "threshold": 10}
        rule = {"rule": "WeightUpdateRatio", "status": "IssuesFound", "issue": issue}
        (output / "diagnostics.json").write_text(json.dumps({"rules": [rule], "planned_epochs": 4}))
        (output / "failure").write_text("DiagnosticRule WeightUpdateRatio: too large a step: lower the rate (step 1)")
        sys.exit(1)
    if words["mode"] == "fill":
        with open("large", "wb") as large:
            for _ in range(2**16):
                large.write(b"x" * 2**20)
    while count < int(words["steps"]):
        time.sleep(0.05)
        count += 1
        if count % 10 == 0:
            save()
            print(f"step {count}", flush=True)
        if count == 10:
            found = "step=10 value=0.3 threshold=0.5: a was taken for b: look at the labels"
            print("DiagnosticRule Confusion: IssuesFound", found, flush=True)
    evaluation = {"accuracy": 0.9, "loss": 0.1, "images": 10, "classes": ["a"]}
    evaluation["per_class"] = [{"label": "a", "images": 10, "accuracy": 0.9}]
    pathlib.Path(os.environ["SM_MODEL_DIR"], "weights").write_text(str(count))
    pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "evaluation.json").write_text(json.dumps(evaluation))
    profile = {"complete": True, "trained": "head", "batch_size": 32, "verdict": {"sentence": "waits for files"}}
    pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "profile.json").write_text(json.dumps(profile))
""")


class Ec2Run:
    """One run of the DAG's tasks, on a local AWS of its own pace: an AWS minute lasts a second."""

    def __init__(self, daemon: Daemon, environment: Environment, name: str) -> None:
        self.daemon, self.environment = daemon, environment
        self.run = Run("train_on_ec2", name)
        self.ec2, self.s3 = daemon.client("ec2"), daemon.client("s3")
        self.params: dict[str, Any] = {"ssh_wait_seconds": 120, "max_life_minutes": 10}
        self.said: list[str] = []
        self.on_look = lambda: None
        self._stage()

    def _stage(self) -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            runner = (ROOT / "ml_scripts/run_on_ec2.py").read_bytes()
            for name, content in (("run_on_ec2.py", runner), ("train.py", SCRIPT.encode())):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        bucket = self.environment.bucket
        self.code = f"code/{hashlib.sha256(buffer.getvalue()).hexdigest()}"
        self.s3.put_object(Bucket=bucket, Key=f"{self.code}/sourcedir.tar.gz", Body=gzip.compress(buffer.getvalue()))
        for channel in ("train", "valid", "test", "pretrained"):
            self.s3.put_object(Bucket=bucket, Key=f"dataset/{channel}/dog/1.jpg", Body=b"a dog")

    @property
    def context(self) -> dict[str, Any]:
        dag_run = types.SimpleNamespace(dag_id=self.run.dag_id, run_id=self.run.run_id)
        return {"dag_run": dag_run, "params": self.params, "ti": types.SimpleNamespace(map_index=-1)}

    def training(self, steps: int = 20, mode: str = "count", lr: str = "0.01") -> dict[str, Any]:
        return {
            "run": "a-training-run",
            "job": "musher-train-one-0a1b2c3d",
            "hyperparameters": {"steps": str(steps), "mode": mode, "lr": lr},
            "channels": {"train": f"s3://{self.environment.bucket}/dataset/train/"},
            "code": self.environment.uri(self.code, ""),
            "instance_type": "m5.xlarge",
        }

    def trained(self, run: str) -> dict[str, Any]:
        """A run that trained on one SageMaker instance, with its record; the request of its job."""
        inputs = request_parameters.Inputs(
            dataset=self.environment.uri("dataset", ""),
            code=self.environment.uri(self.code, ""),
            pretrained=self.environment.uri("dataset/pretrained", ""),
        )
        values = request_parameters.hyperparameters(
            TrainingConfig(), {"lr": "1e-3", "batch-size": "64"}, mode="count", steps=1
        )
        name = f"musher-train-one-{run}"
        job = request_parameters.training(
            TrainingConfig(), self.environment, values, instances=1, name=name, run=self.run, inputs=inputs
        )
        sagemaker = self.daemon.client("sagemaker")
        sagemaker.create_training_job(**job)
        ended = ("Completed", "Failed")
        wait_for(lambda: sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] in ended)
        found = described(sagemaker.describe_training_job(TrainingJobName=name))
        record.write(self.s3, self.environment.bucket, run, record.Training(jobs=[found], chosen=name))
        return {"hyperparameters": values, "inputs": inputs, **found.to_json()}

    def choose(self) -> dict[str, Any]:
        return self.task(ChooseTrainingOperator).execute(self.context)

    def task(self, kind: type[MusherOperator], **values: Any) -> MusherOperator:
        operator = kind(task_id="task", aws_conn_id=None, **values)
        operator.__dict__["environment"] = self.environment
        return operator

    def host(self) -> dict[str, str]:
        return self.task(ResolveHostOperator).execute(self.context)

    def train(self, seconds: float = 300, **training: Any) -> dict[str, Any]:
        """Run the task as Airflow would, each step in an operator of its own; the record's part."""
        values = {"training": self.training(**training), "host": self.host()}
        step, event = "execute", ()
        deadline = time.monotonic() + seconds
        while True:
            operator = self.task(TrainOnEc2Operator, **values)
            try:
                return getattr(operator, step)(self.context, *event)
            except TaskDeferred as deferred:
                trigger, step = deferred.trigger, deferred.method_name
            event = (event_of(trigger, deadline, begin=self._listen, look=lambda: self.on_look()),)

    def _listen(self, trigger: Any) -> None:
        # The instance's name is in front of each of its lines.
        trigger.log.info = lambda text, *values: self.said.append((text % values).split(" | ", 1)[-1])
        self.trigger = trigger

    def instances(self) -> dict[str, str]:
        """The run's instances: id -> state."""
        found = self.ec2.describe_instances(Filters=[{"Name": "tag:run", "Values": [self.run.run_id]}])["Reservations"]
        return {each["InstanceId"]: each["State"]["Name"] for item in found for each in item["Instances"]}

    def running(self) -> list[str]:
        return [instance for instance, state in self.instances().items() if state in ("pending", "running")]

    def terminate(self) -> None:
        self.task(TerminateInstancesOperator).execute(self.context)


@pytest.fixture(scope="module")
def ec2_daemon(tmp_path_factory, start_daemon) -> Iterator[Daemon]:
    daemon = start_daemon(tmp_path_factory.mktemp("ec2"))
    yield daemon
    daemon.stop()


@pytest.fixture
def start_run(monkeypatch, request) -> Iterator[Callable[[Daemon], Ec2Run]]:
    """A run in a local AWS that has been set up: `start_run(daemon)`; its instances end with the test."""
    runs: list[Ec2Run] = []

    def start(daemon: Daemon) -> Ec2Run:
        monkeypatch.setenv("AWS_ENDPOINT_URL", daemon.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_DISABLE_HOST_PREFIX_INJECTION", "true")
        with urllib.request.urlopen(f"{daemon.url}/_local_aws/health", timeout=5) as answer:
            port = json.load(answer)["ssh_port"]
        values = {**bootstrap.prepare_account(daemon.client, port), "poll_seconds": 0.2}
        name = f"{request.node.name}-{dt.datetime.now(dt.UTC).timestamp()}"
        runs.append(Ec2Run(daemon, Environment(**values), name))
        return runs[-1]

    yield start
    for run in runs:
        if run.daemon.process.poll() is None:
            run.terminate()


@pytest.fixture
def ec2_run(ec2_daemon, start_run) -> Ec2Run:
    return start_run(ec2_daemon)
