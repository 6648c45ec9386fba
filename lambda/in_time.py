"""Work that is waited for until a moment and no longer, whatever it waits for itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def in_time(work: Callable[[], Result], seconds: float) -> Result:
    """What `work` returns, or what it raises; TimeoutError when it is not done within `seconds`.

    It runs in a thread, which goes on alone then: a resolver and a server's silence have no other end.
    """
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["result"] = work()
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(min(max(0.0, seconds), threading.TIMEOUT_MAX))
    if thread.is_alive():
        raise TimeoutError
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]
