"""The instances of a production variant and the variants of an endpoint configuration: start, route, stop."""

from __future__ import annotations

import itertools
import logging
import random
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_aws.endpoints import capture, models
from local_aws.endpoints.instance import Container, EndpointInstance, StartFailed
from local_aws.endpoints.progress import Status
from local_aws.endpoints.record import VariantRecord

if TYPE_CHECKING:
    from local_aws.aws import LocalAws

log = logging.getLogger(__name__)

# A container that keeps crashing is started again ever more slowly, up to this.
LONGEST_PAUSE_SECONDS = 30.0
# Importing the framework takes a core: more at once only make each later.
STARTED_AT_ONCE = 4
_numbers = itertools.count(1)


class Variant:
    """One production variant: `desired` instances, of which `instances` are in service."""

    def __init__(self, aws: LocalAws, endpoint: str, config: dict[str, Any], container: Container) -> None:
        self.aws, self.endpoint, self.config, self.container = aws, endpoint, config, container
        self.name: str = config["VariantName"]
        self.weight: float = config.get("InitialVariantWeight", 1.0)
        self.desired_weight = self.weight
        self.desired: int = config.get("InitialInstanceCount") or 1
        self.instances: list[EndpointInstance] = []
        self.active: int | None = None
        """How many of the instances get calls, the first ones; None for all."""
        self.status: Status | None = None
        """What a deployment does with it just now."""
        self.closed = threading.Event()
        self._lock = threading.Lock()
        self._crashes = self._replacing = 0

    @property
    def record(self) -> VariantRecord:
        """What it was asked for, without its processes."""
        return VariantRecord(self.name, self.desired, self.weight, self.desired_weight)

    def scale(self, count: int) -> None:
        """Have `count` instances in service: start the missing ones, drain and stop the surplus.

        Returns when they are. Raises StartFailed when one could not be started; those that were in service stay.
        """
        self.desired = count
        missing = count - len(self.instances) - self._replacing
        if missing > 0:
            self._start(missing)
        elif missing < 0:
            with self._lock:
                # The youngest go first; routing sees them no longer from here on.
                surplus = self.instances[count:]
                self.instances = self.instances[:count]
            self._stop(surplus)

    def take(self) -> tuple[EndpointInstance, int] | None:
        """The instance with the fewest calls in flight, now one more, and how many get calls; None when none is up."""
        with self._lock:
            open_to_calls = self.instances[: self.active]
            if not open_to_calls:
                return None
            chosen = min(open_to_calls, key=_in_flight)
            chosen.in_flight += 1
            chosen.peak = max(chosen.peak, chosen.in_flight)
            return chosen, len(open_to_calls)

    def release(self, instance: EndpointInstance) -> None:
        """A call that `take` counted has ended."""
        with self._lock:
            instance.in_flight -= 1

    def remove(self, instance: EndpointInstance) -> None:
        """Route nothing to an instance any more."""
        with self._lock:
            self.instances = [each for each in self.instances if each is not instance]

    def peaks(self) -> list[int]:
        """The most calls that each instance has had at once since this was asked last."""
        with self._lock:
            peaks = [each.peak for each in self.instances]
            for each in self.instances:
                each.peak = each.in_flight
        return peaks

    def close(self) -> None:
        """Stop every instance, drained."""
        self.closed.set()
        with self._lock:
            instances, self.instances = self.instances, []
        self._stop(instances)

    def _start(self, count: int) -> None:
        started, failures = [], []

        def start(_: int) -> None:
            try:
                started.append(self._start_one())
            except (StartFailed, OSError) as error:
                failures.append(error)

        with ThreadPoolExecutor(min(count, STARTED_AT_ONCE)) as pool:
            list(pool.map(start, range(count)))
        if failures:
            for each in started:
                self.remove(each)
            self._stop(started)
            raise StartFailed(str(failures[0]))

    def _start_one(self) -> EndpointInstance:
        instance = EndpointInstance(self.aws, self.endpoint, self.name, self.container, self._ended)
        try:
            instance.wait_until_ready(self.closed.is_set)
        except StartFailed:
            instance.stop()
            raise
        with self._lock:
            closed = self.closed.is_set()
            if not closed:
                self.instances = [*self.instances, instance]
        if closed:
            instance.stop()
        elif not instance.instance.running:
            # It died between its first answer and here: `_ended` found nothing to remove.
            self.remove(instance)
            raise StartFailed(f"an instance of production variant {self.name} ended as soon as it was ready")
        return instance

    def _stop(self, instances: list[EndpointInstance]) -> None:
        def stop(instance: EndpointInstance) -> None:
            instance.stopping = True
            instance.drain()
            instance.stop()

        threads = [threading.Thread(target=stop, args=(each,), daemon=True) for each in instances]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _ended(self, instance: EndpointInstance) -> None:
        """The process of an instance is gone: replace it, unless it was told to stop or never came into service."""
        self.remove(instance)
        if instance.stopping or not instance.in_service or self.closed.is_set():
            return
        log.warning("instance %s of endpoint %s crashed: it is replaced", instance.instance.id, self.endpoint)
        threading.Thread(target=self._replace, name=f"replace-{instance.instance.id}", daemon=True).start()

    def _replace(self) -> None:
        with self._lock:
            self._crashes += 1
            self._replacing += 1
            pause = min(0.1 * 2 ** (self._crashes - 1), LONGEST_PAUSE_SECONDS)
        try:
            while not self.closed.wait(pause) and len(self.instances) < self.desired:
                try:
                    self._start_one()
                    break
                except (StartFailed, OSError) as error:
                    log.warning("a replacement for endpoint %s did not start: %s", self.endpoint, error)
                    pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        finally:
            with self._lock:
                self._replacing -= 1
        if len(self.instances) > self.desired:
            # It was scaled in meanwhile.
            self.scale(self.desired)


class Fleet:
    """The variants of one endpoint configuration."""

    def __init__(self, aws: LocalAws, endpoint: str, config: dict[str, Any]) -> None:
        self.aws, self.config = aws, config
        self.name: str = config["EndpointConfigName"]
        self.folder: Path = aws.settings.state / "endpoints" / f"{endpoint}-{next(_numbers)}"
        self.variants: list[Variant] = []
        self.capture = capture.Capture(aws, endpoint, config) if capture.enabled(config) else None
        self.measured_by_config = False
        """Whether its metrics are published with the dimension EndpointConfigName, too."""
        try:
            for number, variant in enumerate(config["ProductionVariants"]):
                container = models.prepare(aws, variant, self.folder / str(number))
                self.variants.append(Variant(aws, endpoint, variant, container))
                if self.capture:
                    self.capture.roles[variant["VariantName"]] = container.acting
        except BaseException:
            models.remove(self.aws, self.folder)
            raise

    def adopt(self, records: Iterable[VariantRecord]) -> None:
        """Take over the counts and weights of variants of the same names."""
        for record in records:
            variant = self.variant(record.name)
            if variant is not None:
                variant.desired, variant.weight = record.desired, record.weight
                variant.desired_weight = record.desired_weight

    def start(self) -> None:
        """Bring every variant to its desired count. Raises StartFailed; nothing is left running then."""
        try:
            for variant in self.variants:
                variant.scale(variant.desired)
        except BaseException:
            self.close()
            raise

    def variant(self, name: str) -> Variant | None:
        return next((each for each in self.variants if each.name == name), None)

    def choose(self) -> Variant:
        """A variant, with the odds of the weights."""
        if len(self.variants) == 1:
            return self.variants[0]
        weights = [each.weight for each in self.variants]
        if not any(weights):
            return random.choice(self.variants)
        return random.choices(self.variants, weights)[0]

    def close(self) -> None:
        """Drain and stop everything and delete the models' files."""
        for variant in self.variants:
            variant.closed.set()
        for variant in self.variants:
            variant.close()
        if self.capture:
            self.capture.close()
        models.remove(self.aws, self.folder)


def _in_flight(instance: EndpointInstance) -> int:
    return instance.in_flight
