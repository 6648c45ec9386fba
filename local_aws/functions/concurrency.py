"""How many calls run at once, and in which environment the next one runs.

AWS: Lambda developer guide, "Understanding Lambda function scaling" and "Configuring provisioned concurrency". One lock
guards every count, so the numbers are exact: a place is taken before an environment is looked for, and given back when
the function has answered.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local_aws.functions.environment import ON_DEMAND, PROVISIONED, Environment
from local_aws.functions.records import Function, Version, stamp

if TYPE_CHECKING:
    from local_aws.aws import LocalAws

log = logging.getLogger(__name__)

# The account's quota to begin with, and what of it no function can reserve.
ACCOUNT_LIMIT = 1000
MOST_UNRESERVED = 100
# Environments that are prepared at once: each takes a core while it imports.
PREPARED_AT_ONCE = 4
KEPT_AWS_SECONDS = 600


class Throttled(Exception):
    """The call must be refused; `reason` is TooManyRequestsException's."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


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


@dataclass(frozen=True)
class ProvisionedRecord:
    """Provisioned concurrency as it is saved: what was asked for, by names."""

    function: str
    qualifier: str
    version: str
    requested: int
    modified: str


@dataclass
class Lease:
    """A place for one call, until `Concurrency.release`."""

    version: Version
    environment: Environment | None
    provisioned: Provisioned | None
    spilled: bool
    running: int
    """Calls of the function that run now, with this one."""
    running_version: int


class Concurrency:
    """All environments of one account."""

    def __init__(self, aws: LocalAws) -> None:
        self.aws = aws
        self._lock = threading.Lock()
        self._functions: dict[str, Function] = {}
        self._running: dict[str, int] = {}
        self._on_demand: dict[str, int] = {}
        self._versions: dict[str, int] = {}
        self._idle: dict[int, deque[Environment]] = {}
        self._configurations: dict[tuple[str, str], Provisioned] = {}
        self._preparing = threading.Semaphore(PREPARED_AT_ONCE)
        self.limit = ACCOUNT_LIMIT

    @property
    def minimum_unreserved(self) -> int:
        """What has to stay unreserved: 100, or all of a smaller quota (`... minimum value of [10]`, AWS says there)."""
        return min(MOST_UNRESERVED, self.limit)

    # ---- one call

    def acquire(self, version: Version) -> Lease:
        """A place for a call of this version. Raises Throttled."""
        function = version.function
        name = function.name
        with self._lock:
            self._functions[name] = function
            configurations = [each for each in self._configurations.values() if each.function is function]
            own = next((each for each in configurations if each.version is version), None)
            environment = None
            while own is not None and own.idle and environment is None:
                candidate = own.idle.pop()
                if candidate.alive:
                    environment = candidate
                else:
                    own.environments.remove(candidate)
                    threading.Thread(target=self._fill, args=(own,), daemon=True).start()
            if environment is None:
                self._check_on_demand(function, configurations)
                own_place, spilled = None, own is not None
                self._on_demand[name] = self._on_demand.get(name, 0) + 1
                idle = self._idle.get(id(version))
                while idle and environment is None:
                    candidate = idle.pop()
                    environment = candidate if candidate.alive else None
            else:
                own_place, spilled = own, False
            running = self._running[name] = self._running.get(name, 0) + 1
            running_version = self._versions[version.arn] = self._versions.get(version.arn, 0) + 1
        return Lease(version, environment, own_place, spilled, running, running_version)

    def _check_on_demand(self, function: Function, configurations: list[Provisioned]) -> None:
        running = self._on_demand.get(function.name, 0)
        if function.reserved is not None:
            if running >= function.reserved - sum(each.requested for each in configurations):
                raise Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
            return
        limit = self.limit - sum(each.reserved or 0 for each in self._functions.values())
        unreserved = [each for each in self._configurations.values() if each.function.reserved is None]
        limit -= sum(each.requested for each in unreserved)
        names = [name for name, each in self._functions.items() if each.reserved is None]
        if sum(self._on_demand.get(name, 0) for name in names) >= limit:
            raise Throttled("ConcurrentInvocationLimitExceeded")

    def release(self, lease: Lease) -> None:
        """Give the place back, and keep the environment for the next call if it can take one."""
        environment, name, place = lease.environment, lease.version.function.name, lease.provisioned
        close = None
        with self._lock:
            self._running[name] -= 1
            self._versions[lease.version.arn] -= 1
            if place is None:
                self._on_demand[name] -= 1
            if environment is not None:
                environment.idle_since = time.monotonic()
                if not environment.alive:
                    close = environment
                elif place is not None:
                    if place.closed:
                        close = environment
                    else:
                        place.idle.append(environment)
                elif self._current(lease.version):
                    self._idle.setdefault(id(lease.version), deque()).append(environment)
                else:
                    close = environment
            if close is not None and place is not None and close in place.environments:
                place.environments.remove(close)
        if close is not None:
            threading.Thread(target=close.close, daemon=True).start()
            if place is not None and not place.closed:
                self._fill(place)

    def _current(self, version: Version) -> bool:
        function = version.function
        return self._functions.get(function.name) is function and function.versions.get(version.number) is version

    # ---- functions

    def register(self, function: Function) -> None:
        with self._lock:
            self._functions[function.name] = function

    def reserve(self, function: Function, reserved: int | None, check: Callable[[int, int], None]) -> None:
        """Set a function's reserved concurrency after `check(reserved by the others, own provisioned)` agreed."""
        with self._lock:
            others = sum(each.reserved or 0 for each in self._functions.values() if each is not function)
            own = sum(each.requested for each in self._configurations.values() if each.function is function)
            check(others, own)
            function.reserved = reserved

    def unreserved(self) -> int:
        """What of the quota no function has reserved; none where it has become smaller than what is reserved."""
        with self._lock:
            return max(0, self.limit - sum(each.reserved or 0 for each in self._functions.values()))

    def forget(self, function: Function, version: Version | None = None) -> None:
        """End what runs a deleted function, or one outdated version of it. Running calls end first."""
        with self._lock:
            if version is None:
                self._functions.pop(function.name, None)
            versions = [version] if version else list(function.versions.values())
            ended = [each for one in versions for each in self._idle.pop(id(one), ())]
            keys = [key for key, each in self._configurations.items() if each.function is function]
        for each in ended:
            each.close()
        if version is None:
            for key in keys:
                self.unprovision(key)

    def expire(self) -> None:
        """End environments that nobody has called for a while."""
        limit = time.monotonic() - self.aws.clock.real(KEPT_AWS_SECONDS)
        ended = []
        with self._lock:
            for idle in self._idle.values():
                while idle and idle[0].idle_since < limit:
                    ended.append(idle.popleft())
        for each in ended:
            each.close()

    # ---- provisioned concurrency

    def configurations(self, function: Function) -> list[Provisioned]:
        with self._lock:
            return [each for each in self._configurations.values() if each.function is function]

    def provision(
        self, function: Function, qualifier: str, version: Version, requested: int, check: Callable[[int, int], None]
    ) -> Provisioned:
        """Ask for a number of ready environments; `check(the function's other ones, reserved by all)` may refuse."""
        key = (function.name, qualifier)
        with self._lock:
            others = sum(
                each.requested
                for each in self._configurations.values()
                if each.function is function and each.qualifier != qualifier
            )
            check(others, sum(each.reserved or 0 for each in self._functions.values()))
            old = self._configurations.get(key)
            if old is not None and old.version is version:
                place = old
                place.requested, place.status, place.reason, place.modified = requested, "IN_PROGRESS", "", stamp()
            else:
                place = self._configurations[key] = Provisioned(function, qualifier, version, requested)
        if old is not None and old is not place:
            self._close(old)
        self._fill(place)
        return place

    def remember(self) -> list[ProvisionedRecord]:
        """What was asked for."""
        with self._lock:
            return [
                ProvisionedRecord(
                    each.function.name, each.qualifier, each.version.number, each.requested, each.modified
                )
                for each in self._configurations.values()
            ]

    def resume(self, function: Function, kept: ProvisionedRecord) -> None:
        """Prepare anew the environments that were asked for before a restart."""
        version = function.versions[kept.version]
        place = self.provision(function, kept.qualifier, version, kept.requested, lambda *_: None)
        place.modified = kept.modified

    def move(self, function: Function, alias: str, version: Version) -> None:
        """An alias with provisioned concurrency points to another version now."""
        place = self._configurations.get((function.name, alias))
        if place is not None and place.version is not version:
            self.provision(function, alias, version, place.requested, lambda *_: None)

    def unprovision(self, key: tuple[str, str]) -> bool:
        with self._lock:
            place = self._configurations.pop(key, None)
        if place is None:
            return False
        self._close(place)
        return True

    def _close(self, place: Provisioned) -> None:
        with self._lock:
            place.closed = True
            idle, place.idle = place.idle, []
        for each in idle:
            each.close()

    def _fill(self, place: Provisioned) -> None:
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
            keep = not place.closed and not reason
            if keep:
                place.environments.append(environment)
                place.idle.append(environment)
                if not place.starting and place.status != "FAILED":
                    place.status = "READY"
            elif reason:
                place.status, place.reason = "FAILED", f"FUNCTION_ERROR_INIT_FAILURE: {reason[:500]}"
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
        self._fill(place)

    def new(self, version: Version) -> Environment:
        """A fresh environment for a call that has a place but none to run in."""
        return Environment(self.aws, version, ON_DEMAND)

    def stop(self) -> None:
        """The instances are ended by their owner."""
        with self._lock:
            for place in self._configurations.values():
                place.closed = True
