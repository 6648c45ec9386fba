"""Saves the state: a moment after something changed, and at the end."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import logging
import math
import pickle
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from local_aws.state import SAVE_SECONDS, moto_state, snapshot
from local_aws.state.child import Child, ChildFailed
from local_aws.state.gate import Gate

log = logging.getLogger(__name__)

# What an endpoint measures and prints goes on for ever, and is not worth a save of its own.
TRICKLE_SECONDS = 30.0
# Saving takes at most this share of the time: a large state is saved less often, down to a tenth of the times.
SHARE = 0.1
LONGEST_PAUSE = 10
LONGEST_CHILD_SECONDS = 120.0
# How long calls are held back, at each try, while those under way end: briefly as long as that may do.
PATIENCE_SECONDS = (0.1,) * 20 + (0.5, 1.0, 2.0, 4.0)
BETWEEN_TRIES_SECONDS = 0.3
# From when on a save that fails again and again is said aloud, and how often the log says it then.
LONG_SECONDS, SAID_AGAIN_SECONDS = 60.0, 600.0


class Busy(Exception):
    """Calls were under way all the time."""


class Remembered(Protocol):
    """What is saved: the services' records, and the logs, which are locked meanwhile."""

    services: list[Any]
    logs: Any
    store: Any


class Saver:
    """Saves what moto and the services keep into the state folder.

    Parameters
    ----------
    seconds
        How long after a change it is saved at the latest, as long as saves are quick.
    """

    def __init__(self, aws: Remembered, folder: Path, seconds: float = SAVE_SECONDS) -> None:
        self.aws, self.folder, self.seconds = aws, folder, seconds
        self.gate = Gate()
        self.saves = 0
        self.saved_at: dt.datetime | None = None
        self.problem: str | None = None
        self._failing_since = self._said_at = 0.0
        self._due = self._trickle_due = math.inf
        self._not_before = 0.0
        self._left_out: dict[str, str] = {}
        self._saving = False
        self._ended = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="state", daemon=True)

    # --- what is told to it

    def changed(self, *, trickle: bool = False) -> None:
        """Something that has to be remembered is another now; `trickle` for what changes all the time."""
        if trickle and self._trickle_due == math.inf:
            with self._wake:
                self._trickle_due = time.monotonic() + max(TRICKLE_SECONDS, self.seconds)
                self._wake.notify()
        elif not trickle and self._due == math.inf:
            with self._wake:
                self._due = time.monotonic() + self.seconds
                self._wake.notify()

    def describe(self) -> dict[str, Any]:
        """For the health page: whether all but what trickles is saved, how often was saved, and as of when.

        `problem` is why the last save failed, `warning` a sentence once they have failed for long; else both are None.
        """
        with self._wake:
            return {
                "saved": self._due == math.inf and not self._saving,
                "saves": self.saves,
                "saved_at": self.saved_at.isoformat() if self.saved_at else None,
                "problem": self.problem,
                "warning": self._warning(),
            }

    def _warning(self) -> str | None:
        failing = time.monotonic() - self._failing_since
        if not self.problem or failing < LONG_SECONDS:
            return None
        return (
            f"The state could not be saved for {failing / 60:.0f} min ({self.problem}): what a restart would give back "
            f"is {self._saved_as_of()}."
        )

    def _saved_as_of(self) -> str:
        return f"as of {self.saved_at:%Y-%m-%d %H:%M:%S} UTC" if self.saved_at else "that of an empty AWS"

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Let no call in any more, and save what those before have changed."""
        self.gate.shut()
        with self._wake:
            self._ended = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._try()

    # --- reading and writing

    def restore(self, header: snapshot.Header) -> None:
        """Put back what a snapshot holds. Raises snapshot.Refused; the folder is as it was."""
        kept = snapshot.read(self.folder, header)
        moto_state.restore(kept["moto"])
        for service in self.aws.services:
            name = type(service).__name__
            if kept["services"].get(name) is not None:
                try:
                    service.restore(kept["services"][name], header.moment)
                except Exception as error:
                    raise snapshot.unreadable(self.folder, error) from error
        self.saved_at = header.moment
        # What was in flight is Failed from now on.
        self.changed()

    def save(self) -> None:
        """Save now. Raises OSError, ChildFailed, Busy; the snapshot before stays the state then."""
        path, file = snapshot.create(self.folder)
        try:
            with file:
                child, at = self._fork(file)
                left_out = child.wait(LONGEST_CHILD_SECONDS)
            self._report(left_out)
            snapshot.commit(self.folder, path, at)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self.saves, self.saved_at = self.saves + 1, at

    def _fork(self, file: BinaryIO) -> tuple[Child, dt.datetime]:
        """The child that writes, forked while no call is under way. Raises OSError, Busy."""
        # With nobody let in any more there is nobody to disturb.
        tries = PATIENCE_SECONDS[-1:] if self._ended else PATIENCE_SECONDS
        for patience in tries:
            with self.gate.closed(patience) as nobody_inside:
                if nobody_inside:
                    return self._fork_now(file)
            time.sleep(BETWEEN_TRIES_SECONDS)
        raise Busy("calls were under way all the time")

    def _fork_now(self, file: BinaryIO) -> tuple[Child, dt.datetime]:
        services = {type(each).__name__: each.remember() for each in self.aws.services}

        def work() -> Any:
            return _pickle(services, file)

        # A bucket that CloudFormation has made, or changed: with the stack there is the bucket.
        self.aws.store.buckets.keep()
        with self._still():
            with self._wake:
                self._due = self._trickle_due = math.inf
            return Child(work, (file.fileno(),)), dt.datetime.now(dt.UTC)

    @contextlib.contextmanager
    def _still(self) -> Iterator[None]:
        """Nobody changes what threads of jobs, endpoints and hosts change without a call."""
        with contextlib.ExitStack() as stack:
            for service in self.aws.services:
                for lock in service.locks():
                    stack.enter_context(lock)
            stack.enter_context(self.aws.logs.lock)
            yield

    def _report(self, left_out: dict[str, str]) -> None:
        for name in left_out.keys() - self._left_out.keys():
            log.warning(
                "what moto keeps of %s cannot be saved and will be gone after a restart (%s)", name, left_out[name]
            )
        self._left_out = left_out

    # --- when

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._ended and (wait := self._next() - time.monotonic()) > 0:
                    self._wake.wait(None if wait == math.inf else wait)
                if self._ended:
                    return
            began = time.monotonic()
            saved, longest = self._try(), LONGEST_PAUSE * self.seconds
            ended = time.monotonic()
            self._not_before = ended + (min(longest, (ended - began) / SHARE) if saved else longest)

    def _next(self) -> float:
        return max(min(self._due, self._trickle_due), self._not_before)

    def _try(self) -> bool:
        """Save, or say once why that cannot be done."""
        self._saving = True
        try:
            self.save()
        except Exception as error:
            reason, now = getattr(error, "strerror", None) or str(error), time.monotonic()
            if not self.problem:
                self._failing_since = self._said_at = now
            if reason != self.problem:
                if not isinstance(error, OSError | ChildFailed | Busy):
                    log.exception("a save failed")
                log.error(
                    "the state cannot be saved in %s (%s); what is saved there is %s. The local AWS goes on and tries "
                    "again", self.folder, reason, self._saved_as_of(),
                )  # fmt: skip
            self.problem = reason
            # Once after a while, and then ever so often.
            if (warning := self._warning()) and (
                self._said_at == self._failing_since or now - self._said_at >= SAID_AGAIN_SECONDS
            ):
                self._said_at = now
                log.warning("%s", warning)
            self.changed()
            return False
        finally:
            self._saving = False
        if self.problem:
            log.info("the state is saved in %s again", self.folder)
        self.problem = None
        return True


def _pickle(services: dict[str, Any], file: BinaryIO) -> dict[str, str]:
    """In the child: everything into the file, and read once, since a state that cannot be read is none.

    Returns why services of moto had to be left out.
    """
    left_out: dict[str, str] = {}
    while True:
        try:
            # Buckets have their own place, where they are saved at once.
            snapshot.write({"moto": moto_state.remember({*left_out, "s3"}), "services": services}, file)
            file.seek(0)
            pickle.load(file)
            return left_out
        except OSError:
            raise
        except Exception:
            failing = {name: why for name, why in _failing().items() if name not in left_out}
            if not failing:
                raise
            left_out |= failing
            file.seek(0)
            file.truncate()


def _failing() -> dict[str, str]:
    """The services of moto that hold something that cannot be pickled and read, and why."""
    failing = {}
    for name, kept in moto_state.remember({"s3"}).items():
        file = io.BytesIO()
        try:
            snapshot.write(kept, file)
            file.seek(0)
            pickle.load(file)
        except Exception as error:
            failing[name] = f"{type(error).__name__}: {error}"
    return failing
