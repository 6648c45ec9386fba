"""How late the load generator's requests leave at 200 a second, against boto3 called from as many threads.

    python benchmarks/send_lag.py [--rps 200] [--seconds 10]

Both send the same 40 KB invocation to a server in another process that answers after 20 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))

GOAL_MS = 10.0
ANSWER = b'{"statusCode": 200, "headers": {}, "body": "{}"}'


async def serve() -> None:
    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                await reader.readexactly(int(head.split("content-length:")[1].split("\r\n")[0]))
                await asyncio.sleep(0.02)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0, limit=1 << 20, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def measure(target, rps: float, seconds: float) -> tuple[float, float]:
    """p99 of the send lag in ms, and CPU milliseconds a request."""
    from musher.load.generator import run_phase
    from musher.load.schedule import Phase

    before = time.process_time()
    phase = Phase(name="lag", kind="rate", rps=rps, seconds=seconds)
    record = run_phase(phase, target, [os.urandom(30_000)]).record()
    if record["succeeded"] != record["promised"]:
        raise SystemExit(f"{record['succeeded']} of {record['promised']} requests succeeded: {record['errors']}")
    return record["send_lag_p99_ms"], (time.process_time() - before) * 1000 / record["sent"]


def measure_boto3(client, rps: float, seconds: float) -> tuple[float, float]:
    """The same load by plain `client.invoke`; its lag is counted up to botocore's own `before-send`."""
    import base64
    import json
    import threading

    from musher.load.generator import run_phase
    from musher.load.histogram import percentiles_ms
    from musher.load.outcome import Outcome
    from musher.load.schedule import Phase

    local, preparing = threading.local(), []
    client.meta.events.register("before-send.lambda.Invoke", lambda **_: setattr(local, "left", time.perf_counter()))
    event = json.dumps({"image": base64.b64encode(os.urandom(30_000)).decode()}).encode()

    def send(_: bytes) -> Outcome:
        began = time.perf_counter()
        client.invoke(FunctionName="f", Qualifier="live", Payload=event)["Payload"].read()
        preparing.append(local.left - began)
        return Outcome("succeeded")

    before = time.process_time()
    phase = Phase(name="boto3", kind="rate", rps=rps, seconds=seconds)
    result = run_phase(phase, send, [b"x"])
    cpu = (time.process_time() - before) * 1000 / len(result.samples)
    late = [sample.sent - sample.due for sample in result.samples]
    return percentiles_ms([lag + p for lag, p in zip(sorted(late), sorted(preparing), strict=True)], 99)[0], cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rps", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return
    import boto3
    from botocore.config import Config
    from musher.load.targets import LambdaTarget

    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"

        def client(service: str, *, config: Config):
            keys = {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": "secret"}
            return boto3.client(service, config=config, endpoint_url=url, region_name="us-east-1", **keys)

        lag, cpu = measure(LambdaTarget("f", "live", client), options.rps, options.seconds)
        pool = Config(retries={"total_max_attempts": 1}, max_pool_connections=100)
        boto3_lag, boto3_cpu = measure_boto3(client("lambda", config=pool), options.rps, options.seconds)
    finally:
        server.kill()
        server.wait()
    print(
        f"send lag p99 at {options.rps:g} requests/s: {lag:.2f} ms, {cpu:.2f} ms of CPU a request "
        f"(goal: at most {GOAL_MS:g} ms); with plain boto3 in threads: {boto3_lag:.2f} ms, {boto3_cpu:.2f} ms of CPU"
    )


if __name__ == "__main__":
    main()
