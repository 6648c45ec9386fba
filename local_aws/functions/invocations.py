"""Invoke: from a request to a function's answer, with its log lines and metrics."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from local_aws.errors import AwsError
from local_aws.functions.concurrency import Concurrency, Lease, Throttled
from local_aws.functions.environment import Environment, Result
from local_aws.functions.records import Function, Version, conflict, parse_reference
from local_aws.functions.runtime_api import Gone
from local_aws.iam.acting import Acting
from local_aws.services.base import RawRequest, RawResponse

if TYPE_CHECKING:
    from local_aws.aws import LocalAws

log = logging.getLogger(__name__)

LARGEST_EVENT = 6 * 1024 * 1024
LARGEST_ASYNCHRONOUS_EVENT = 1024 * 1024
# AWS: "Error handling for asynchronous invocation": two more attempts, after one and after two minutes.
RETRY_AWS_SECONDS = (60.0, 120.0)
# The same page: events are kept for up to six hours.
LONGEST_AGE_AWS_SECONDS = 21_600
JSON = ("Content-Type", "application/json")


class EventSettings(NamedTuple):
    """How an event is handled that nobody waits for; None is what AWS does without a configuration."""

    attempts: int | None = None
    """MaximumRetryAttempts: how often a failed event is tried again."""
    age: int | None = None
    """MaximumEventAgeInSeconds, in AWS seconds: when it is given up."""
    modified: dt.datetime | None = None


class Event(NamedTuple):
    """A call that nobody waits for."""

    function: Function
    qualifier: str | None
    arn: str
    payload: bytes
    since: float
    """When it came, by the monotonic clock."""


class Invocations:
    """Runs calls.

    Parameters
    ----------
    find
        Gives a function by name; raises AwsError("ResourceNotFoundException").
    """

    def __init__(self, aws: LocalAws, concurrency: Concurrency, find: Callable[[str, str | None], Function]) -> None:
        self.aws, self.concurrency, self._find = aws, concurrency, find
        self._asynchronous = ThreadPoolExecutor(16, thread_name_prefix="lambda-event")
        self._lines: dict[tuple[str, str, Acting], list[str]] = {}
        self._lines_lock = threading.Lock()
        self.event_settings: Callable[[str, str | None], EventSettings] = lambda function, qualifier: EventSettings()
        """Given a function's name and a qualifier, what holds for its events."""

    def invoke(self, request: RawRequest) -> RawResponse:
        """The fast path of POST /2015-03-31/functions/{name}/invocations."""
        name, qualifier = parse_reference(request.params["FunctionName"], request.params.get("Qualifier"))
        function = self._find(name, qualifier)
        version = function.version(qualifier, draw=True)
        kind = request.headers.get("x-amz-invocation-type", "RequestResponse")
        event = request.body or b"{}"
        self._check(function, event, kind)
        arn = f"{function.arn}:{qualifier}" if qualifier else function.arn
        if kind == "DryRun":
            return RawResponse(204, [("X-Amz-Executed-Version", version.number)], b"")
        if kind == "Event":
            self._asynchronous.submit(self._run_event, Event(function, qualifier, arn, event, time.monotonic()), 0)
            return RawResponse(202, [("x-amzn-RequestId", str(uuid.uuid4()))], b"")
        request_id = str(uuid.uuid4())
        try:
            result, lines = self.run(
                version, qualifier, arn, event, request_id, request.headers.get("x-amz-client-context")
            )
        except Throttled as throttled:
            return _throttled(throttled.reason, request_id)
        headers = [JSON, ("x-amzn-RequestId", request_id), ("X-Amz-Executed-Version", version.number)]
        if result.error:
            headers.append(("X-Amz-Function-Error", result.error))
        if request.headers.get("x-amz-log-type") == "Tail":
            tail = "".join(f"{line}\n" for line in lines).encode()[-4096:]
            headers.append(("X-Amz-Log-Result", base64.b64encode(tail).decode()))
        return RawResponse(200, headers, result.payload)

    def _check(self, function: Function, event: bytes, kind: str) -> None:
        if kind not in {"RequestResponse", "Event", "DryRun"}:
            raise AwsError(
                "InvalidParameterValueException",
                f"The invocation type {kind!r} is not RequestResponse, Event or DryRun.",
            )
        limit = LARGEST_ASYNCHRONOUS_EVENT if kind == "Event" else LARGEST_EVENT
        if len(event) > limit:
            raise AwsError(
                "RequestTooLargeException",
                f"Request must be smaller than {limit} bytes for the InvokeFunction operation",
                status=413,
            )
        try:
            json.loads(event)
        except ValueError as error:
            raise AwsError(
                "InvalidRequestContentException", f"Could not parse request body into json: {error}", Type="User"
            ) from None
        if time.monotonic() < function.active_at:
            raise conflict(
                "The operation cannot be performed at this time. The function is currently in the following "
                "state: Pending"
            )

    def run(
        self,
        version: Version,
        qualifier: str | None,
        arn: str,
        event: bytes,
        request_id: str,
        client_context: str | None = None,
    ) -> tuple[Result, list[str]]:
        """Run one call and record it; (what came of it, its log lines). Raises Throttled."""
        dimensions = self._dimensions(version, qualifier)
        while True:
            try:
                lease = self.concurrency.acquire(version)
            except Throttled:
                self._put(dimensions, "Throttles", 1)
                raise
            try:
                result, lines = self._run_in(lease, arn, event, request_id, client_context)
                break
            except Gone:
                # Its idle environment had died unnoticed: nothing was run yet, so the call goes to another.
                assert lease.environment is not None
                lease.environment.alive = False
            finally:
                self.concurrency.release(lease)
        self._measure(dimensions, lease, result)
        return result, lines

    def _run_in(
        self, lease: Lease, arn: str, event: bytes, request_id: str, client_context: str | None
    ) -> tuple[Result, list[str]]:
        environment, result = lease.environment, None
        fresh = environment is None
        if environment is None:
            environment = lease.environment = self.concurrency.new(lease.version)
            result = self._start(environment)
        if result is None:
            result = environment.invoke(request_id, event, arn, client_context)
        return result, self._report(environment, request_id, result, fresh)

    def _start(self, environment: Environment) -> Result | None:
        try:
            environment.start()
        except OSError as error:
            environment.alive = False
            raise AwsError(
                "ServiceException",
                f"The execution environment could not be started: {error.strerror or error}",
                status=500,
            ) from error
        return environment.initialise()

    def _report(self, environment: Environment, request_id: str, result: Result, fresh: bool) -> list[str]:
        version, duration = environment.version, result.seconds * 1000
        initialised = environment.init_seconds * 1000 if fresh and environment.init_seconds else 0.0
        lines = [f"START RequestId: {request_id} Version: {version.number}", *environment.output()]
        if result.lost:
            lines.append(json.loads(result.payload).get("errorMessage", ""))
        report = (
            f"REPORT RequestId: {request_id}\tDuration: {duration:.2f} ms\t"
            f"Billed Duration: {int(duration + initialised) + 1} ms\tMemory Size: {version.memory} MB\t"
            f"Max Memory Used: {environment.memory_megabytes()} MB\t"
        )
        if initialised:
            report += f"Init Duration: {initialised:.2f} ms\t"
        if result.status:
            report += f"Status: {result.status}"
        lines += [f"END RequestId: {request_id}", report]
        with self._lines_lock:
            where = environment.group, environment.stream, environment.acting
            self._lines.setdefault(where, []).extend(lines)
        return lines

    def _measure(self, dimensions: list[dict[str, str]], lease: Lease, result: Result) -> None:
        self._put(dimensions, "Invocations", 1)
        self._put(dimensions, "Errors", 1 if result.error else 0)
        self._put(dimensions, "Duration", result.seconds * 1000, "Milliseconds")
        for one, running in zip(dimensions, (lease.running, lease.running_version), strict=False):
            self._put([one], "ConcurrentExecutions", running)
        if lease.provisioned is not None:
            self._put(dimensions, "ProvisionedConcurrencyInvocations", 1)
        elif lease.spilled:
            self._put(dimensions, "ProvisionedConcurrencySpilloverInvocations", 1)

    def _dimensions(self, version: Version, qualifier: str | None) -> list[dict[str, str]]:
        name = version.function.name
        dimensions = [{"FunctionName": name}]
        if qualifier:
            dimensions.append({"FunctionName": name, "Resource": f"{name}:{qualifier}"})
        return dimensions

    def _put(self, dimensions: list[dict[str, str]], metric: str, value: float, unit: str = "Count") -> None:
        for one in dimensions:
            self.aws.metrics.put("AWS/Lambda", metric, one, value, unit)

    def _run_event(self, event: Event, attempt: int) -> None:
        """One attempt of an asynchronous call. A throttled one waits for a place; a failed one is tried twice more."""
        settings = self.event_settings(event.function.name, event.qualifier)
        age = LONGEST_AGE_AWS_SECONDS if settings.age is None else settings.age
        if time.monotonic() - event.since > self.aws.clock.real(age):
            log.warning("an event for %s was dropped: it is older than MaximumEventAgeInSeconds, %s s", event.arn, age)
            return
        try:
            version = event.function.version(event.qualifier, draw=True)
            result, _ = self.run(version, event.qualifier, event.arn, event.payload, str(uuid.uuid4()))
        except Throttled:
            self._later(1.0, event, attempt)
        except AwsError as error:
            log.warning("an event for %s was dropped: %s", event.arn, error.message)
        else:
            most = len(RETRY_AWS_SECONDS) if settings.attempts is None else settings.attempts
            if result.error and attempt < most:
                self._later(self.aws.clock.real(RETRY_AWS_SECONDS[attempt]), event, attempt + 1)

    def _later(self, seconds: float, *arguments: object) -> None:
        def submit() -> None:
            with contextlib.suppress(RuntimeError):
                self._asynchronous.submit(self._run_event, *arguments)

        timer = threading.Timer(seconds, submit)
        timer.daemon = True
        timer.start()

    def flush(self) -> None:
        """Write the log lines gathered since the last time: one write a stream is far cheaper than one a line."""
        with self._lines_lock:
            gathered, self._lines = self._lines, {}
        for (group, stream, acting), lines in gathered.items():
            self.aws.logs.write(group, stream, lines, acting=acting)

    def flush_until(self, stop: threading.Event) -> None:
        """Flush ten times a second; the body of a thread."""
        while not stop.wait(0.1):
            try:
                self.flush()
            except Exception:
                log.exception("log lines of functions were lost")

    def stop(self) -> None:
        self._asynchronous.shutdown(wait=False, cancel_futures=True)
        self.flush()


def _throttled(reason: str, request_id: str) -> RawResponse:
    # Written here rather than serialised by the model: beyond the limit there are many, and they must be quick.
    body = json.dumps({"Reason": reason, "Type": "User", "message": "Rate Exceeded."}).encode()
    headers = [JSON, ("x-amzn-RequestId", request_id), ("x-amzn-ErrorType", "TooManyRequestsException")]
    return RawResponse(429, headers, body)
