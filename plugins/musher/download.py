"""One file over http or https, with a limit on its size and on how long it may stand still."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path

from musher.errors import UserError

_CHUNK = 1 << 20


def fetch(
    url: str, target: Path, *, max_bytes: int, timeout_seconds: float = 60, error: type[UserError] = UserError
) -> str:
    """Download `url` to `target` and return the file's SHA-256 (hex).

    Raises `error` with one sentence when the address cannot be reached, refuses, stands still for `timeout_seconds`,
    ends early, or is larger than `max_bytes`; nothing is left at `target` then.
    """
    if not url.startswith(("http://", "https://")):
        raise error(f"{url!r} is no http or https address.")
    digest = hashlib.sha256()
    received = 0
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "musher"})
        with urllib.request.urlopen(request, timeout=timeout_seconds) as answer, target.open("wb") as file:
            announced = answer.headers.get("Content-Length")
            if announced and int(announced) > max_bytes:
                raise error(f"{url} has {int(announced):,} bytes; at most {max_bytes:,} are allowed.")
            while chunk := answer.read(_CHUNK):
                received += len(chunk)
                if received > max_bytes:
                    raise error(f"{url} has more than the {max_bytes:,} bytes that are allowed.")
                digest.update(chunk)
                file.write(chunk)
        if announced and received != int(announced):
            raise error(f"{url} ended after {received:,} of {int(announced):,} bytes: try again.")
    except urllib.error.HTTPError as problem:
        target.unlink(missing_ok=True)
        raise error(f"{url} answered {problem.code} {problem.reason}.") from None
    except (OSError, http.client.HTTPException, ValueError) as problem:
        target.unlink(missing_ok=True)
        if isinstance(problem, UserError):
            raise
        reason = getattr(problem, "reason", None) or problem
        raise error(f"{url} cannot be downloaded: {str(reason).rstrip('.')}.") from None
    return digest.hexdigest()
