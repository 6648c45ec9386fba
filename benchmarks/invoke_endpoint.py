"""InvokeEndpoint calls per second: through the local AWS, and straight to the process that serves.

    python benchmarks/invoke_endpoint.py

A trivial model on one instance, 8 clients with a kept connection each, signed as boto3 signs. The clients are two
lean processes of four threads: boto3 itself takes longer for a call than everything behind it.
"""

from __future__ import annotations

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

ROOT = Path(__file__).resolve().parents[1]
GOAL = 1000.0
CLIENTS, PROCESSES, SECONDS = 8, 2, 5.0
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
SIGNATURE = (
    "AWS4-HMAC-SHA256 Credential=AKIABENCH/20260101/us-east-1/sagemaker/aws4_request, SignedHeaders=host, Signature=0"
)


def client(address: tuple[str, int], path: str, seconds: float, counts: list[int]) -> None:
    """Call one after another on a kept connection; append how many were answered."""
    body = b'{"x": 1}'
    request = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAuthorization: {SIGNATURE}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    count = 0
    with socket.create_connection(address, 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            connection.sendall(request)
            answer = b""
            while not answer.endswith(body):
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
    keys = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench", "region_name": "us-east-1"}
    s3, sagemaker = (boto3.client(name, endpoint_url=url, **keys) for name in ("s3", "sagemaker"))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("code/inference.py")
        info.size = len(MODEL)
        tar.addfile(info, io.BytesIO(MODEL.encode()))
    s3.create_bucket(Bucket="bench")
    s3.put_object(Bucket="bench", Key="model.tar.gz", Body=buffer.getvalue())
    container = {"Image": IMAGE, "ModelDataUrl": "s3://bench/model.tar.gz"}
    role = "arn:aws:iam::123456789012:role/bench"
    sagemaker.create_model(ModelName="bench", ExecutionRoleArn=role, PrimaryContainer=container)
    variant = {"VariantName": "all", "ModelName": "bench", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="bench", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="bench", EndpointConfigName="bench")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="bench", WaiterConfig={"Delay": 1})


def main() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        command = [sys.executable, "-m", "local_aws", "--port", str(port), "--state", str(state)]
        daemon = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            wait_until_ready(port)
            deploy(f"http://127.0.0.1:{port}")
            instance = int(next(state.glob("endpoints/*/*/instances/*/port")).read_text())
            through, direct = ("127.0.0.1", port), ("127.0.0.1", instance)
            per_second(through, "/endpoints/bench/invocations", 1.0)
            measured = per_second(through, "/endpoints/bench/invocations")
            process = per_second(direct, "/invocations")
        finally:
            daemon.terminate()
            daemon.wait(20)
    print(
        f"InvokeEndpoint at {CLIENTS} clients: {measured:.0f} calls/s through the local AWS, "
        f"{process:.0f} straight to the process (goal {GOAL:.0f})"
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
