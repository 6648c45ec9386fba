"""Waits for a SageMaker job, and stops it when the waiting task is ended by a person or takes too long."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from musher.hooks.sagemaker_jobs import KINDS, RUNNING, JobKind, SageMakerJobHook
from musher.hooks.training_logs import LATE_SECONDS, TrainingLogsHook
from musher.triggers.polling import PollingTrigger


class SageMakerJobTrigger(PollingTrigger):
    """Fires when a job has ended, or when one of its rules has found something.

    Parameters: `kind` "training job" or "tuning job"; `name` the job's; `rules` those whose issues somebody waits for.
    The event is `{"name", "status"}`, where the status is SageMaker's, "Missing", or "TimedOut" when it was stopped at
    the deadline; while it runs also `issues` (musher.diagnostics.told.FoundIssue) and the `deadline` of the wait.
    """

    own = ("kind", "name", "rules")

    kind: str
    name: str
    rules: list[str]

    _read_until = 0.0
    _log_problem = ""

    def __init__(self, *, rules: Sequence[str] = (), **others: Any) -> None:
        # Without rules where an earlier version has serialised it.
        super().__init__(rules=list(rules), **others)

    def look(self) -> tuple[str, dict[str, Any] | None]:
        found = self._hook.describe(self._kind, self.name)
        status = found[self._kind.status_field] if found else "Missing"
        seen = f"{self.kind} {self.name}: {(found or {}).get('SecondaryStatus', status)}"
        if status not in RUNNING:
            return seen, {"name": self.name, "status": status}
        if issues := self._issues():
            return seen, {"name": self.name, "status": status, "issues": issues, "deadline": self.deadline}
        return seen, None

    def _issues(self) -> list[dict[str, str]]:
        """New issues in the log. One that cannot be read ends no wait: what it says is told when the job has ended."""
        if not self.rules:
            return []
        now = time.time()
        try:
            found = self._logs.issues(self._kind, self.name, self._read_until - LATE_SECONDS)
        except (BotoCoreError, ClientError) as error:
            if str(error) != self._log_problem:
                self.log.warning("The log of the %s %s cannot be read: %s", self.kind, self.name, error)
            self._log_problem = str(error)
            return []
        self._read_until = now
        return [each.to_json() for each in found if each.rule in self.rules]

    def give_up(self) -> dict[str, Any]:
        self.kill()
        return {"name": self.name, "status": "TimedOut"}

    def kill(self) -> None:
        self._hook.stop(self._kind, self.name)

    @property
    def _kind(self) -> JobKind:
        return KINDS[self.kind]

    # Kept: a new hook asks Airflow for its connection and builds a client, 50 ms of CPU at every look.
    @functools.cached_property
    def _hook(self) -> SageMakerJobHook:
        return SageMakerJobHook(aws_conn_id=self.aws_conn_id, region_name=self.region_name)

    @functools.cached_property
    def _logs(self) -> TrainingLogsHook:
        return TrainingLogsHook(aws_conn_id=self.aws_conn_id, region_name=self.region_name)
