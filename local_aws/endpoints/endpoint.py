"""One endpoint: its state, its fleet, and the changes that move it from one to another without a gap in service."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from local_aws.endpoints import capture, deployment, progress
from local_aws.endpoints.changing import ROLLBACK_FAILED, Changing, Mixed
from local_aws.endpoints.fleet import Fleet
from local_aws.endpoints.instance import StartFailed
from local_aws.endpoints.pending import Pending
from local_aws.endpoints.record import EndpointRecord, VariantRecord
from local_aws.endpoints.rollout import Ended, Rollout, Tripped
from local_aws.errors import validation

if TYPE_CHECKING:
    from local_aws.aws import LocalAws
    from local_aws.endpoints.fleet import Variant

Wanted = dict[str, tuple[int | None, float | None]]
"""Variant name -> (instance count, weight); None leaves one as it is."""
UPDATABLE = ("InService", ROLLBACK_FAILED)


class Endpoint(Changing):
    """An endpoint: Creating -> InService or Failed; Updating -> InService, by way of RollingBack on failure.

    After an update was rolled back it is InService with the configuration of before. FailureReason says why the new
    fleet could not come up or took too long; an alarm leaves it empty, as AWS may: whoever deploys has to compare
    EndpointConfigName. When a rolling update's way back fails as well it is UpdateRollbackFailed, both configurations
    serve, and the next update begins by ending that.

    After a restart of the local AWS it is SystemUpdating -> InService or Failed: AWS's own state for work on an
    endpoint that changes nothing of what the customer has asked for.

    `on_progress` is called after every step of a deployment.
    """

    on_progress: Callable[[], None] = staticmethod(lambda: None)
    admit: Callable[[Mapping[str, int]], None] = staticmethod(lambda more: None)
    """Called with the instances that a change takes more than there are, by type; raises AwsError to refuse it."""

    def __init__(
        self, aws: LocalAws, name: str, arn: str, config: dict[str, Any], deployment_config: dict[str, Any] | None
    ) -> None:
        super().__init__(aws, name, arn)
        self.config = config
        self.deployment_config = deployment_config
        """The last DeploymentConfig."""
        self.fleet: Fleet | None = None
        self._next: Fleet | None = None
        self._share = 0.0
        self._pending: Pending | None = None
        self._measured_by_config = False
        self._gone = threading.Event()

    # --- what is saved

    def remember(self) -> EndpointRecord:
        with self._lock:
            return EndpointRecord(
                self.name, self.arn, self.config, self.deployment_config, self.status, self.failure, self.created,
                self.modified, self._variants(), self._updating, self._measured_by_config,
            )  # fmt: skip

    @classmethod
    def restored(cls, aws: LocalAws, record: EndpointRecord, restarted: str) -> Endpoint:
        """An endpoint that was saved, without instances until `resume`. An update that was under way is undone."""
        endpoint = cls(aws, record.name, record.arn, record.config, record.deployment_config)
        endpoint.created, endpoint.modified, endpoint.failure = record.created, record.modified, record.failure
        endpoint.status = record.status if record.status in {"Creating", "Failed"} else "SystemUpdating"
        endpoint._kept, endpoint._measured_by_config = record.variants, record.measured_by_config
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
                fleet.adopt(self._kept)
                fleet.measured_by_config = self._measured_by_config
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

    def open_to_calls(self) -> list[tuple[Fleet, Variant]]:
        """The variants of both fleets that calls go to."""
        fleets = {id(each): each for each in (self.fleet, self._next) if each is not None}
        return [(fleet, variant) for fleet in fleets.values() for variant in fleet.variants if variant.active != 0]

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
        variants = []
        for record in self._variants():
            running = fleet.variant(record.name) if fleet else None
            variants.append(record.describe(len(running.instances) if running else 0))
            if running and running.status:
                variants[-1]["VariantStatus"] = [running.status.describe()]
        answer["ProductionVariants"] = variants
        if self.failure:
            answer["FailureReason"] = self.failure
        if captured := capture.summary(self.config, serving=fleet is not None):
            answer["DataCaptureConfig"] = captured
        if self.deployment_config:
            answer["LastDeploymentConfig"] = self.deployment_config
        if (pending := self._pending) is not None:
            answer["PendingDeploymentSummary"] = pending.describe()
        return answer

    def wanted(self) -> Counter[str]:
        """The instances that its configuration asks for, by their type."""
        return _by_type(self.config, {each.name: each.desired for each in deployment.wanted(self.config, (), ())})

    def held(self) -> Counter[str]:
        """The instances that count for the account's quotas, by their type: those of both fleets in an update."""
        pending = self._pending
        fleets = {id(each): each for each in (self.fleet, self._next, pending and pending.fleet) if each is not None}
        found: Counter[str] = Counter()
        for fleet in fleets.values():
            for variant in fleet.variants:
                found.update(_by_type(fleet.config, {variant.name: variant.desired}))
        if pending is not None and pending.fleet is None:
            found.update(_by_type(pending.config, {each.name: each.desired for each in pending.records}))
        elif not fleets and self.status == "Creating":
            found.update(self.wanted())
        return found

    # --- what is changed

    def deploy(self) -> None:
        """Bring the first fleet into service."""
        records = deployment.wanted(self.config, (), ())
        self._pending = pending = Pending(self.config, records)

        def work() -> None:
            self._next = pending.fleet = fleet = Fleet(self.aws, self.name, self.config)
            for variant in fleet.variants:
                variant.status = progress.launching(variant.desired)
            fleet.start()
            self.fleet, self._next = fleet, None

        self._run(work, lambda: "Failed")

    def update(
        self,
        config: dict[str, Any],
        *,
        keep: Collection[str] = (),
        deployment_config: dict[str, Any] | None = None,
        retain_deployment_config: bool = False,
    ) -> None:
        """UpdateEndpoint: the fleet of another configuration takes over as the deployment configuration asks for.

        `keep` names what the variants retain: DesiredInstanceCount, DesiredWeight. `retain_deployment_config` stands
        for the last `deployment_config`. Raises AwsError for one that AWS refuses, and while it cannot be changed.
        """
        self._check(UPDATABLE)
        if retain_deployment_config:
            deployment_config = deployment.retained(self.name, self.deployment_config, deployment_config)
        fleet = self.fleet
        assert fleet is not None
        before = self._variants()
        records = deployment.wanted(config, before, keep)
        counts = {each.name: each.desired for each in records}
        plan = deployment.plan(deployment_config, counts, {each.name: each.desired for each in before})
        if deployment_config is not None:
            deployment.check_names(counts, [each.name for each in before])
        for unknown in self.aws.metrics.unknown_alarms(plan.alarms):
            raise validation(
                f"DeploymentConfig names the alarm {unknown} in AutoRollbackConfiguration, which does not exist: the "
                "local AWS takes no deployment whose guard could never act."
            )
        # A rolling update has one batch more than there were, a blue/green one a second fleet.
        self.admit(_by_type(config, plan.steps[0].new if plan.rolling else counts))
        self._begin("Updating", UPDATABLE, updating=before)
        if deployment_config is not None:
            self.deployment_config = deployment_config
        self._pending = pending = Pending(config, records)

        def work() -> None:
            self._end_mix(fleet)
            new = Fleet(self.aws, self.name, config)
            new.adopt(records)
            pending.fleet = new
            rollout = Rollout(
                plan, fleet, new, self.aws.clock, self.aws.metrics.in_alarm, lambda share: self._route(new, share),
                self._progressed, self._gone,
            )  # fmt: skip
            try:
                rollout.run()
            except Ended:
                raise
            except Exception as error:
                self._turn_back()
                self._roll_back(rollout, error)
                raise
            rollout.finish()
            self.fleet, self._next, self.config = new, None, config

        self._run(work, lambda: "InService")

    def change(self, wanted: Wanted) -> None:
        """UpdateEndpointWeightsAndCapacities. Raises AwsError for an unknown variant or while it cannot be changed."""
        fleet = self.fleet
        for name, (count, _) in wanted.items():
            if fleet is not None and fleet.variant(name) is None:
                raise validation(f'The variant name(s) "{name}" is/are not present within endpoint configuration.')
            if count is not None and count < 1:
                raise validation(f"The instance count of variant {name} must be at least 1, not {count}.")
        self._check(("InService",))
        assert fleet is not None
        before: dict[str, int] = {each.name: each.desired for each in fleet.variants}
        more = {name: (count or 0) - before[name] for name, (count, _) in wanted.items()}
        self.admit(_by_type(self.config, {name: count for name, count in more.items() if count > 0}))
        self._begin("Updating", ("InService",))
        for name, (count, weight) in wanted.items():
            variant = fleet.variant(name)
            variant.desired = before[name] if count is None else count
            variant.desired_weight = variant.weight if weight is None else weight
            if variant.desired > before[name]:
                variant.status = progress.scaling_out(variant.desired)
            elif variant.desired < before[name]:
                variant.status = progress.terminating(before[name] - variant.desired)

        def work() -> None:
            try:
                for name in wanted:
                    variant = fleet.variant(name)
                    variant.scale(variant.desired)
                    variant.weight = variant.desired_weight
            except (StartFailed, OSError):
                self._turn_back()
                for name in wanted:
                    variant = fleet.variant(name)
                    variant.desired, variant.desired_weight = before[name], variant.weight
                raise

        self._run(work, lambda: "InService")

    def delete(self, forget: Callable[[Endpoint], None]) -> None:
        """Answer no further call, drain, stop; then `forget`. Raises AwsError while it is created or updated."""
        self._begin("Deleting", ("InService", "Failed", "OutOfService", ROLLBACK_FAILED))
        fleets = [each for each in (self.fleet, self._next) if each is not None]
        self.fleet = self._next = None

        def work() -> None:
            try:
                for fleet in fleets:
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
            if fleet and fleet.capture:
                fleet.capture.close()

    # --- inside

    def _progressed(self) -> None:
        self.aws.saver.changed()
        self.on_progress()

    def _turn_back(self) -> None:
        self.status = "RollingBack"
        self.on_state()

    def _variants(self) -> list[VariantRecord]:
        """As they were asked for. While there is no fleet to ask, or one that is changed without anybody having asked
        for it, as they were kept."""
        if self.fleet and not self._updating:
            return [each.record for each in self.fleet.variants]
        return self._kept if self._updating or self.status == "SystemUpdating" else []

    def _ended(self, status: str) -> None:
        if status != ROLLBACK_FAILED:
            self._next, self._share = None, 0.0
        for variant in self.fleet.variants if self.fleet else ():
            variant.status = None
        self._pending = None

    def _route(self, new: Fleet, share: float) -> None:
        """Send a share of the calls to another fleet.

        AWS: developer guide, "Auto-rollback configuration and monitoring": from the first of them on, metrics have the
        dimension EndpointConfigName as well.
        """
        if share > 0:
            self._measured_by_config = True
            for fleet in (self.fleet, new):
                if fleet is not None:
                    fleet.measured_by_config = True
        self._next, self._share = new, share

    def _roll_back(self, rollout: Rollout, error: Exception) -> None:
        try:
            rollout.roll_back()
        except (StartFailed, OSError) as second:
            why = f"alarm {error} is in ALARM" if isinstance(error, Tripped) else error
            raise Mixed(f"The update failed ({why}), and so did its way back: {second}") from second

    def _end_mix(self, fleet: Fleet) -> None:
        """One configuration again, where the way back of the last update had failed."""
        mixed = self._next
        if mixed is None:
            return
        try:
            for variant in fleet.variants:
                variant.scale(variant.desired)
        except (StartFailed, OSError) as error:
            raise Mixed(f"The way back of the update before has failed again: {error}") from error
        self._next, self._share = None, 0.0
        mixed.close()


def _by_type(config: Mapping[str, Any], counts: Mapping[str, int]) -> Counter[str]:
    """Counts of a configuration's variants as counts of instance types; a serverless variant has none."""
    found: Counter[str] = Counter()
    for variant in config["ProductionVariants"]:
        if variant["VariantName"] in counts and variant.get("InstanceType"):
            found[variant["InstanceType"]] += counts[variant["VariantName"]]
    return found
