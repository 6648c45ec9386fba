"""One endpoint: its state, its fleet, and the changes that move it from one to another without a gap in service."""

from __future__ import annotations

import datetime as dt
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from local_aws.endpoints.fleet import Fleet
from local_aws.endpoints.instance import StartFailed
from local_aws.endpoints.record import EndpointRecord, VariantRecord
from local_aws.errors import validation

if TYPE_CHECKING:
    from local_aws.aws import LocalAws

log = logging.getLogger(__name__)

Wanted = dict[str, tuple[int | None, float | None]]
"""Variant name -> (instance count, weight); None leaves one as it is."""


class Endpoint:
    """An endpoint: Creating -> InService or Failed; Updating -> InService, by way of RollingBack on failure.

    After a restart of the local AWS it is SystemUpdating -> InService or Failed: AWS's own state for work on an
    endpoint that changes nothing of what the customer has asked for.

    One change at a time, each in a thread of its own; a second one meanwhile is refused as AWS refuses it.
    """

    def __init__(
        self, aws: LocalAws, name: str, arn: str, config: dict[str, Any], deployment: dict[str, Any] | None
    ) -> None:
        self.aws, self.name, self.arn, self.config = aws, name, arn, config
        self.deployment = deployment
        self.status = "Creating"
        self.failure: str | None = None
        self.created = self.modified = dt.datetime.now(dt.UTC)
        self.fleet: Fleet | None = None
        self._next: Fleet | None = None
        self._share = 0.0
        self._updating = False
        self._pending: dict[str, Any] | None = None
        self._restored: list[VariantRecord] = []
        self._gone = threading.Event()
        self._lock = threading.Lock()

    # --- what is saved

    def remember(self) -> EndpointRecord:
        with self._lock:
            return EndpointRecord(
                self.name, self.arn, self.config, self.deployment, self.status, self.failure, self.created,
                self.modified, self._variants(), self._updating,
            )  # fmt: skip

    @classmethod
    def restored(cls, aws: LocalAws, record: EndpointRecord, restarted: str) -> Endpoint:
        """An endpoint that was saved, without instances until `resume`. An update that was under way is undone."""
        endpoint = cls(aws, record.name, record.arn, record.config, record.deployment)
        endpoint.created, endpoint.modified, endpoint.failure = record.created, record.modified, record.failure
        endpoint.status = record.status if record.status in {"Creating", "Failed"} else "SystemUpdating"
        endpoint._restored = record.variants
        if record.updating:
            endpoint.failure = restarted
        return endpoint

    def resume(self) -> None:
        """Start again what was in service, or was coming into it."""
        failure = self.failure
        if self.status == "Creating":
            self.deploy()
        elif self.status == "SystemUpdating":

            def work() -> None:
                fleet = Fleet(self.aws, self.name, self.config)
                fleet.adopt(self._restored)
                self.fleet = fleet
                try:
                    fleet.start()
                except BaseException:
                    self.fleet = None
                    raise

            self._run(work, lambda: "Failed", failure)

    # --- what is asked

    def serving(self) -> Fleet | None:
        """The fleet that answers the next call; None when none does (still Creating, Failed, being deleted)."""
        following = self._next
        if following is not None and random.random() < self._share:
            return following
        return self.fleet

    def summary(self) -> dict[str, Any]:
        return {
            "EndpointName": self.name,
            "EndpointArn": self.arn,
            "CreationTime": self.created,
            "LastModifiedTime": self.modified,
            "EndpointStatus": self.status,
        }

    def describe(self) -> dict[str, Any]:
        answer = self.summary() | {"EndpointConfigName": self.config["EndpointConfigName"]}
        fleet = self.fleet
        serving = {each.name: len(each.instances) for each in (fleet.variants if fleet else ())}
        answer["ProductionVariants"] = [each.describe(serving.get(each.name, 0)) for each in self._variants()]
        if self.failure:
            answer["FailureReason"] = self.failure
        if self.deployment:
            answer["LastDeploymentConfig"] = self.deployment
        if (pending := self._pending) is not None:
            answer["PendingDeploymentSummary"] = {
                "EndpointConfigName": pending["EndpointConfigName"],
                "ProductionVariants": [{"VariantName": each["VariantName"]} for each in pending["ProductionVariants"]],
                "StartTime": self.modified,
            }
        return answer

    # --- what is changed

    def deploy(self) -> None:
        """Bring the first fleet into service."""

        def work() -> None:
            fleet = Fleet(self.aws, self.name, self.config)
            self._next = fleet
            fleet.start()
            self.fleet, self._next = fleet, None

        self._pending = self.config
        self._run(work, lambda: "Failed")

    def update(self, config: dict[str, Any], *, retain: bool, deployment: dict[str, Any] | None) -> None:
        """Blue/green: the new fleet comes up beside the old, takes the traffic, and the old one is drained.

        `retain` keeps the counts and weights that the variants have now. Raises AwsError while it cannot be changed.
        """
        self._begin("Updating", ("InService",), updating=True)
        self.deployment, self._pending = deployment or self.deployment, config

        def work() -> None:
            old = self.fleet
            new = Fleet(self.aws, self.name, config)
            if retain and old is not None:
                for variant in new.variants:
                    before = old.variant(variant.name)
                    if before is not None:
                        variant.desired, variant.weight = before.desired, before.weight
                        variant.desired_weight = before.weight
            new.start()
            try:
                self._shift(new, deployment or {})
            except StartFailed:
                self._next = None
                self.status = "RollingBack"
                new.close()
                raise
            self.fleet, self._next = new, None
            self.config = config
            if old is not None:
                old.close()

        self._run(work, lambda: "InService" if self.fleet else "Failed")

    def change(self, wanted: Wanted) -> None:
        """UpdateEndpointWeightsAndCapacities. Raises AwsError for an unknown variant or while it cannot be changed."""
        fleet = self.fleet
        for name, (count, _) in wanted.items():
            if fleet is not None and fleet.variant(name) is None:
                raise validation(f'The variant name(s) "{name}" is/are not present within endpoint configuration.')
            if count is not None and count < 1:
                raise validation(f"The instance count of variant {name} must be at least 1, not {count}.")
        self._begin("Updating", ("InService",))
        assert fleet is not None
        before: dict[str, int] = {each.name: each.desired for each in fleet.variants}
        for name, (count, weight) in wanted.items():
            variant = fleet.variant(name)
            variant.desired = before[name] if count is None else count
            variant.desired_weight = variant.weight if weight is None else weight

        def work() -> None:
            try:
                for name in wanted:
                    variant = fleet.variant(name)
                    variant.scale(variant.desired)
                    variant.weight = variant.desired_weight
            except (StartFailed, OSError):
                self.status = "RollingBack"
                for name in wanted:
                    variant = fleet.variant(name)
                    variant.desired, variant.desired_weight = before[name], variant.weight
                raise

        self._run(work, lambda: "InService")

    def delete(self, forget: Callable[[Endpoint], None]) -> None:
        """Answer no further call, drain, stop; then `forget`. Raises AwsError while it is created or updated."""
        self._begin("Deleting", ("InService", "Failed", "OutOfService"))
        fleet, self.fleet = self.fleet, None

        def work() -> None:
            try:
                if fleet is not None:
                    fleet.close()
            finally:
                forget(self)

        threading.Thread(target=work, name=f"delete-{self.name}", daemon=True).start()

    def abandon(self) -> None:
        """The daemon ends: start nothing any more. The processes are stopped by their owner."""
        self._gone.set()
        for fleet in (self.fleet, self._next):
            for variant in fleet.variants if fleet else ():
                variant.closed.set()

    # --- inside

    def _variants(self) -> list[VariantRecord]:
        if self.fleet:
            return [each.record for each in self.fleet.variants]
        return self._restored if self.status == "SystemUpdating" else []

    def _begin(self, status: str, allowed: tuple[str, ...], *, updating: bool = False) -> None:
        with self._lock:
            if self.status not in allowed:
                if self.status == "Failed":
                    raise validation(f'Cannot update failed endpoint "{self.arn}".')
                raise validation(f'Cannot update in-progress endpoint "{self.arn}".')
            self.status, self.modified = status, dt.datetime.now(dt.UTC)
            self.failure = None
            self._updating = updating

    def _run(self, work: Callable[[], None], after_failure: Callable[[], str], note: str | None = None) -> None:
        """Do the work in a thread; `note` is the reason that an endpoint keeps although the work succeeds."""

        def run() -> None:
            failure = None
            try:
                work()
            except (StartFailed, OSError) as error:
                failure = str(error)
            except Exception as error:
                log.exception("endpoint %s", self.name)
                failure = f"The local AWS failed: {error}"
            self._next, self._share, self._pending = None, 0.0, None
            with self._lock:
                self.failure = failure or note
                self.modified = dt.datetime.now(dt.UTC)
                self.status = "InService" if failure is None else after_failure()
                self._updating = False
            self.aws.saver.changed()

        threading.Thread(target=run, name=f"change-{self.name}", daemon=True).start()

    def _shift(self, new: Fleet, deployment: dict[str, Any]) -> None:
        """Move the traffic to the new fleet in the steps of the deployment configuration, watching its alarms.

        AWS: SageMaker developer guide, "Blue/Green Deployments". Waits are metric time, as alarms are. Raises
        StartFailed when an alarm goes off; the caller sends the traffic back.
        """
        policy = deployment.get("BlueGreenUpdatePolicy") or {}
        routing = policy.get("TrafficRoutingConfiguration") or {}
        rollback = deployment.get("AutoRollbackConfiguration") or {}
        alarms = [each["AlarmName"] for each in rollback.get("Alarms") or []]
        wait = self.aws.clock.real(routing.get("WaitIntervalInSeconds") or 0)
        self._next = new
        for share in _steps(routing, sum(each.desired for each in new.variants)):
            self._share = share
            deadline = time.monotonic() + wait
            while time.monotonic() < deadline and not self._gone.wait(0.05):
                ringing = self.aws.metrics.in_alarm(alarms)
                if ringing:
                    raise StartFailed(f"The deployment was rolled back: alarm {ringing[0]} is in the ALARM state.")


def _steps(routing: dict[str, Any], instances: int) -> list[float]:
    """The shares of traffic, ending with all of it."""
    kind = routing.get("Type", "ALL_AT_ONCE")
    size = routing.get({"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}.get(kind, ""))
    if not size:
        return [1.0]
    value = size["Value"] / 100 if size["Type"] == "CAPACITY_PERCENT" else size["Value"] / max(1, instances)
    if kind == "CANARY":
        return [min(value, 1.0), 1.0]
    count = max(1, round(1 / value))
    return [min(1.0, step * value) for step in range(1, count)] + [1.0]
