"""Provisioned concurrency: environments that are ready before a call comes, of a published version or an alias.

AWS: Lambda developer guide, "Configuring provisioned concurrency" and "Monitoring concurrency".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from local_aws.functions.environment import PROVISIONED, Environment
from local_aws.functions.records import Function, Version, stamp

if TYPE_CHECKING:
    from local_aws.aws import LocalAws

# Environments that are prepared at once: each takes a core while it imports.
PREPARED_AT_ONCE = 4


class Used(NamedTuple):
    """How many of some environments were busy at once, over a while."""

    average: float
    least: int
    most: int


class Use:
    """Counts how many environments are busy, for the minutes that metrics are of."""

    def __init__(self) -> None:
        self._busy = self._least = self._most = 0
        self._seconds = 0.0
        """Of environments that were busy, one after the other."""
        self._began = self._since = time.monotonic()

    def begin(self) -> None:
        """One more is busy."""
        self._pass(time.monotonic())
        self._busy += 1
        self._most = max(self._most, self._busy)

    def end(self) -> None:
        """One less is."""
        self._pass(time.monotonic())
        self._busy -= 1
        self._least = min(self._least, self._busy)

    def taken(self) -> Used:
        """What there was since the last time this was asked."""
        now = time.monotonic()
        self._pass(now)
        length = now - self._began
        used = Used(self._seconds / length if length > 0 else float(self._busy), self._least, self._most)
        self._seconds, self._began, self._least, self._most = 0.0, now, self._busy, self._busy
        return used

    def _pass(self, now: float) -> None:
        self._seconds += self._busy * (now - self._since)
        self._since = now


@dataclass
class Provisioned:
    """Provisioned concurrency of one qualifier (a version's number, or an alias)."""

    function: Function
    qualifier: str
    version: Version
    requested: int
    status: str = "IN_PROGRESS"
    reason: str = ""
    modified: str = field(default_factory=stamp)
    environments: list[Environment] = field(default_factory=list)
    idle: list[Environment] = field(default_factory=list)
    starting: int = 0
    closed: bool = False
    use: Use = field(default_factory=Use)

    @property
    def surplus(self) -> bool:
        """Whether there are more environments than are asked for."""
        return len(self.environments) > self.requested


@dataclass(frozen=True)
class ProvisionedRecord:
    """Provisioned concurrency as it is saved: what was asked for, by names."""

    function: str
    qualifier: str
    version: str
    requested: int
    modified: str


class Provisioning:
    """The provisioned environments of one account.

    Parameters
    ----------
    lock
        Guards every count of the account's concurrency, `places` among them.
    reserved
        What all functions together have reserved; asked while the lock is held.
    """

    def __init__(self, aws: LocalAws, lock: threading.Lock, reserved: Callable[[], int]) -> None:
        self.aws, self._lock, self._reserved = aws, lock, reserved
        self.places: dict[tuple[str, str], Provisioned] = {}
        """By a function's name and a qualifier."""
        self._preparing = threading.Semaphore(PREPARED_AT_ONCE)

    def of(self, function: Function) -> list[Provisioned]:
        """A function's configurations."""
        with self._lock:
            return [each for each in self.places.values() if each.function is function]

    def all(self) -> list[Provisioned]:
        """All configurations."""
        with self._lock:
            return list(self.places.values())

    def provision(
        self, function: Function, qualifier: str, version: Version, requested: int, check: Callable[[int, int], None]
    ) -> Provisioned:
        """Ask for a number of ready environments; `check(the function's other ones, reserved by all)` may refuse."""
        key = (function.name, qualifier)
        with self._lock:
            others = sum(
                each.requested
                for each in self.places.values()
                if each.function is function and each.qualifier != qualifier
            )
            check(others, self._reserved())
            old = self.places.get(key)
            if old is not None and old.version is version:
                place = old
                place.requested, place.status, place.reason, place.modified = requested, "IN_PROGRESS", "", stamp()
            else:
                place = self.places[key] = Provisioned(function, qualifier, version, requested)
        if old is not None and old is not place:
            self._close(old)
        self.fill(place)
        return place

    def remember(self) -> list[ProvisionedRecord]:
        """What was asked for."""
        return [
            ProvisionedRecord(each.function.name, each.qualifier, each.version.number, each.requested, each.modified)
            for each in self.all()
        ]

    def resume(self, function: Function, kept: ProvisionedRecord) -> None:
        """Prepare anew the environments that were asked for before a restart."""
        version = function.versions[kept.version]
        place = self.provision(function, kept.qualifier, version, kept.requested, lambda *_: None)
        place.modified = kept.modified

    def move(self, function: Function, alias: str, version: Version) -> None:
        """An alias with provisioned concurrency points to another version now."""
        place = self.places.get((function.name, alias))
        if place is not None and place.version is not version:
            self.provision(function, alias, version, place.requested, lambda *_: None)

    def end(self, key: tuple[str, str]) -> None:
        """End the environments of a function's name and a qualifier, if there are any."""
        with self._lock:
            place = self.places.pop(key, None)
        if place is not None:
            self._close(place)

    def used(self, place: Provisioned) -> tuple[int, Used]:
        """How many environments there are, and how many were busy since the last time this was asked."""
        with self._lock:
            return len(place.environments), place.use.taken()

    def fill(self, place: Provisioned) -> None:
        """Start what is missing, end what is too much."""
        surplus = []
        with self._lock:
            missing = place.requested - len(place.environments) - place.starting
            while missing < 0 and place.idle:
                surplus.append(place.idle.pop(0))
                place.environments.remove(surplus[-1])
                missing += 1
            place.starting += max(0, missing)
            if missing <= 0 and not place.starting:
                place.status = "READY"
        for each in surplus:
            each.close()
        for _ in range(max(0, missing)):
            threading.Thread(target=self._prepare, args=(place,), name="provision", daemon=True).start()

    def stop(self) -> None:
        """The instances are ended by their owner."""
        with self._lock:
            for place in self.places.values():
                place.closed = True

    def _close(self, place: Provisioned) -> None:
        with self._lock:
            place.closed = True
            idle, place.idle = place.idle, []
        for each in idle:
            each.close()

    def _prepare(self, place: Provisioned) -> None:
        environment = Environment(self.aws, place.version, PROVISIONED)
        with self._preparing:
            try:
                failed = None
                if not place.closed:
                    environment.start()
                    failed = environment.initialise()
                reason = failed.payload.decode("utf-8", "replace") if failed else ""
            except OSError as error:
                reason = str(error)
        with self._lock:
            place.starting -= 1
            # While it started, fewer may have been asked for.
            needed = len(place.environments) < place.requested
            keep = not place.closed and not reason and needed
            if keep:
                place.environments.append(environment)
                place.idle.append(environment)
            elif reason:
                place.status, place.reason = "FAILED", f"FUNCTION_ERROR_INIT_FAILURE: {reason[:500]}"
            if not place.starting and place.status != "FAILED":
                place.status = "READY"
        if not keep:
            environment.close()
        else:
            environment.on_end = lambda: self._ended(place, environment)

    def _ended(self, place: Provisioned, environment: Environment) -> None:
        """Replace a provisioned environment that died while it was idle."""
        with self._lock:
            if place.closed or environment not in place.idle:
                return
            place.idle.remove(environment)
            place.environments.remove(environment)
        environment.close()
        self.fill(place)
