"""What went wrong with a request, as the caller is told."""

from __future__ import annotations


class Problem(Exception):
    """An answer other than 200: `status`, and one sentence."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}
