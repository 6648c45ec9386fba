"""A small HTTP server that answers as Lambda's Invoke and SageMaker's InvokeEndpoint do; a program of its own.

    python server.py [--service-ms 20] [--lanes 4] [--reserved 5] [--cold-first 2] [--stall-after 1 --stall-for 1]

Prints its port. `--lanes` calls run at once, the others wait; above `--reserved` calls in progress it answers 429; the
first `--cold-first` calls say they met a cold start; after `--stall-after` seconds of load nobody gets an answer for
`--stall-for` seconds. `GET /counts` says what it saw.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import time


class Server:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.lanes = asyncio.Semaphore(options.lanes)
        self.running = 0
        self.counts = {"invocations": 0, "throttles": 0, "most": 0, "connections": 0}
        self.first_call: float | None = None
        self.image = ""

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts["connections"] += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next((int(x.split(":")[1]) for x in head.lower().split("\r\n") if "content-length:" in x), 0)
                body = await reader.readexactly(length)
                status, headers, answer = await self.answer(head.split(" ")[1], body)
                lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(answer)}"]
                lines += [f"{name}: {value}" for name, value in headers.items()]
                writer.write("\r\n".join([*lines, "", ""]).encode() + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def answer(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if path == "/counts":
            return 200, {}, json.dumps(self.counts | {"last_path": self.last_path, "image": self.image}).encode()
        self.last_path = path
        self.image = json.loads(body).get("image", "") if path.startswith("/2015-03-31") else body.decode("latin-1")
        self.first_call = self.first_call or time.monotonic()
        if self.options.reserved and self.running >= self.options.reserved:
            self.counts["throttles"] += 1
            refusal = {"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "message": "Rate exceeded"}
            return 429, {"x-amzn-ErrorType": "TooManyRequestsException"}, json.dumps(refusal).encode()
        self.counts["invocations"] += 1
        self.running += 1
        self.counts["most"] = max(self.counts["most"], self.running)
        number, started = self.counts["invocations"], time.time()
        try:
            async with self.lanes:
                await self.stall()
                await asyncio.sleep(self.options.service_ms / 1000)
        finally:
            self.running -= 1
        headers = {
            "x-initialization": "cold" if number <= self.options.cold_first else "warm",
            "x-environment": f"environment-{number}",
            "x-started-at": f"{started:.6f}",
            "x-duration-ms": f"{(time.time() - started) * 1000:.3f}",
        }
        return self.said(headers)

    def said(self, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        match self.options.mode:
            case "function_error":
                error = {"errorType": "ValueError", "errorMessage": "the handler fell over"}
                return 200, {"X-Amz-Function-Error": "Unhandled"}, json.dumps(error).encode()
            case "busy":
                body = json.dumps({"message": "the endpoint is throttled"})
                return 200, {}, json.dumps({"statusCode": 503, "headers": headers, "body": body}).encode()
        return 200, {}, json.dumps({"statusCode": 200, "headers": headers, "body": "{}"}).encode()

    async def stall(self) -> None:
        since = time.monotonic() - self.first_call
        over = self.options.stall_after + self.options.stall_for
        if self.options.stall_for and self.options.stall_after <= since < over:
            await asyncio.sleep(over - since)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--service-ms", type=float, default=5)
    parser.add_argument("--lanes", type=int, default=1000)
    parser.add_argument("--reserved", type=int, default=0)
    parser.add_argument("--cold-first", type=int, default=0)
    parser.add_argument("--stall-after", type=float, default=0)
    parser.add_argument("--stall-for", type=float, default=0)
    parser.add_argument("--mode", choices=["good", "function_error", "busy"], default="good")
    parser.add_argument("--certificate", help="file with a certificate and its key: speak TLS")
    options = parser.parse_args()
    tls = None
    if options.certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(options.certificate)
    server = await asyncio.start_server(
        Server(options).connection, "127.0.0.1", 0, limit=1 << 23, backlog=1000, ssl=tls
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
