"""Airflow's API server on SQLite, without its wait for itself.

The server writes its audit log in its event loop (`airflow.api_fastapi.logging.decorators`, 3.3.1). SQLite has one
writer at a time: when that is another request of the same server, it cannot end while the loop waits for it, and after
SQLite's time-out a person's click is answered with a database error.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any


def write_audit_log_in_a_thread() -> None:
    """To be called before the server's routes are imported; each of them makes its own part of the log."""
    from airflow.api_fastapi.logging import decorators
    from starlette.concurrency import run_in_threadpool

    made = decorators.action_logging

    def action_logging(event: str | None = None) -> Any:
        log_action = made(event)

        async def in_a_thread(**values: Any) -> None:
            await values["request"].body()  # kept by the request: in the thread nothing is left to wait for
            await run_in_threadpool(lambda: asyncio.run(log_action(**values)))

        # FastAPI reads from the signature what to hand over.
        in_a_thread.__signature__ = inspect.signature(log_action, eval_str=True)  # type: ignore[attr-defined]
        return in_a_thread

    decorators.action_logging = action_logging
