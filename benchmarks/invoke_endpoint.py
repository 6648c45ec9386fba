"""InvokeEndpoint calls per second: through the local AWS, with IAM off and enforced, and straight to the process that
serves.

    python benchmarks/invoke_endpoint.py

A trivial model on one instance, 8 clients with a kept connection each, signed as boto3 signs. The clients are two
lean processes of four threads: boto3 itself takes longer for a call than everything behind it.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ROOT = Path(__file__).resolve().parents[1]
GOAL = 1000.0
CLIENTS, PROCESSES, SECONDS, ROUNDS = 8, 2, 3.0, 4
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6.0-cpu-py312"
MODEL = """
def model_fn(model_dir):
    return None

def input_fn(body, content_type):
    return body

def predict_fn(data, model):
    return data

def output_fn(prediction, accept):
    return prediction, "application/json"
"""
BODY = b'{"x": 1}'
KEY = Credentials("test", "test")


def signed(address: tuple[str, int], path: str) -> bytes:
    """The request as it is sent, with its signature: a signature is good for a quarter of an hour."""
    url = f"http://{address[0]}:{address[1]}{path}"
    request = AWSRequest("POST", url, {"Content-Type": "application/json"}, BODY)
    SigV4Auth(KEY, "sagemaker", "us-east-1").add_auth(request)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    return (
        f"POST {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\n{head}Content-Length: {len(BODY)}\r\n\r\n"
    ).encode() + BODY


def client(address: tuple[str, int], path: str, seconds: float, counts: list[int]) -> None:
    """Call one after another on a kept connection; append how many were answered."""
    request, count = signed(address, path), 0
    with socket.create_connection(address, 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            connection.sendall(request)
            answer = b""
            while not answer.endswith(BODY):
                data = connection.recv(65536)
                if not data:
                    raise SystemExit(f"the connection to {address} was closed: {answer!r}")
                answer += data
            if not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"an answer was no 200: {answer!r}")
            count += 1
    counts.append(count)


def clients(address: tuple[str, int], path: str, seconds: float, queue) -> None:
    counts: list[int] = []
    threads = [
        threading.Thread(target=client, args=(address, path, seconds, counts)) for _ in range(CLIENTS // PROCESSES)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    queue.put(sum(counts))


def per_second(address: tuple[str, int], path: str, seconds: float = SECONDS) -> float:
    """Calls per second of all clients together."""
    queue = multiprocessing.Queue()
    processes = [
        multiprocessing.Process(target=clients, args=(address, path, seconds, queue)) for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    total = sum(queue.get(timeout=seconds + 15) for _ in processes)
    for process in processes:
        process.join()
    return total / seconds


def deploy(url: str) -> None:
    """A bucket, a model, a configuration, an endpoint in service, all named "bench"."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    s3, sagemaker = (boto3.client(name, endpoint_url=url, **keys) for name in ("s3", "sagemaker"))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("code/inference.py")
        info.size = len(MODEL)
        tar.addfile(info, io.BytesIO(MODEL.encode()))
    s3.create_bucket(Bucket="bench")
    s3.put_object(Bucket="bench", Key="model.tar.gz", Body=buffer.getvalue())
    container = {"Image": IMAGE, "ModelDataUrl": "s3://bench/model.tar.gz"}
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = boto3.client("iam", endpoint_url=url, **keys).create_role(
        RoleName="bench", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    sagemaker.create_model(ModelName="bench", ExecutionRoleArn=role, PrimaryContainer=container)
    variant = {"VariantName": "all", "ModelName": "bench", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="bench", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="bench", EndpointConfigName="bench")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="bench", WaiterConfig={"Delay": 1})


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ended:
        through: dict[str, tuple[str, int]] = {}
        for mode in ("off", "enforce"):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            state = Path(folder) / mode
            command = [sys.executable, "-m", "local_aws", "--port", str(port), "--state", str(state), "--iam", mode]
            daemon = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
            ended.callback(daemon.wait, 20)
            ended.callback(daemon.terminate)
            wait_until_ready(port)
            deploy(f"http://127.0.0.1:{port}")
            through[mode] = ("127.0.0.1", port)
        instance = int(next((Path(folder) / "off").glob("endpoints/*/*/instances/*/port")).read_text())
        measured: dict[str, list[float]] = {mode: [] for mode in through}
        # In turns: what else the machine does meets both.
        for _ in range(ROUNDS):
            for mode, address in through.items():
                measured[mode].append(per_second(address, "/endpoints/bench/invocations"))
        process = per_second(("127.0.0.1", instance), "/invocations")
    best = {mode: max(each) for mode, each in measured.items()}
    print(
        f"InvokeEndpoint at {CLIENTS} clients: {best['off']:.0f} calls/s through the local AWS, "
        f"{best['enforce']:.0f} with IAM enforced, {process:.0f} straight to the process (goal {GOAL:.0f})"
    )


def wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_local_aws/health", timeout=2) as answer:
                if json.load(answer)["status"] == "ready":
                    return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the local AWS did not start within 30 s")


if __name__ == "__main__":
    main()
