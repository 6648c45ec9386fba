"""Warm Lambda invocations a second through the local AWS, at 8 clients.

    python benchmarks/lambda_invoke.py

The clients are one lean process of their own (threads with a plain HTTP connection each): the figure is the local
AWS's, not boto3's.
"""

from __future__ import annotations

import http.client
import io
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
GOAL, CLIENTS, SECONDS = 1000, 8, 5.0


def clients(port: int) -> None:
    """Invoke from CLIENTS threads for SECONDS; print how many a second."""
    request = (
        b"POST /2015-03-31/functions/bench/invocations HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )
    done, until = [0] * CLIENTS, time.monotonic() + SECONDS

    def run(number: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while time.monotonic() < until:
                connection.sendall(request)
                answer = b""
                while not answer.endswith(b'"done"'):
                    piece = connection.recv(65536)
                    assert piece, answer
                    answer += piece
                done[number] += answer.startswith(b"HTTP/1.1 200")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CLIENTS)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    print(sum(done) / SECONDS)


def prepare(port: int) -> None:
    """Create the function and bring up its environments."""
    import boto3

    options = {"region_name": "us-east-1", "aws_access_key_id": "bench", "aws_secret_access_key": "bench"}
    options["endpoint_url"] = f"http://127.0.0.1:{port}"
    statement = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = boto3.client("iam", **options).create_role(RoleName="bench", AssumeRolePolicyDocument=policy)["Role"]["Arn"]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr(
            "app.py", "import time\ndef handler(event, _):\n    time.sleep(event.get('s', 0))\n    return 'done'"
        )
    client = boto3.client("lambda", **options)
    code = {"ZipFile": archive.getvalue()}
    client.create_function(FunctionName="bench", Runtime="python3.11", Handler="app.handler", Role=role, Code=code)
    client.get_waiter("function_active_v2").wait(FunctionName="bench", WaiterConfig={"Delay": 1})
    calls = [
        threading.Thread(target=lambda: client.invoke(FunctionName="bench", Payload=b'{"s": 2}'))
        for _ in range(CLIENTS)
    ]
    for each in calls:
        each.start()
    for each in calls:
        each.join()


def main() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "local_aws", "--port", str(port), "--state", str(Path(folder) / "state")]
        daemon = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            for _ in range(200):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/_local_aws/health", timeout=5).close()
                    break
                except (OSError, http.client.HTTPException):
                    time.sleep(0.05)
            prepare(port)
            output = subprocess.check_output([sys.executable, __file__, str(port)], text=True)
        finally:
            daemon.terminate()
            daemon.wait(20)
    measured = float(output)
    print(f"warm Lambda invocations through the local AWS, {CLIENTS} clients: {measured:.0f}/s (goal: {GOAL:,}/s)")
    return int(measured < GOAL)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        clients(int(sys.argv[1]))
        sys.exit(0)
    sys.exit(main())
