"""One training job: its states, its instances, its files, its metrics."""

from __future__ import annotations

import contextlib
import logging
import math
import re
import shutil
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from local_aws import instance_types, usage
from local_aws.clock import Clock
from local_aws.errors import validation
from local_aws.iam.acting import AccessDenied
from local_aws.instances import NICENESS, Instance, describe_exit
from local_aws.storage import parse_s3_uri
from local_aws.training import container, debugger, files, spot
from local_aws.training.record import JobRecord

if TYPE_CHECKING:
    from local_aws.aws import LocalAws

log = logging.getLogger(__name__)

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
STOP_GRACE_SECONDS = 120
PEER_GRACE_SECONDS = 5
CLEAR_SECONDS = 30
CHECKPOINT_SECONDS = 2.0
LONGEST_REASON = 1024
# How a job ends, as (status, secondary status where it is another).
ENDS = {
    "completed": ("Completed", None),
    "stopped": ("Stopped", None),
    "late": ("Stopped", "MaxRuntimeExceeded"),
    "overdue": ("Stopped", "MaxWaitTimeExceeded"),
}


class JobFailed(Exception):
    """Ends a job as Failed with this reason."""


class TrainingJob(JobRecord):
    """A training job from Create to its end.

    Parameters: those of the record. `on_change` is called after every change of status or metric, `on_state` after
    every change of a status, `on_issue` with a rule's name, what it found and an action that follows.
    """

    def __init__(
        self,
        aws: LocalAws,
        request: Mapping[str, Any],
        arn: str,
        *,
        extra: Mapping[str, Any] | None = None,
        on_change: Callable[[TrainingJob], None] | None = None,
        on_state: Callable[[TrainingJob], None] | None = None,
        on_issue: Callable[[TrainingJob, str, str, Any], None] | None = None,
    ) -> None:
        super().__init__(dict(request), arn, dict(extra or {}))
        self.aws = aws
        self.acting = aws.iam.acting(request["RoleArn"], "sagemaker.amazonaws.com", "SageMaker")
        self._s3 = aws.s3.under(self.acting)
        self.on_change = on_change
        self.on_state, self.on_issue = on_state, on_issue
        self._rules = debugger.Rules(request, arn)
        self.extra |= self._rules.describe()
        self.attempted = self.modified = self.created
        self._instances: list[Instance] = []
        self._tail: deque[str] = deque(maxlen=20)
        self._definitions = [
            (each["Name"], re.compile(each["Regex"]))
            for each in request["AlgorithmSpecification"].get("MetricDefinitions") or ()
        ]
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._noticed = threading.Event()
        self._hosts: list[str] = []
        self._ran = 0.0
        self._folder = aws.settings.state / "instances" / "training" / self.name
        self.enter("Starting", self.created)

    # What the API asks

    @property
    def instances(self) -> list[Instance]:
        return self._instances

    def start(self) -> None:
        self._announce()
        threading.Thread(target=self._run, name=f"job-{self.name}", daemon=True).start()

    def stop(self) -> None:
        """Ask the job to stop; it ends as Stopped, with what it has written uploaded."""
        with self._lock:
            if self.status != "InProgress":
                return
            self.status = "Stopping"
            self._enter("Stopping")
        self._stopping.set()
        self._changed()

    def interrupt(self) -> str:
        """Take the job's Spot capacity back; a sentence of what happens now.

        Raises AwsError for a job on demand and for one that has no instances to lose.
        """
        notice, wait = (self.aws.clock.real(each) for each in (spot.NOTICE_SECONDS, spot.CAPACITY_SECONDS))
        with self._lock:
            if not self.managed_spot:
                raise validation(
                    f"The training job {self.name} runs on demand: only managed Spot training is interrupted."
                )
            if self.status != "InProgress" or self.secondary not in {"Downloading", "Training"}:
                raise validation(
                    f"The training job {self.name} is {self.secondary}: only one that is Downloading or Training has "
                    "Spot capacity that can be taken back."
                )
            if self._noticed.is_set():
                raise validation(f"The training job {self.name} is being interrupted already.")
            self._noticed.set()
        return (
            f"The training job {self.name} is interrupted: its instances get SIGTERM now and are gone in {notice:g} s "
            f"at the latest; Spot capacity is back {wait:g} s after that."
        )

    def describe(self) -> dict[str, Any]:
        with self._lock:
            return super().describe()

    def copy(self) -> JobRecord:
        with self._lock:
            return super().copy()

    # The life of a job

    def _run(self) -> None:
        reason, secondary = None, None
        try:
            status, secondary = self._work()
        except (JobFailed, files.InputError) as error:
            status, reason = "Failed", str(error)[:LONGEST_REASON]
        except AccessDenied as error:
            status, reason = "Failed", f"ClientError: Artifact upload failed:{error}"[:LONGEST_REASON]
        except OSError as error:
            status = "Failed"
            reason = f"InternalServerError: {error.strerror or error}. The local AWS could not run this job."
        except Exception as error:
            log.exception("training job %s", self.name)
            status, reason = "Failed", f"InternalServerError: {error}"[:LONGEST_REASON]
        # Whoever sees the job's end may count on nothing of it being left.
        for instance in self.instances:
            instance.kill()
        for instance in self.instances:
            instance.wait(10)
        self._clear()
        self._end(status, reason, secondary)

    def _clear(self) -> None:
        """Delete the instances' disks; a process that is slow to die may still write to one."""
        self.aws.iam.sessions.withdraw(self.arn)
        deadline = time.monotonic() + CLEAR_SECONDS
        while self._folder.exists() and time.monotonic() < deadline:
            shutil.rmtree(self._folder, ignore_errors=True)
            if self._folder.exists():
                time.sleep(0.2)

    def _work(self) -> tuple[str, str | None]:
        """The job's end as (status, secondary status where it is another). Raises JobFailed, InputError, OSError."""
        outcome = self._attempt()
        while outcome == "interrupted":
            outcome = self._wait_for_capacity() or self._attempt()
        return ENDS[outcome]

    def _attempt(self) -> str:
        """From the start of the instances to their end: one of ENDS, or "interrupted"."""
        resources = self.request["ResourceConfig"]
        count, instance_type = resources["InstanceCount"], resources["InstanceType"]
        bases = [self._folder / f"algo-{number}" for number in range(1, count + 1)]
        # On AWS a host keeps its name, algo-1; here its address is its name.
        own = self.aws.instances
        hosts = self._hosts = self._hosts or [own.address(own.reserve()) for _ in bases]
        self._instances = []
        self._enter("Downloading")
        self.started = self.started or self.modified
        synced = self._prepare(bases, hosts, instance_type)
        if not self._stopping.is_set() and not self._noticed.is_set():
            self._enter("Training")
            self._start_instances(bases, hosts, instance_type)
        outcome = self._wait(synced)
        for each in synced:
            each.upload()
        if outcome == "interrupted" and self._lose_instances():
            return outcome
        self._enter("Uploading")
        self._follow(self._rules.conclude([base / "output" / "data" for base in bases]))
        if outcome == "failed":
            self._fail(bases)
        self._upload(bases)
        return "stopped" if outcome == "interrupted" else outcome

    def _fail(self, bases) -> NoReturn:
        """End as Failed, with what the script had written uploaded all the same.

        AWS: the SDK's maintainers, aws/sagemaker-python-sdk pull request 746: "SageMaker Training exports model/output
        artifacts even when the training job fails".
        """
        reason = self._reason(bases)
        try:
            self._upload(bases)
        except (JobFailed, OSError) as error:
            # Why the script failed is what its owner has to know.
            log.warning("what the failed training job %s wrote is lost: %s", self.name, error)
        raise JobFailed(reason)

    def _lose_instances(self) -> bool:
        """The instances are taken back with all that is on their disks; False if the job is to stop anyway."""
        with self._lock:
            self._noticed.clear()
            if self._stopping.is_set():
                return False
            self._enter("Interrupted")
        self._clear()
        self._changed()
        return True

    def _wait_for_capacity(self) -> str:
        """Until there is Spot capacity again: "", or how the job ended while it waited."""
        until = time.monotonic() + self.aws.clock.real(spot.CAPACITY_SECONDS)
        while time.monotonic() < until and not self._stopping.wait(0.1):
            if self._overdue():
                return "overdue"
        with self._lock:
            if self._stopping.is_set():
                return "stopped"
            self._enter("Starting")
            self.attempted = self.modified
        return ""

    def _overdue(self) -> bool:
        """Whether a managed Spot job has taken too long, its waiting included; it is Stopping then."""
        longest = self.request["StoppingCondition"].get("MaxWaitTimeInSeconds") if self.managed_spot else None
        if longest is None or (Clock.now() - self.created).total_seconds() <= longest:
            return False
        with self._lock:
            if self.status == "InProgress":
                self.status = "Stopping"
                self._enter("Stopping")
        return True

    def _prepare(self, bases, hosts, instance_type) -> list[files.CheckpointSync]:
        """Give each host what it needs; the folders that are uploaded while it runs."""
        for index, base in enumerate(bases):
            files.write_configuration(base, self.request, hosts, hosts[index], instance_type)
            for channel in self.request.get("InputDataConfig") or ():
                folder = base / "input" / "data" / channel["ChannelName"]
                files.download(self._s3, channel, folder, index, len(bases))
        board = files.tensorboard(self._s3, self.request, bases)
        config = self.request.get("CheckpointConfig")
        if not config:
            return board
        folders = [files.checkpoint_folder(self.request, base) for base in bases]
        for folder in folders:
            files.restore(self._s3, config["S3Uri"], folder)
        sync = files.CheckpointSync(self._s3, config["S3Uri"], folders)
        sync.remember()
        return [sync, *board]

    def _start_instances(self, bases, hosts, instance_type) -> None:
        threads = instance_types.threads(instance_type)
        promised, cores = self.aws.instances.promised_threads + threads * len(bases), self.aws.instances.cores
        if promised > cores:
            self._log(
                "algo-1",
                [f"local AWS: {promised} cores are promised to instances and this machine has {cores}: "
                 "the times of this job are longer than they would be alone."],
            )  # fmt: skip
        port, specification = free_port(), self.request["AlgorithmSpecification"]
        own = bool(specification.get("ContainerEntrypoint"))
        for number, (base, host) in enumerate(zip(bases, hosts, strict=True), 1):
            python = self.aws.environments.make(self._folder / "environments" / base.name)
            self._instances.append(
                self.aws.instances.start(
                    "training",
                    container.command(specification, python, base),
                    environment=container.environment(self.aws, self.request, self.arn, base, host, port, python),
                    folder=base,
                    address=host,
                    threads=threads,
                    niceness=NICENESS,
                    forked_from=None if own else self.aws.environments.template,
                    on_line=lambda line, stream=f"algo-{number}": self._line(stream, line),
                )
            )

    def _wait(self, synced: Sequence[files.CheckpointSync]) -> str:
        """Until every instance has ended: one of ENDS, "failed" or "interrupted"."""
        began = last = time.monotonic()
        outcome, deadline = "", math.inf
        while running := [each for each in self.instances if each.running]:
            now = time.monotonic()
            if not outcome:
                outcome = self._interruption(now - began)
                if outcome:
                    deadline = now + self._grace(outcome)
                    for each in running:
                        each.terminate()
            elif now > deadline:
                for each in running:
                    each.kill()
            if now - last > CHECKPOINT_SECONDS:
                for each in synced:
                    each.upload()
                last = now
            running[0].wait(0.1)
        self._ran += time.monotonic() - began
        # Without instances nothing can have completed; with them, what ended well before the notice has.
        return outcome or self._verdict() or ("completed" if self.instances else "interrupted")

    def _interruption(self, seconds: float) -> str:
        """Why instances that run for so long should not go on; "" when nothing speaks against it."""
        longest = self.request["StoppingCondition"].get("MaxRuntimeInSeconds") or 86_400
        if self._ran + seconds > longest:
            return "late"
        if verdict := self._verdict():
            return verdict
        if self._overdue():
            return "overdue"
        return "interrupted" if self._noticed.is_set() else ""

    def _verdict(self) -> str:
        """ "stopped" when that was asked for, "failed" when an instance did, else ""."""
        if self._stopping.is_set():
            return "stopped"
        # A dead host can't be waited for: its peers would hang in the next collective operation.
        return "failed" if any(each.returncode for each in self.instances) else ""

    def _grace(self, outcome: str) -> float:
        """Seconds between SIGTERM and SIGKILL."""
        if outcome == "interrupted":
            return self.aws.clock.real(spot.NOTICE_SECONDS)
        return PEER_GRACE_SECONDS if outcome == "failed" else STOP_GRACE_SECONDS

    def _upload(self, bases) -> None:
        for name, where in (("model", "model"), ("output", "output/data")):
            folders = [base / where for base in bases]
            if not any(any(folder.rglob("*")) for folder in folders):
                continue
            if name == "model":
                self.model_uri = self.output_uri(name)
            try:
                self._store(name, folders)
            except FileNotFoundError as error:
                raise JobFailed(f"ClientError: Artifact upload failed:{error}") from error

    def _store(self, name: str, folders: list[Path]) -> None:
        """Upload what is in the folders, by default as one archive."""
        bucket, key = parse_s3_uri(self.output_uri(name))
        if self.compressed:
            self._s3.write(bucket, key, files.archive(folders))
            return
        for path, relative in files.merged(folders):
            self._s3.upload(path, bucket, key + relative)

    def _reason(self, bases) -> str:
        """AWS: the first 1,024 characters of output/failure; without that file, how it ended and what it said last.

        The host that failed first has the cause; its peers were stopped because of it.
        """
        failed = [pair for pair in zip(self.instances, bases, strict=True) if pair[0].returncode]
        instance, base = min(failed, key=lambda pair: pair[0].ended_at or math.inf)
        file = base / "output" / "failure"
        text = file.read_text(errors="replace").strip() if file.exists() else ""
        if not text:
            said = "\n".join(list(self._tail)[-10:])
            text = f"the training process ended with {describe_exit(instance.returncode)}: {said}"
        ending = f", exit code: {instance.returncode}"
        return f"AlgorithmError: {text}"[: LONGEST_REASON - len(ending)] + ending

    # Lines, metrics, states

    def _line(self, stream: str, line: str) -> None:
        self._tail.append(line)
        self._log(stream, [line])
        with self._lock:
            follows = self._rules.hear(line)
        self._follow(follows)
        for name, regex in self._definitions:
            match = regex.search(line)
            if match:
                with contextlib.suppress(ValueError, IndexError):
                    self._metric(name, float(match[1] if regex.groups else match[0]))

    def _follow(self, follows: Sequence[tuple[str, str, Any]]) -> None:
        """Show what has become of the rules, and have the actions of those that found something carried out."""
        if not self._rules.describe():
            return
        with self._lock:
            changed = self._rules.describe()
            if changed.items() <= self.extra.items():
                return
            self.extra = self.extra | changed
            self.modified = Clock.now()
            self._announce()
        self._changed()
        for name, found, action in follows:
            if self.on_issue:
                self.on_issue(self, name, found, action)

    def _metric(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            return
        with self._lock:
            self.metrics[name] = (value, Clock.now())
            self.series.setdefault(name, []).append(value)
        if usage.may_publish(usage.TRAINING_JOBS, self.acting):
            self.aws.metrics.put(usage.TRAINING_JOBS, name, {"TrainingJobName": self.name}, value)
        self._changed()

    def _log(self, host: str, lines: list[str]) -> None:
        stream = f"{self.name}/{host}-{int(self.attempted.timestamp())}"
        self.aws.logs.write(LOG_GROUP, stream, lines, acting=self.acting)

    def _enter(self, secondary: str) -> None:
        with self._lock:
            self.enter(secondary, Clock.now())
            self._announce()

    def _end(self, status: str, reason: str | None, secondary: str | None = None) -> None:
        with self._lock:
            self._rules.conclude(())
            self.extra = self.extra | self._rules.describe()
            self.end(status, reason, secondary, Clock.now())
            self._announce()
        self._changed()

    def _announce(self) -> None:
        if self.on_state:
            self.on_state(self)

    def _changed(self) -> None:
        self.aws.saver.changed()
        if self.on_change:
            self.on_change(self)


def free_port() -> int:
    """A port for a job's rendezvous, which the system gives to nobody else for a while."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
