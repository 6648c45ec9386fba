"""What takes a release back when nobody watches it any more: a heartbeat and its alarm, and one that can be set."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from musher.hooks.serving import removed, wait_until
from musher.names import Stack
from musher.request_parameters import release

# AWS publishes a metric of this resolution by the minute; three in each leave one to be lost.
HEARTBEAT_SECONDS = 20.0
READY_LIMIT_SECONDS = 900.0

log = logging.getLogger(__name__)


class ReleaseGuard:
    """Sends the heartbeat while it is entered; both alarms are there, and quiet, before the release begins.

    Left with an exception it trips the alarm, so that AWS takes back what is under way; the alarms stay then, since AWS
    reads them until it is done (`remove` takes them away).
    """

    def __init__(self, cloudwatch: Any, stack: Stack, *, poll_seconds: float, tags: Sequence[dict[str, str]]) -> None:
        self.cloudwatch, self.stack, self.poll_seconds, self.tags = cloudwatch, stack, poll_seconds, tags
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._interval = min(HEARTBEAT_SECONDS, poll_seconds)

    def __enter__(self) -> Self:
        _, stop = release.alarm_names(self.stack)
        self.cloudwatch.put_metric_data(**release.heartbeat(self.stack))
        self.cloudwatch.put_metric_alarm(**release.heartbeat_alarm(self.stack, self.tags))
        self.cloudwatch.put_metric_alarm(**release.stop_alarm(self.stack, self.tags))
        # That of an earlier release may be there still, tripped.
        self.cloudwatch.set_alarm_state(AlarmName=stop, StateValue="OK", StateReason="A release begins.")
        self._thread = threading.Thread(target=self._beat, name="release-heartbeat", daemon=True)
        self._thread.start()
        try:
            wait_until(
                self._states,
                lambda states: bool(states) and set(states.values()) == {"OK"},
                what="the quiet of the release's alarms",
                poll_seconds=self.poll_seconds,
                limit_seconds=READY_LIMIT_SECONDS,
            )
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self.trip(f"The release was broken off: {type(error).__name__}")
        self._end()

    def trip(self, reason: str) -> None:
        """Have AWS take the release back."""
        log.warning("The release is taken back: %s", reason)
        trip(self.cloudwatch, self.stack, reason)

    @property
    def tripped(self) -> str | None:
        """Why somebody has stopped the release, None as long as nobody has."""
        found = self._alarms().get(release.alarm_names(self.stack)[1])
        return found["StateReason"] if found and found["StateValue"] == "ALARM" else None

    def _states(self) -> dict[str, str]:
        return {name: alarm["StateValue"] for name, alarm in self._alarms().items()}

    def _alarms(self) -> dict[str, dict[str, Any]]:
        found = self.cloudwatch.describe_alarms(AlarmNames=list(release.alarm_names(self.stack)))
        return {alarm["AlarmName"]: alarm for alarm in found["MetricAlarms"]}

    def _beat(self) -> None:
        while not self._over.wait(self._interval):
            try:
                self.cloudwatch.put_metric_data(**release.heartbeat(self.stack))
            except (BotoCoreError, ClientError) as error:
                log.warning("A heartbeat was not sent: %s", error)

    def _end(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()


def trip(cloudwatch: Any, stack: Stack, reason: str) -> bool:
    """Have AWS take back the release that is under way; whether there was one."""
    try:
        cloudwatch.set_alarm_state(**release.trip(stack, reason))
    except cloudwatch.exceptions.ResourceNotFound:
        return False
    return True


def remove(cloudwatch: Any, stack: Stack) -> None:
    """Take both alarms away, where they are."""
    for name in release.alarm_names(stack):
        removed(lambda name=name: cloudwatch.delete_alarms(AlarmNames=[name]))


def is_under_way(cloudwatch: Any, stack: Stack) -> bool:
    """Whether a release's alarms are there."""
    return bool(cloudwatch.describe_alarms(AlarmNames=list(release.alarm_names(stack)))["MetricAlarms"])
