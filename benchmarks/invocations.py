"""InvokeEndpoint and Invoke (Lambda) through the local AWS with IAM off, auditing and enforcing, side by side.

    python benchmarks/invocations.py [--clients 8 32] [--rounds 4] [--seconds 1.5]

A trivial model on one instance and a trivial function, called by a role's session with kept connections, signed as
boto3 signs. The clients are two lean processes: boto3 itself takes longer for a call than everything behind it. All
modes run at once, and are called in turns, so that what else the machine does meets each of them. Of each operation,
mode and number of clients: the most calls a second of all rounds, and the daemon's CPU time for a call, the median of
all rounds. What a mode costs is the median of what it takes more than `off` in the same round.

It takes two minutes. The last lines compare with the goals: Invoke at 8 clients with IAM off, and IAM's cost.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import psutil
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ROOT = Path(__file__).resolve().parents[1]
MODES = ("off", "audit", "enforce")
PROCESSES, WARM_SECONDS = 2, 0.3
# Invocations a second at 8 clients; how much fewer calls IAM may leave there.
GOALS, MOST_COST = {"InvokeEndpoint": 1000, "Invoke": 1500}, 0.10
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
FUNCTION = """
import time

def handler(event, _):
    time.sleep(event.get("seconds", 0))
    return "done"
"""
BODY = b'{"x": 1}'


class Called(NamedTuple):
    """An operation as it is called."""

    path: str
    service: str
    ending: bytes
    """Of an answer."""


CALLED = {
    "InvokeEndpoint": Called("/endpoints/bench/invocations", "sagemaker", BODY),
    "Invoke": Called("/2015-03-31/functions/bench/invocations", "lambda", b'"done"'),
}
# As many statements as a role of this project has.
STATEMENTS = [
    {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"arn:aws:s3:::bench/{number}/*",
     "Condition": {"StringEquals": {"aws:ResourceTag/project": "bench"}}}
    for number in range(40)
]  # fmt: skip
ALLOWED = {
    "Effect": "Allow", "Action": ["sagemaker:InvokeEndpoint", "lambda:InvokeFunction"],
    "Resource": ["arn:aws:sagemaker:us-east-1:*:endpoint/bench", "arn:aws:lambda:us-east-1:*:function:bench"],
}  # fmt: skip
# What SageMaker and Lambda do in the role's name.
SERVING = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket", "ecr:*", "logs:*"], "Resource": "*"}
TRUST = {
    "Effect": "Allow", "Action": "sts:AssumeRole",
    "Principal": {"Service": ["sagemaker.amazonaws.com", "lambda.amazonaws.com"], "AWS": "123456789012"},
}  # fmt: skip


def signed(port: int, called: Called, credentials: Credentials) -> bytes:
    """The request as it is sent, with its signature: a signature is good for a quarter of an hour."""
    request = AWSRequest("POST", f"http://127.0.0.1:{port}{called.path}", {"Content-Type": "application/json"}, BODY)
    SigV4Auth(credentials, called.service, "us-east-1").add_auth(request)
    return written(port, called.path, request.headers.items())


def written(port: int, path: str, headers: Iterable[tuple[str, str]]) -> bytes:
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    start = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{head}Content-Length: {len(BODY)}\r\n\r\n"
    return start.encode() + BODY


def client(port: int, request: bytes, ending: bytes, seconds: float, counts: list[int]) -> None:
    """Call one after another on a kept connection; append how many were answered."""
    count = 0
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            connection.sendall(request)
            answer = b""
            while not answer.endswith(ending):
                data = connection.recv(65536)
                answer += data
                if not data or not b"HTTP/1.1 200".startswith(answer[:12]):
                    raise RuntimeError(f"an answer was no 200: {answer!r}")
            count += 1
    counts.append(count)


def callers(orders: Any, answers: Any) -> None:
    """A process of clients: for each order (port, request, ending, seconds, threads) the number of answered calls."""
    while (order := orders.get()) is not None:
        *what, threads = order
        counts: list[int] = []
        running = [threading.Thread(target=client, args=(*what, counts)) for _ in range(threads)]
        for each in running:
            each.start()
        for each in running:
            each.join()
        answers.put(sum(counts) if len(counts) == threads else None)


class Clients:
    """The processes that call."""

    def __init__(self) -> None:
        self.orders = [multiprocessing.Queue() for _ in range(PROCESSES)]
        self.answers: Any = multiprocessing.Queue()
        self.processes = [multiprocessing.Process(target=callers, args=(each, self.answers)) for each in self.orders]
        for each in self.processes:
            each.start()

    def call(self, port: int, request: bytes, ending: bytes, seconds: float, clients: int) -> int:
        """How many calls were answered."""
        for each in self.orders:
            each.put((port, request, ending, seconds, clients // PROCESSES))
        counts = [self.answers.get(timeout=seconds + 60) for _ in self.orders]
        if None in counts:
            raise SystemExit("a client has failed, see above")
        return sum(counts)

    def close(self) -> None:
        for each in self.orders:
            each.put(None)
        for process in self.processes:
            process.join()


def start(folder: Path, mode: str) -> tuple[subprocess.Popen[bytes], int]:
    """A local AWS, and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "local_aws", "--port", str(port), "--state", str(folder / mode), "--iam", mode]
    daemon = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    wait_until_ready(port)
    return daemon, port


def prepare(port: int, environments: int) -> Credentials:
    """An endpoint in service, a function with so many environments, and a session of a role that may call both."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}

    def of(name: str) -> Any:
        return boto3.client(name, endpoint_url=f"http://127.0.0.1:{port}", **keys)

    document = {"Version": "2012-10-17", "Statement": [TRUST]}
    role = of("iam").create_role(RoleName="bench", AssumeRolePolicyDocument=json.dumps(document))["Role"]["Arn"]
    document = {"Version": "2012-10-17", "Statement": [*STATEMENTS, ALLOWED, SERVING]}
    of("iam").put_role_policy(RoleName="bench", PolicyName="bench", PolicyDocument=json.dumps(document))
    deploy(of("s3"), of("sagemaker"), role)
    make_function(of("lambda"), role, environments)
    session = of("sts").assume_role(RoleArn=role, RoleSessionName="bench")["Credentials"]
    return Credentials(session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])


def deploy(s3: Any, sagemaker: Any, role: str) -> None:
    """A bucket, a model, a configuration, an endpoint in service, all named "bench"."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("code/inference.py")
        info.size = len(MODEL)
        tar.addfile(info, io.BytesIO(MODEL.encode()))
    s3.create_bucket(Bucket="bench")
    s3.put_object(Bucket="bench", Key="model.tar.gz", Body=buffer.getvalue())
    container = {"Image": IMAGE, "ModelDataUrl": "s3://bench/model.tar.gz"}
    sagemaker.create_model(ModelName="bench", ExecutionRoleArn=role, PrimaryContainer=container)
    variant = {"VariantName": "all", "ModelName": "bench", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="bench", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="bench", EndpointConfigName="bench")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="bench", WaiterConfig={"Delay": 1})


def make_function(functions: Any, role: str, environments: int) -> None:
    """A function "bench" with so many environments."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("app.py", FUNCTION)
    code = {"ZipFile": archive.getvalue()}
    functions.create_function(FunctionName="bench", Runtime="python3.11", Handler="app.handler", Role=role, Code=code)
    functions.get_waiter("function_active_v2").wait(FunctionName="bench", WaiterConfig={"Delay": 1})
    calls = [
        threading.Thread(target=lambda: functions.invoke(FunctionName="bench", Payload=b'{"seconds": 2}'))
        for _ in range(environments)
    ]
    for each in calls:
        each.start()
    for each in calls:
        each.join()


def wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_local_aws/health", timeout=2) as answer:
                if json.load(answer)["status"] == "ready":
                    return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the local AWS did not start within 60 s")


class Measured(NamedTuple):
    """One round of one mode."""

    per_second: float
    cpu: float
    """The daemon's seconds of CPU for a call."""


def measure(
    clients: Clients, daemon: subprocess.Popen[bytes], port: int, request: bytes, ending: bytes, seconds: float,
    count: int,
) -> Measured:  # fmt: skip
    clients.call(port, request, ending, WARM_SECONDS, count)
    times = psutil.Process(daemon.pid).cpu_times
    before = times()
    answered = clients.call(port, request, ending, seconds, count)
    after = times()
    spent = after.user + after.system - before.user - before.system
    return Measured(answered / seconds, spent / answered)


def report(name: str, count: int, rounds: dict[str, list[Measured]]) -> tuple[float, float]:
    """Print one operation's figures; the most calls a second with IAM off, and what part of it IAM enforced takes."""
    cost = 0.0
    for mode, found in rounds.items():
        best = max(each.per_second for each in found)
        cpu = statistics.median(each.cpu for each in found)
        line = f"{name}, {count} clients, IAM {mode}: {best:.0f} calls/s, {1e6 * cpu:.0f} us of CPU of the daemon"
        if mode != "off":
            pairs = list(zip(rounds["off"], found, strict=True))
            cost = statistics.median(1 - each.per_second / off.per_second for off, each in pairs)
            more = statistics.median(each.cpu - off.cpu for off, each in pairs)
            line += f"; beside off {1e6 * more:+.0f} us, {100 * cost:.0f} % fewer calls"
        print(line, flush=True)
    return max(each.per_second for each in rounds["off"]), cost


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each round")
    options = parser.parse_args()
    missed = []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ended:
        clients = Clients()
        ended.callback(clients.close)
        daemons = {}
        for mode in MODES:
            daemon, port = start(Path(folder), mode)
            ended.callback(daemon.wait, 20)
            ended.callback(daemon.terminate)
            daemons[mode] = daemon, port, prepare(port, max(options.clients))
        for name, called in CALLED.items():
            for count in options.clients:
                rounds: dict[str, list[Measured]] = {mode: [] for mode in MODES}
                for turn in range(options.rounds):
                    # Who is called first in a round is called more often.
                    for mode in MODES[turn % len(MODES) :] + MODES[: turn % len(MODES)]:
                        daemon, port, credentials = daemons[mode]
                        request = signed(port, called, credentials)
                        found = measure(clients, daemon, port, request, called.ending, options.seconds, count)
                        rounds[mode].append(found)
                per_second, cost = report(name, count, rounds)
                if count == 8 and per_second < GOALS[name]:
                    missed.append(f"{name} with IAM off: {per_second:.0f} calls/s, the goal is {GOALS[name]:,}")
                if count == 8 and cost > MOST_COST:
                    missed.append(f"{name}: IAM takes {100 * cost:.0f} % of the calls, the goal is at most 10 %")
        instance = int(next((Path(folder) / "off").glob("endpoints/*/*/instances/*/port")).read_text())
        straight = written(instance, "/invocations", [("Content-Type", "application/json")])
        answered = clients.call(instance, straight, BODY, options.seconds, 8)
        print(f"Straight to the process that serves, 8 clients: {answered / options.seconds:.0f} calls/s")
    print("\n".join(missed) or "All goals are met.")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
