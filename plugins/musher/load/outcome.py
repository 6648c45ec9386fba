"""What became of one request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request, as the target classified it.

    `kind` groups failures and throttles (`ReservedFunctionConcurrentInvocationLimitExceeded`, `HTTP 502`); `message`
    is one example of them. `unreachable` for a failure that is nobody's answer: there was no connection, or it was cut
    off. `initialization` (cold, provisioned or warm), `environment` (which execution environment), `started_at` (unix
    seconds) and `duration_ms` are what the function says about its own execution, where the target is one. `weights`
    (their digest) and `model_name` say which model answered, where it says so, and `variant` which variant of the
    endpoint, where the target is one. `answer` is what was answered, from JSON, where the target keeps it.
    """

    status: Literal["succeeded", "throttled", "failed"]
    kind: str = ""
    message: str = ""
    unreachable: bool = False
    initialization: str = ""
    environment: str = ""
    started_at: float | None = None
    duration_ms: float | None = None
    weights: str = ""
    model_name: str = ""
    variant: str = ""
    answer: Any = None


def cut_off(outcomes: Sequence[Outcome]) -> str | None:
    """That AWS itself was not reached by some calls, as the beginning of a sentence; None where it always was."""
    lost = [each for each in outcomes if each.unreachable]
    if not lost:
        return None
    return f"AWS could not be reached by {len(lost)} of {len(outcomes)} calls ({lost[0].kind}: {lost[0].message})"


@dataclass(frozen=True, slots=True)
class Sample:
    """One request with its times, in seconds from the phase's start."""

    due: float
    sent: float
    done: float
    outcome: Outcome


SendFunction = Callable[[bytes], Outcome]


@runtime_checkable
class PreparingTarget(Protocol):
    """A target that can do work ahead of time.

    `prepare` is called before the request is due (signing, connecting) and returns what sends it at the due time.
    It has `ahead_seconds` before it makes its request late. Neither may raise because of the other side: a
    connection refused is an `Outcome`. Both are called from many threads at once.
    """

    def prepare(self, payload: bytes, ahead_seconds: float) -> Callable[[], Outcome]: ...


Target = SendFunction | PreparingTarget
