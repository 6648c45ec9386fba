"""Changes of stacks that are under way: what needs no waiting is done within the call, the rest in a thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from local_aws.stacks.template import invalid
from local_aws.state.gate import Shut

if TYPE_CHECKING:
    from local_aws.aws import LocalAws

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
# Where a change ends that a restart has broken off.
BROKEN_OFF = {
    "CREATE_IN_PROGRESS": "CREATE_FAILED", "ROLLBACK_IN_PROGRESS": "ROLLBACK_FAILED",
    "UPDATE_IN_PROGRESS": "UPDATE_FAILED", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_IN_PROGRESS": "UPDATE_ROLLBACK_FAILED", "DELETE_IN_PROGRESS": "DELETE_FAILED",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": "UPDATE_ROLLBACK_COMPLETE",
}  # fmt: skip
CHANGEABLE = (
    "CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE", "IMPORT_ROLLBACK_COMPLETE",
)  # fmt: skip


class Running:
    """A change of a stack that goes on after its call.

    Parameters: `stop` tells it to stop; `after` is set when the change before it has.
    """

    def __init__(self, stop: threading.Event, after: threading.Event | None) -> None:
        self.stop, self.after, self.done = stop, after, threading.Event()


class Runner:
    """All changes of one account."""

    def __init__(self, aws: LocalAws) -> None:
        self.aws = aws
        self._stopping = threading.Event()
        self._running: dict[str, Running] = {}
        """By the id of a stack that is being changed in a thread."""

    def stop(self) -> None:
        """Go on with nothing."""
        self._stopping.set()

    def cancel(self, stack: Any) -> None:
        """Tell the change of a stack to stop, if there is one."""
        running = self._running.get(stack.stack_id)
        if running is not None:
            running.stop.set()

    def check(self, stack: Any) -> None:
        """Raise AwsError for a stack that cannot be changed now."""
        if stack.status not in CHANGEABLE or stack.stack_id in self._running:
            raise invalid(f"Stack:{stack.stack_id} is in {stack.status} state and can not be updated.")

    def run(self, stack: Any, rights: Any, steps: Callable[[Any], Generator[None, None, None]]) -> None:
        """Do what needs no waiting within the call, and the rest in a thread.

        Parameters: `rights` in whose name, `steps` makes the generator of a `stacks.change.Change`.
        """
        from local_aws.stacks.change import Change

        stop = threading.Event()
        running = steps(Change(stack, rights, stop.is_set))
        before = self._running.get(stack.stack_id)
        if before is None:
            try:
                next(running)
            except StopIteration:
                return
        self._running[stack.stack_id] = work = Running(stop, before.done if before else None)
        threading.Thread(target=self._go_on, args=(stack, running, work), name="stack", daemon=True).start()

    def _go_on(self, stack: Any, steps: Generator[None, None, None], work: Running) -> None:
        try:
            while not self._stopping.wait(POLL_SECONDS):
                if work.after is not None and not work.after.is_set():
                    continue
                with self.aws.saver.gate.call():
                    self.aws.saver.changed()
                    next(steps)
        except (StopIteration, Shut):
            pass
        except Exception as error:
            log.exception("the stack %s broke off", stack.name)
            stack.say(BROKEN_OFF.get(stack.status, stack.status), f"The local AWS failed: {error}")
        finally:
            if self._running.get(stack.stack_id) is work:
                del self._running[stack.stack_id]
            work.done.set()
            self.aws.saver.changed()
