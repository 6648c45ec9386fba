"""Where Airflow's API server finds the application; imports nothing that other processes of Airflow do not have."""

from __future__ import annotations

import threading
from collections.abc import Callable, MutableMapping
from typing import Any

PREFIX = "musher"


class Application:
    """The ASGI application, made by the first request to it: FastAPI, the record and its templates take a second to
    import, in a thread that nothing else waits for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: Any = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Callable, send: Callable) -> None:
        if self._made is None:
            import asyncio

            await asyncio.to_thread(self._make)
        await self._made(scope, receive, send)

    def _make(self) -> None:
        with self._lock:
            if self._made is None:
                from musher.page.app import make

                self._made = make()
