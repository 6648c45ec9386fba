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
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_aws.functions.environment import ON_DEMAND, Environment
from local_aws.functions.provisioned import Provisioned, Provisioning
from local_aws.functions.records import Function, Version

if TYPE_CHECKING:
    from local_aws.aws import LocalAws

log = logging.getLogger(__name__)

# The account's quota to begin with, and what of it no function can reserve.
ACCOUNT_LIMIT = 1000
MOST_UNRESERVED = 100
KEPT_AWS_SECONDS = 600


class Throttled(Exception):
    """The call must be refused; `reason` is TooManyRequestsException's."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


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
        self.provisioned = Provisioning(aws, self._lock, self._reserved)
        self._configurations = self.provisioned.places
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
                    threading.Thread(target=self.provisioned.fill, args=(own,), daemon=True).start()
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
                own.use.begin()
            running = self._running[name] = self._running.get(name, 0) + 1
            running_version = self._versions[version.arn] = self._versions.get(version.arn, 0) + 1
        return Lease(version, environment, own_place, spilled, running, running_version)

    def _check_on_demand(self, function: Function, configurations: list[Provisioned]) -> None:
        running = self._on_demand.get(function.name, 0)
        if function.reserved is not None:
            if running >= function.reserved - sum(each.requested for each in configurations):
                raise Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
            return
        limit = self.limit - self._reserved()
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
            else:
                place.use.end()
            if environment is not None:
                environment.idle_since = time.monotonic()
                if not environment.alive:
                    close = environment
                elif place is not None:
                    # A busy one is ended here when fewer have been asked for meanwhile.
                    if place.closed or place.surplus:
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
                self.provisioned.fill(place)

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
            return max(0, self.limit - self._reserved())

    def _reserved(self) -> int:
        """What all functions together have reserved; the lock is held."""
        return sum(each.reserved or 0 for each in self._functions.values())

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
                self.provisioned.end(key)

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

    def new(self, version: Version) -> Environment:
        """A fresh environment for a call that has a place but none to run in."""
        return Environment(self.aws, version, ON_DEMAND)

    def stop(self) -> None:
        """The instances are ended by their owner."""
        self.provisioned.stop()
