"""What a SIGKILL takes of S3's objects, and what they cost: kills under load, CPU an object, starts with many.

    python benchmarks/durability.py [--kills 20] [--objects 1000 10000]

The clients are lean (plain HTTP, no SDK), and the CPU is the local AWS's own with its children's: other work on the
machine changes it little.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
HEADERS = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=BENCH/20261125/us-east-1/s3/aws4_request, SignedHeaders=host, "
    "Signature=0"
}
KIB = 1024


class LocalAws:
    """A local AWS on a state folder."""

    def __init__(self, state: Path, *options: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "local_aws", "--port", str(self.port), "--state", str(state), *options]
        began = time.monotonic()
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        while True:
            with contextlib.suppress(OSError):
                if self.connection().request_("GET", "/_local_aws/health")[0] == 200:
                    break
            assert self.process.poll() is None, "the local AWS has not started"
            time.sleep(0.02)
        self.started_in = time.monotonic() - began

    def connection(self) -> Connection:
        return Connection("127.0.0.1", self.port, timeout=120)

    def cpu(self) -> float:
        """Seconds of CPU up to now, its ended children's included."""
        spent = psutil.Process(self.process.pid).cpu_times()
        return spent.user + spent.system + spent.children_user + spent.children_system

    def memory(self) -> float:
        """MB that are its own."""
        return psutil.Process(self.process.pid).memory_full_info().uss / 1e6

    def end(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(300)

    def saves(self) -> int:
        return json.loads(self.connection().request_("GET", "/_local_aws/health")[1])["state"]["saves"]


class Connection(http.client.HTTPConnection):
    def request_(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        self.request(method, path, body, HEADERS)
        answer = self.getresponse()
        return answer.status, answer.read()

    def change_something_else(self) -> None:
        """A call that has a save follow, and nothing to do with S3."""
        body = json.dumps({"Name": "/bench", "Value": "value", "Type": "String", "Overwrite": True})
        kind = {"X-Amz-Target": "AmazonSSM.PutParameter", "Content-Type": "application/x-amz-json-1.1"}
        self.request("POST", "/", body, {"Authorization": HEADERS["Authorization"].replace("/s3/", "/ssm/"), **kind})
        answer = self.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name) / "state"


def kills(count: int, clients: int = 4) -> None:
    """Kill it under load again and again, and look for what it had acknowledged."""
    acknowledged: dict[str, str] = {}
    lost: set[str] = set()
    with folder() as state:
        for turn in range(count):
            aws = LocalAws(state)
            until_killed = threading.Event()
            # A bucket that is made just before.
            bucket = f"kill-{turn}"
            assert aws.connection().request_("PUT", f"/{bucket}")[0] == 200

            def write(writer: int, bucket: str = bucket, aws: LocalAws = aws, gone: threading.Event = until_killed):
                connection, chance = aws.connection(), random.Random(f"{bucket}/{writer}")
                with contextlib.suppress(OSError, http.client.HTTPException):
                    for number in range(1_000_000):
                        body = chance.randbytes(chance.choice((100, 8 * KIB, 64 * KIB)))
                        path = f"/{bucket}/{writer}/{number}"
                        if connection.request_("PUT", path, body)[0] == 200:
                            acknowledged[path] = hashlib.sha256(body).hexdigest()
                        if gone.is_set():
                            return

            writers = [threading.Thread(target=write, args=(writer,)) for writer in range(clients)]
            for each in writers:
                each.start()
            time.sleep(random.uniform(0.5, 2.5))
            aws.end(signal.SIGKILL)
            until_killed.set()
            for each in writers:
                each.join()
        aws = LocalAws(state)
        connection = aws.connection()
        for path, digest in acknowledged.items():
            status, body = connection.request_("GET", path)
            if status != 200 or hashlib.sha256(body).hexdigest() != digest:
                lost.add(path)
        aws.end()
    print(f"{count} kills under load: {len(acknowledged):,} objects acknowledged, {len(lost):,} lost")


def speed(size: int, clients: int, count: int) -> None:
    """Store and read `count` objects."""
    body = os.urandom(size)
    with folder() as state:
        aws = LocalAws(state)
        aws.connection().request_("PUT", "/bench")

        def run(writer: int, method: str) -> None:
            connection = aws.connection()
            for number in range(count // clients):
                # Each object is another.
                content = number.to_bytes(8, "big") + writer.to_bytes(8, "big") + body[16:] if method == "PUT" else None
                status, _ = connection.request_(method, f"/bench/{writer}/{number}", content)
                assert status == 200, status

        for method in ("PUT", "GET"):
            threads = [threading.Thread(target=run, args=(writer, method)) for writer in range(clients)]
            spent, began = aws.cpu(), time.monotonic()
            for each in threads:
                each.start()
            for each in threads:
                each.join()
            took = time.monotonic() - began
            cost = (aws.cpu() - spent) / count * 1000
            print(
                f"{method} of {size / KIB:g} KB at {clients} clients: {cost:.2f} ms of CPU an object, "
                f"{count / took:,.0f} objects a second"
            )
        aws.end()


def many(count: int, size: int = 8 * KIB) -> None:
    """Start again with many objects, and save something else meanwhile."""
    with folder() as state:
        aws = LocalAws(state)
        connection = aws.connection()
        connection.request_("PUT", "/bench")
        for number in range(count):
            content = number.to_bytes(8, "big") + os.urandom(size - 8)
            connection.request_("PUT", f"/bench/{number:06}", content)
        began, spent = time.monotonic(), aws.cpu()
        aws.end()
        stopped = time.monotonic() - began
        aws = LocalAws(state, "--save-every", "1s")
        memory, spent = aws.memory(), aws.cpu()
        starting = aws.started_in
        connection = aws.connection()
        connection.change_something_else()
        longest, began, before, used = 0.0, time.monotonic(), aws.saves(), aws.cpu()
        # Each save holds calls back for a moment.
        while time.monotonic() - began < 20:
            at = time.monotonic()
            connection.change_something_else()
            longest = max(longest, time.monotonic() - at)
            time.sleep(0.25)
        cost, saves = aws.cpu() - used, aws.saves() - before
        aws.end()
    print(
        f"{count:,} objects of {size / KIB:g} KB: stopped in {stopped:.1f} s, started in {starting:.1f} s "
        f"({spent:.1f} s of CPU), {memory:.0f} MB; 20 s of changes to something else: {saves} saves, {cost:.1f} s of "
        f"CPU, the longest call {longest * 1000:.0f} ms"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--objects", type=int, nargs="*", default=[1000, 10_000])
    arguments = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}")
    for size, count in ((KIB, 2000), (64 * KIB, 2000)):
        for clients in (1, 8):
            speed(size, clients, count)
    for count in arguments.objects:
        many(count)
    if arguments.kills:
        kills(arguments.kills)
    return 0


if __name__ == "__main__":
    sys.exit(main())
