"""Waiting for an EC2 instance, and for the training on it."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import ClientError

from musher.costs import prices
from musher.diagnostics.told import FoundIssue, announced
from musher.ec2 import host_job
from musher.ec2.host_log import MOST_SHOWN_BYTES, printable
from musher.ec2.ssh import CommandFailed, Host, Unreachable, WrongHostKey
from musher.hooks.ec2 import ALIVE, Ec2Hook, ended_by, state_of
from musher.triggers.polling import PollingTrigger


class InstanceTrigger(PollingTrigger):
    """Base: one instance of a run. Ending the waiting task for good terminates it.

    Parameters: `instance` its id; `user`, `port` and `address_kind` (`private`, `public`) how SSH reaches it. The event
    is `{"instance", "outcome", "reason", "seen_at"}` and what subclasses add.
    """

    own = ("instance", "user", "port", "address_kind")

    instance: str
    user: str
    port: int
    address_kind: str

    def event(self, outcome: str, reason: str = "", **more: Any) -> dict[str, Any]:
        return {"instance": self.instance, "outcome": outcome, "reason": reason, "seen_at": time.time(), **more}

    def gone(self) -> dict[str, Any] | None:
        """The event of an instance that has ended or is about to; None when it lives."""
        found = self.hook.describe(self.instance)
        if state_of(found) in ALIVE:
            return None
        reason = ended_by(found)
        return self.event("interrupted" if reason == prices.INTERRUPTION else "ended", reason)

    def host(self, fingerprints: list[str]) -> Host:
        found = self.hook.describe(self.instance) or {}
        address = found.get("PublicIpAddress" if self.address_kind == "public" else "PrivateIpAddress")
        if not address:
            raise Unreachable(f"it has no {self.address_kind} address")
        zone = found["Placement"]["AvailabilityZone"]

        def admit(public_key: str) -> None:
            try:
                self.hook.admit(self.instance, zone, self.user, public_key)
            except ClientError as error:  # on its way down, most often
                raise Unreachable(error.response["Error"]["Message"]) from None

        return Host(address, self.port, self.user, fingerprints, admit)

    def kill(self) -> None:
        self.hook.terminate([self.instance])

    # Kept: a new hook asks Airflow for its connection and builds a client, 50 ms of CPU at every look.
    @functools.cached_property
    def hook(self) -> Ec2Hook:
        return Ec2Hook(aws_conn_id=self.aws_conn_id, region_name=self.region_name)


class InstanceReadyTrigger(InstanceTrigger):
    """Until the instance runs, its console shows its host keys, and SSH lets us in; outcome `ready` then.

    `ready` comes with the host keys' `fingerprints`; other outcomes: `interrupted`, `ended`, `unreachable`,
    `wrong_host_key`.
    """

    _why = "it has not started yet"

    def look(self) -> tuple[str, dict[str, Any] | None]:
        gone = self.gone()
        if gone:
            return f"instance {self.instance}: {gone['reason']}", gone
        fingerprints = self.hook.host_key_fingerprints(self.instance)
        if not fingerprints:
            self._why = "its console shows no host keys yet"
            return f"instance {self.instance}: starting", None
        try:
            host = self.host(fingerprints)
            host.connect()
        except WrongHostKey as error:
            return str(error), self.event("wrong_host_key", str(error))
        except Unreachable as error:
            self._why = str(error)
            return f"instance {self.instance}: SSH does not answer yet ({error})", None
        host.close()
        return f"instance {self.instance}: ready", self.event("ready", fingerprints=fingerprints)

    def give_up(self) -> dict[str, Any]:
        return self.event("unreachable", self._why)


class HostJobTrigger(InstanceTrigger):
    """Until the training on the instance has ended, its log shown on the way.

    Parameters: `fingerprints` of the host's keys; `silence_seconds` how long it may not answer; `job` the training's
    name, and `rules` those whose issues somebody waits for; `shown` how much of the log was shown before, in bytes.
    Outcomes: `completed`, `failed` (with the log's end as its reason), `interrupted`, `ended`, `unreachable`,
    `wrong_host_key`; and `issues` while it goes on, with what rules have found (musher.diagnostics.told.FoundIssue) and
    what the trigger that waits on is made from (`wait`).
    """

    own = (*InstanceTrigger.own, "fingerprints", "silence_seconds", "job", "rules", "shown")

    fingerprints: list[str]
    silence_seconds: float
    job: str
    rules: list[str]
    shown: int | None

    def __init__(self, *, job: str = "", rules: Sequence[str] = (), shown: int | None = None, **others: Any) -> None:
        # Without them where an earlier version has serialised it.
        super().__init__(job=job, rules=list(rules), shown=shown, **others)
        self._shown = shown

    _host: Host | None = None
    _silent_since: float | None = None

    def look(self) -> tuple[str, dict[str, Any] | None]:
        try:
            if self._host is None:
                self._host = self.host(self.fingerprints)
            seen = host_job.look(self._host, self._shown)
            self._show(seen)
            self._shown, self._silent_since = seen.shown, None
            return f"training on {self.instance}: {seen.state}", self._ended(seen) or self._issues(seen)
        except WrongHostKey as error:
            return str(error), self.event("wrong_host_key", str(error))
        except (Unreachable, CommandFailed) as error:
            self._host = None
            gone = self.gone()
            if gone:
                return f"instance {self.instance}: {gone['reason']}", gone
            self._silent_since = self._silent_since or time.time()
            if time.time() - self._silent_since > self.silence_seconds:
                return str(error), self.event("unreachable", str(error))
            return f"instance {self.instance} does not answer; trying again ({error})", None

    def _show(self, seen: host_job.Look) -> None:
        """The host's new lines, each with its name in front: none passes for a line of Airflow's."""
        left = MOST_SHOWN_BYTES - (self._shown or 0)
        if left <= 0:
            return
        for line in seen.lines:
            self.log.info("%s | %s", self.instance, line)
        if seen.shown >= MOST_SHOWN_BYTES:
            self.log.warning(
                "The log on %s has passed %s MiB; the rest of it is not shown here, and stays on the instance until it "
                "ends", self.instance, MOST_SHOWN_BYTES // 2**20)  # fmt: skip

    def _ended(self, seen: host_job.Look) -> dict[str, Any] | None:
        if seen.state == "completed":
            return self.event("completed")
        if seen.state == "failed" or (not seen.alive and seen.state not in host_job.FINISHED):
            assert self._host is not None
            why = printable(seen.status.reason.encode()) or "the training script failed"
            said = host_job.last_lines(self._host) or "it said nothing"
            return self.event("failed", f"{why}\n{said}")
        # Interrupted or stopped: everything is saved, and AWS is about to take the instance.
        return self.gone() if seen.state in host_job.FINISHED else None

    def _issues(self, seen: host_job.Look) -> dict[str, Any] | None:
        found: dict[str, FoundIssue] = {}
        for line in seen.lines:
            if (issue := announced(self.job, line)) and issue.rule in self.rules:
                found.setdefault(issue.rule, issue)
        if not found:
            return None
        left = [rule for rule in self.rules if rule not in found]
        wait = {**self.serialize()[1], "rules": left, "shown": self._shown}
        return self.event("issues", issues=[each.to_json() for each in found.values()], wait=wait)

    def give_up(self) -> dict[str, Any]:
        self.kill()
        return self.event("ended", "it took longer than the longest life of an instance")
