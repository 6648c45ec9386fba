"""What the triggerer does for a task that has deferred itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any


def event_of(
    deferred: Any,
    deadline: float,
    *,
    begin: Callable[[Any], None] = lambda trigger: None,
    look: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The trigger's event: the trigger is made anew from what it serialises, and looked at until it has one.

    Parameters: `deadline` on the monotonic clock; `begin` is given the new trigger, `look` is called after each look.
    """
    path, arguments = deferred.serialize()
    assert path.endswith(type(deferred).__name__)
    trigger = type(deferred)(**json.loads(json.dumps(arguments)))
    begin(trigger)
    while True:
        state, event = trigger.look()
        if event is None and time.time() > trigger.deadline:
            event = trigger.give_up()
        if event is not None:
            return json.loads(json.dumps(event))
        assert time.monotonic() < deadline, state
        look()
        time.sleep(min(0.2, trigger.poll_seconds))
