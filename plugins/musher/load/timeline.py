"""What the endpoint looked like while the load went on."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any


class Timeline:
    """Observes instance counts beside the load, in its own thread, so that a slow answer delays no request.

    Parameters
    ----------
    observe: returns `{"desired": int, "in_service": int}`; an error in it is kept in `last_error`, not raised, because
        one failed describe should not end a load test.
    interval_seconds: between two observations.

    Use as a context manager; set `offered_rps` when the load changes (`generator.run_phases`' `on_phase`).
    """

    def __init__(self, observe: Callable[[], Mapping[str, Any]], *, interval_seconds: float = 1.0) -> None:
        self.offered_rps = 0.0
        self.last_error: str | None = None
        self._observe = observe
        self._interval = interval_seconds
        self._points: list[dict[str, Any]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="timeline", daemon=True)

    def __enter__(self) -> Timeline:
        self._start = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._look()
            if self._stop.wait(self._interval):
                self._look()  # the state it ends in
                return

    def _look(self) -> None:
        try:
            seen = self._observe()
        except Exception as error:
            self.last_error = f"{type(error).__name__}: {error}"
            return
        point = {"seconds": round(time.monotonic() - self._start, 2), "offered_rps": self.offered_rps}
        self._points.append({**point, "desired": seen.get("desired"), "in_service": seen.get("in_service")})

    @property
    def points(self) -> list[dict[str, Any]]:
        """The run record's `autoscaling.timeline`: seconds since the start, offered rate, instances."""
        return list(self._points)

    @property
    def in_service(self) -> int | None:
        """Instances in service when last seen; None before the first observation."""
        with contextlib.suppress(IndexError):
            return self._points[-1]["in_service"]
        return None

    def in_service_at_least(self, instances: int) -> Callable[[], bool]:
        """Condition for a phase's `until`: the endpoint has scaled out."""
        return lambda: (self.in_service or 0) >= instances

    def in_service_at_most(self, instances: int) -> Callable[[], bool]:
        """Condition for a phase's `until`: the endpoint has scaled in."""
        return lambda: self.in_service is not None and self.in_service <= instances
