"""What starting a second endpoint instance and a job costs, and how the first instance answers meanwhile.

    python benchmarks/instance_start.py

Medians of ten starts of a model and of a script that import PyTorch, after a first one. Calls are sent at 65 % of what
one instance can take, whether they are answered or not; their latency counts from when they should have been sent.
"""

from __future__ import annotations

import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import psutil

from benchmarks.invocations import IMAGE, ROOT, wait_until_ready

STARTS, SHARE, SECONDS, CLIENTS = 10, 0.65, 10.0, 32
SIGNATURE = (
    "AWS4-HMAC-SHA256 Credential=AKIABENCH/20260101/us-east-1/sagemaker/aws4_request, SignedHeaders=host, Signature=0"
)
TRAINING_IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.13-cpu-amzn2023-sagemaker"
# About 10 ms a call on one core.
MODEL = """
import torch

def model_fn(model_dir):
    return torch.rand(700, 700)

def input_fn(body, content_type):
    return body

def predict_fn(data, model):
    for _ in range(2):
        model @ model
    return data

def output_fn(prediction, accept):
    return prediction, "application/json"
"""
ROLE = "arn:aws:iam::123456789012:role/bench"


class Work:
    """The CPU seconds of the processes below one, those that end meanwhile included, in looks of 50 ms."""

    def __init__(self, pid: int) -> None:
        self.root, self.spent, self.done = psutil.Process(pid), {}, threading.Event()
        self.before = self.look()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def look(self) -> dict[tuple[int, float], float]:
        found = {}
        for each in self.root.children(recursive=True):
            try:
                times = each.cpu_times()
                found[each.pid, each.create_time()] = times.user + times.system
            except psutil.Error:
                continue
        return found

    def watch(self) -> None:
        while not self.done.wait(0.05):
            self.spent |= self.look()

    def seconds(self) -> float:
        self.done.set()
        self.thread.join()
        self.spent |= self.look()
        return sum(spent - self.before.get(each, 0.0) for each, spent in self.spent.items() if each not in self.before)


def archive(name: str, source: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(source)
        tar.addfile(info, io.BytesIO(source.encode()))
    return buffer.getvalue()


def prepare(s3, sagemaker, iam) -> None:
    """A role, an endpoint in service and the code of a job, all named "bench"."""
    principal = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [principal]})
    iam.create_role(RoleName="bench", AssumeRolePolicyDocument=policy)
    s3.create_bucket(Bucket="bench")
    s3.put_object(Bucket="bench", Key="model.tar.gz", Body=archive("code/inference.py", MODEL))
    s3.put_object(Bucket="bench", Key="code/sourcedir.tar.gz", Body=archive("job.py", "import torch\n"))
    container = {"Image": IMAGE, "ModelDataUrl": "s3://bench/model.tar.gz"}
    sagemaker.create_model(ModelName="bench", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant = {"VariantName": "all", "ModelName": "bench", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="bench", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="bench", EndpointConfigName="bench")
    until(lambda: sagemaker.describe_endpoint(EndpointName="bench")["EndpointStatus"] == "InService")


def until(condition) -> None:
    while not condition():
        time.sleep(0.02)


def scale(sagemaker, count: int) -> None:
    wanted = [{"VariantName": "all", "DesiredInstanceCount": count}]
    sagemaker.update_endpoint_weights_and_capacities(EndpointName="bench", DesiredWeightsAndCapacities=wanted)
    until(lambda: sagemaker.describe_endpoint(EndpointName="bench")["EndpointStatus"] == "InService")


def train(sagemaker, number: int) -> None:
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://bench/code/", "S3DataDistributionType": "FullyReplicated"}
    values = {"sagemaker_program": "job.py", "sagemaker_region": "us-east-1",
              "sagemaker_submit_directory": "/opt/ml/input/data/code/sourcedir.tar.gz"}  # fmt: skip
    name = f"bench-{number}"
    sagemaker.create_training_job(
        TrainingJobName=name, RoleArn=ROLE, HyperParameters=values, EnableNetworkIsolation=True,
        AlgorithmSpecification={"TrainingImage": TRAINING_IMAGE, "TrainingInputMode": "File"},
        InputDataConfig=[{"ChannelName": "code", "DataSource": {"S3DataSource": source}}],
        OutputDataConfig={"S3OutputPath": "s3://bench/jobs"}, StoppingCondition={"MaxRuntimeInSeconds": 300},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
    )  # fmt: skip
    until(lambda: sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] != "InProgress")


def measured(pid: int, work) -> tuple[float, float]:
    """(wall, CPU) seconds."""
    watched, began = Work(pid), time.monotonic()
    work()
    wall = time.monotonic() - began
    return wall, watched.seconds()


def call(port: int, due: float = 0.0) -> float:
    """One call on a connection of its own; seconds since it was due, or since its start."""
    due = due or time.monotonic()
    request = (
        f"POST /endpoints/bench/invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: {SIGNATURE}\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]"
    )
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(request.encode())
        answer = b""
        while data := connection.recv(65536):
            answer += data
    if not answer.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"an answer was no 200: {answer!r}")
    return time.monotonic() - due


def latencies(port: int, rate: float, meanwhile=lambda: None) -> list[float]:
    """Of calls at a rate for SECONDS, with something else at the start of the second third."""
    began, found = time.monotonic(), []
    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        other = None
        for number in range(int(rate * SECONDS)):
            due = began + number / rate
            time.sleep(max(0.0, due - time.monotonic()))
            if other is None and number > rate * SECONDS / 3:
                other = pool.submit(meanwhile)
            found.append(pool.submit(call, port, due))
        other.result()
        return sorted(each.result() for each in found)


def p99(values: list[float]) -> float:
    return 1000 * values[int(0.99 * len(values))]


def main() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    keys = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench", "region_name": "us-east-1"}
    keys["endpoint_url"] = f"http://127.0.0.1:{port}"
    s3, sagemaker, iam = (boto3.client(each, **keys) for each in ("s3", "sagemaker", "iam"))
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "local_aws", "--port", str(port), "--state", str(Path(folder) / "state")]
        daemon = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            wait_until_ready(port)
            prepare(s3, sagemaker, iam)
            train(sagemaker, 0)
            instances, jobs = [], []
            for number in range(STARTS):
                instances.append(measured(daemon.pid, lambda: scale(sagemaker, 2)))
                scale(sagemaker, 1)
                jobs.append(measured(daemon.pid, lambda number=number: train(sagemaker, number + 1)))
            alone = statistics.median(call(port) for _ in range(50))
            rate = SHARE / alone
            quiet = p99(latencies(port, rate))
            starting = p99(latencies(port, rate, lambda: scale(sagemaker, 2)))
        finally:
            daemon.terminate()
            daemon.wait(20)
    for name, found in (("second instance of an endpoint", instances), ("training job, to its end", jobs)):
        wall, cpu = (statistics.median(each) for each in zip(*found, strict=True))
        print(f"{name}: {wall:.2f} s, {cpu:.2f} CPU seconds")
    print(
        f"calls at {rate:.0f}/s ({SHARE:.0%} of one instance's {1 / alone:.0f}/s): p99 {quiet:.0f} ms, "
        f"{starting:.0f} ms while a second instance starts (load {os.getloadavg()[0]:.1f})"
    )


if __name__ == "__main__":
    main()
