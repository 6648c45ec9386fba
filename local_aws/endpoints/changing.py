"""An endpoint's state, and how it is changed: one change at a time, each in a thread of its own."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from local_aws.endpoints.instance import StartFailed
from local_aws.endpoints.rollout import Ended, TimedOut, Tripped
from local_aws.errors import validation

if TYPE_CHECKING:
    from local_aws.aws import LocalAws
    from local_aws.endpoints.record import VariantRecord

log = logging.getLogger(__name__)

ROLLBACK_FAILED = "UpdateRollbackFailed"


class Mixed(Exception):
    """A rolling update has failed, and so has its way back: instances of both configurations serve."""


class Changing(ABC):
    """What has EndpointStatus and FailureReason; a change while another one runs is refused as AWS refuses it.

    `_kept` are the variants as they were before an update, as long as that runs (`_updating`). `on_state` is called
    after every change of the status.
    """

    on_state: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, aws: LocalAws, name: str, arn: str) -> None:
        self.aws, self.name, self.arn = aws, name, arn
        self.status = "Creating"
        self.failure: str | None = None
        self.created = self.modified = dt.datetime.now(dt.UTC)
        self._updating = False
        self._kept: list[VariantRecord] = []
        self._lock = threading.Lock()

    def _check(self, allowed: tuple[str, ...]) -> None:
        if self.status not in allowed:
            if self.status == "Failed":
                raise validation(f'Cannot update failed endpoint "{self.arn}".')
            raise validation(f'Cannot update in-progress endpoint "{self.arn}".')

    def _begin(self, status: str, allowed: tuple[str, ...], *, updating: list[VariantRecord] | None = None) -> None:
        with self._lock:
            self._check(allowed)
            self.status, self.modified = status, dt.datetime.now(dt.UTC)
            self.failure = None
            self._updating, self._kept = updating is not None, updating or []
        self.on_state()

    def _run(self, work: Callable[[], None], after_failure: Callable[[], str], note: str | None = None) -> None:
        """Do the work in a thread; `note` is the reason that an endpoint keeps although the work succeeds."""

        def run() -> None:
            failure, status = None, "InService"
            try:
                work()
            except Ended:
                return
            except Tripped as alarm:
                log.warning("endpoint %s: the update was rolled back, since alarm %s is in ALARM", self.name, alarm)
            except Mixed as error:
                failure, status = str(error), ROLLBACK_FAILED
            except (StartFailed, TimedOut, OSError) as error:
                failure, status = str(error), after_failure()
            except Exception as error:
                log.exception("endpoint %s", self.name)
                failure, status = f"The local AWS failed: {error}", after_failure()
            self._ended(status)
            with self._lock:
                self.failure = failure or note
                self.modified = dt.datetime.now(dt.UTC)
                self.status = status
                self._updating = False
            self.aws.saver.changed()
            self.on_state()

        threading.Thread(target=run, name=f"change-{self.name}", daemon=True).start()

    @abstractmethod
    def _ended(self, status: str) -> None:
        """A change has ended, and the endpoint is about to have this status."""
