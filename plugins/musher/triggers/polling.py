"""A wait that looks at AWS every few seconds, and what a person's action on the waiting task means for it."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection

# After clearing, the task runs again and re-attaches to what the first try started; stopping it would only throw paid
# work away.
RUNS_AGAIN = {None, "none", "scheduled", "queued", "running", "deferred", "restarting", "up_for_retry"}

# How long AWS may not answer, after all that boto3 has tried by itself, before that fails the wait.
SILENCE_SECONDS = 300.0


def is_unanswered(error: Exception) -> bool:
    """Whether nobody has judged a call: no connection, no answer, or an error on AWS's side."""
    if isinstance(error, ClientError):
        return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500
    return isinstance(error, NoConnection | HTTPClientError)


class PollingTrigger(BaseTrigger):
    """Base of the project's triggers: `look` until there is an event, or until the deadline.

    Parameters
    ----------
    poll_seconds: between two looks.
    deadline: Unix seconds after which `give_up` ends the wait.

    Marking the waiting task failed, succeeded or skipped calls `kill`; clearing it does not, since the next try
    attaches to what this one started. Subclasses name their own parameters in `own`.
    """

    own: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, *, poll_seconds: float, deadline: float, aws_conn_id: str, region_name: str | None, **own: Any
    ) -> None:
        super().__init__()
        self.poll_seconds = poll_seconds
        self.deadline = deadline
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        for name in self.own:
            setattr(self, name, own[name])

    def serialize(self) -> tuple[str, dict[str, Any]]:
        names = (*self.own, "poll_seconds", "deadline", "aws_conn_id", "region_name")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        try:
            yield TriggerEvent(await self._wait())
        except asyncio.CancelledError:
            # Airflow calls on_kill itself since 3.3. Before, a person's action and the end of the triggerer look the
            # same from here; the state of the waiting task tells them apart, and who cannot ask for it stops nothing.
            if not hasattr(BaseTrigger, "on_kill"):
                try:
                    await self.on_kill()
                except Exception as error:  # raised, it would fail a task that only moves to another triggerer
                    self.log.warning("What the task started may be running still: %s", error)
            raise

    async def _wait(self) -> dict[str, Any]:
        # A trigger that fires before the deferring process has ended costs the task a try (apache/airflow #67287).
        await asyncio.sleep(min(1.0, self.poll_seconds))
        reported, silent_since = None, None
        while True:
            try:
                # boto3 and SSH block: each look has a thread of its own.
                state, event = await asyncio.to_thread(self.look)
                silent_since = None
            except (BotoCoreError, ClientError) as error:
                # What is waited for goes on, or has ended and says so later: a try is too much to pay for a restart.
                silent_since = silent_since or time.monotonic()
                if not is_unanswered(error) or time.monotonic() - silent_since > SILENCE_SECONDS:
                    raise
                state, event = "AWS does not answer; trying again", None
            if state != reported:
                self.log.info("%s", state)
                reported = state
            if event is None and time.time() > self.deadline:
                event = await asyncio.to_thread(self.give_up)
            if event is not None:
                return event
            await asyncio.sleep(self.poll_seconds)

    async def on_kill(self) -> None:
        if await self._runs_again():
            self.log.info("The task was not ended: what it started goes on, and whoever waits next attaches to it")
            return
        await asyncio.to_thread(self.kill)

    async def _runs_again(self) -> bool:
        """Whether the waiting task was cleared, rather than marked as failed, succeeded or skipped."""
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        task = self.task_instance
        states = await sync_to_async(RuntimeTaskInstance.get_task_states)(
            dag_id=task.dag_id, task_ids=[task.task_id], run_ids=[task.run_id], map_index=task.map_index
        )
        state = states.get(task.run_id, {}).get(task.task_id)
        return getattr(state, "value", state) in RUNS_AGAIN

    @abstractmethod
    def look(self) -> tuple[str, dict[str, Any] | None]:
        """What is to be seen now, in words, and the event that ends the wait if there is one. May block."""

    @abstractmethod
    def give_up(self) -> dict[str, Any]:
        """The deadline has passed: the event that says so, after stopping what should be stopped. May block."""

    @abstractmethod
    def kill(self) -> None:
        """A person has ended the waiting task for good: stop what it started. May block."""
