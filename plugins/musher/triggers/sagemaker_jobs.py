"""Waits for a SageMaker job, and stops it when the waiting task is ended by a person or takes too long."""

from __future__ import annotations

import functools
from typing import Any

from musher.hooks.sagemaker_jobs import KINDS, RUNNING, JobKind, SageMakerJobHook
from musher.triggers.polling import PollingTrigger


class SageMakerJobTrigger(PollingTrigger):
    """Fires when a job has ended.

    Parameters: `kind` "training job" or "tuning job"; `name` the job's. The event is `{"name", "status"}`, where the
    status is SageMaker's, "Missing", or "TimedOut" when it was stopped at the deadline.
    """

    own = ("kind", "name")

    kind: str
    name: str

    def look(self) -> tuple[str, dict[str, Any] | None]:
        found = self._hook.describe(self._kind, self.name)
        status = found[self._kind.status_field] if found else "Missing"
        seen = f"{self.kind} {self.name}: {(found or {}).get('SecondaryStatus', status)}"
        return seen, None if status in RUNNING else {"name": self.name, "status": status}

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
