"""Application Auto Scaling: policies that really change how many instances an endpoint's variant has, and how many
environments of a function are provisioned.

Every AWS minute the two alarms of a policy are judged, as AWS does it: three datapoints above the target scale out,
fifteen below 90 % of it scale in, `ceil(capacity x metric / target)` is asked for, and cool-downs run in AWS minutes
(unset, 300 s each way for variants and none for functions). A scale-out interrupts a scale-in cool-down.

Three deviations, each for a reason:

- With an AWS minute shorter than 60 s, calls at a real rate R give only R x (the minute's real seconds) calls a period.
  A sum per minute is therefore extrapolated to 60 s (x `clock.speed`) before it is compared with the target. The data
  in CloudWatch stay what was really counted.
- An idle variant gets zeros (`SageMakerEndpoints.every_minute`), so that it scales in. AWS emits nothing without calls.
- All alarms are judged once a minute, those with ten-second periods too.

Step scaling is for any alarm that names a policy among its actions: as long as it is in that state, the steps are taken
once a minute, by its newest datapoint, which is not extrapolated.
"""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections.abc import Iterable
from typing import Any

from local_aws.alarms import Alarm
from local_aws.endpoints.scaling import Variants
from local_aws.errors import AwsError, validation
from local_aws.functions.scaling import ProvisionedConcurrency
from local_aws.scaling import activities, roles, steps
from local_aws.scaling.deciding import Moment
from local_aws.scaling.kinds import Scalable
from local_aws.scaling.records import CONFIGURATIONS, Policy, Target
from local_aws.scaling.requests import check_bounds, digest, mine, not_found
from local_aws.services.base import Call, Service, page

HIGH_DATAPOINTS, LOW_DATAPOINTS, LOW_SHARE = 3, 15, 0.9
KEPT_ACTIVITIES = 200


class ApplicationAutoScaling(Service):
    """Scalable targets, policies and activities."""

    name = "application-autoscaling"

    def __init__(self, aws) -> None:
        super().__init__(aws)
        self._kinds: dict[str, Scalable] = {kind.namespace: kind(aws) for kind in (Variants, ProvisionedConcurrency)}
        # By resource, whose id says of which kind it is.
        self._targets: dict[str, Target] = {}
        self._policies: dict[tuple[str, str], Policy] = {}
        self._activities: list[dict[str, Any]] = []
        self._lock = threading.RLock()

    def start(self) -> None:
        for kind in self._kinds.values():
            kind.watch(lambda namespace=kind.namespace: self._registered(namespace))

    def _registered(self, namespace: str) -> Iterable[str]:
        return [each.resource for each in list(self._targets.values()) if each.namespace == namespace]

    def remember(self) -> dict[str, Any]:
        return {"targets": self._targets, "policies": self._policies, "activities": self._activities}

    def restore(self, kept: dict[str, Any], saved_at: dt.datetime) -> None:
        self._targets, self._policies, self._activities = kept["targets"], kept["policies"], kept["activities"]
        for policy in self._policies.values():
            if policy.by_steps:
                continue
            # An AWS minute may last longer or shorter now.
            scale = self._scale_of(self.kind(policy.target).metric(policy.target.resource, policy.settings))
            for alarm in policy.alarms:
                alarm.scale = scale

    # --- scalable targets

    def register_scalable_target(self, call: Call) -> dict[str, Any]:
        kind, resource = self.resource_of(call)
        with self._lock:
            old = self._targets.get(resource)
            low = call.params.get("MinCapacity", old.low if old else None)
            high = call.params.get("MaxCapacity", old.high if old else None)
            if low is None or high is None:
                raise validation("Both MinCapacity and MaxCapacity must be given when a scalable target is registered.")
            check_bounds(kind, low, high)
            kind.check(resource)
            role = call.params.get("RoleARN") or roles.arn(kind.namespace, self.aws.account)
            suspended = dict.fromkeys(
                ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended"), False
            )
            suspended |= (old.suspended if old else {}) | (call.params.get("SuspendedState") or {})
            roles.make(kind.namespace, self.aws.account)
            if old is not None:
                old.low, old.high, old.suspended, old.role = low, high, suspended, role
                return {"ScalableTargetARN": old.arn}
            arn = call.arn(f"scalable-target/{digest(resource)}")
            self._targets[resource] = Target(kind.namespace, kind.dimension, resource, low, high, role, arn, suspended)
            return {"ScalableTargetARN": arn}

    def deregister_scalable_target(self, call: Call) -> None:
        with self._lock:
            self._drop(self.target(call))

    def describe_scalable_targets(self, call: Call) -> dict[str, Any]:
        wanted = call.params.get("ResourceIds")
        found = [each.describe() for each in self._targets.values() if not wanted or each.resource in wanted]
        return page(mine(found, call), call, key="ScalableTargets", default=50)

    # --- policies

    def put_scaling_policy(self, call: Call) -> dict[str, Any]:
        kind, resource = self.resource_of(call)
        name = call.params["PolicyName"]
        by_steps, settings = self._settings(call, kind)
        with self._lock:
            target = self.target(call)
            old = self._policies.get((resource, name))
            if old is not None:
                self._drop_policy(old)
            arn = old.arn if old else call.arn(
                f"scalingPolicy:{uuid.uuid4()}:resource/{kind.namespace}/{resource}:policyName/{name}",
                service="autoscaling",
            )  # fmt: skip
            alarms = [] if by_steps else self._make_alarms(target, name, settings)
            policy = Policy(name, arn, target, settings, alarms)
            self._policies[resource, name] = policy
            return {"PolicyARN": arn, "Alarms": policy.alarm_list()}

    @staticmethod
    def _settings(call: Call, of: Scalable) -> tuple[bool, dict[str, Any]]:
        """Whether a policy is one of steps, and its configuration. Raises AwsError for one that makes no sense."""
        given = CONFIGURATIONS[True] in call.params
        kind = call.params.get("PolicyType", "StepScaling" if given else "TargetTrackingScaling")
        if kind not in ("StepScaling", "TargetTrackingScaling"):
            raise validation(f"The local AWS supports StepScaling and TargetTrackingScaling, not {kind}.")
        by_steps = kind == "StepScaling"
        if by_steps and not of.has_steps:
            raise validation(f"Step scaling is not supported for {of.what}: PolicyType must be TargetTrackingScaling.")
        settings, other = (call.params.get(CONFIGURATIONS[each]) for each in (by_steps, not by_steps))
        if settings is None or other is not None:
            raise validation(
                f"A policy of the PolicyType {kind} must have a {CONFIGURATIONS[by_steps]}, and no other one."
            )
        if by_steps:
            steps.check(settings)
        elif settings["TargetValue"] <= 0:
            raise validation(f"TargetValue must be greater than 0, not {settings['TargetValue']}.")
        return by_steps, settings

    def describe_scaling_policies(self, call: Call) -> dict[str, Any]:
        names = call.params.get("PolicyNames")
        found = [each.describe() for each in self._policies.values() if not names or each.name in names]
        return page(mine(found, call), call, key="ScalingPolicies", default=50)

    def delete_scaling_policy(self, call: Call) -> None:
        kind, resource = self.resource_of(call)
        name = call.params["PolicyName"]
        with self._lock:
            policy = self._policies.get((resource, name))
            if policy is None:
                raise not_found(f"No scaling policy {name} found", kind, resource)
            self._drop_policy(policy)

    def describe_scaling_activities(self, call: Call) -> dict[str, Any]:
        newest_first = self._activities[::-1]
        return page(mine(newest_first, call), call, key="ScalingActivities", default=50)

    # --- what happens every minute

    def every_minute(self, now: float) -> None:
        with self._lock:
            for target in list(self._targets.values()):
                kind = self.kind(target)
                state = kind.state(target.resource)
                if state is None:
                    # AWS forgets a target some time after its resource is gone.
                    self._drop(target)
                    continue
                if state.changing:
                    continue
                if target.activity is not None:
                    activities.end(kind, target.activity, state)
                    target.activity = None
                if state.capacity is not None:
                    self._scale(kind, target, state.capacity, now)

    def _scale(self, kind: Scalable, target: Target, current: int, now: float) -> None:
        def cooldown(policy: Policy, name: str) -> float:
            return self.aws.clock.real(policy.settings.get(name, kind.cooldown))

        policies = [each for each in self._policies.values() if each.target is target]
        desired, cause = Moment(target, current, now, cooldown).wanted(policies, self.aws.metrics.alarms())
        if desired == current:
            return
        activity = activities.begin(kind, target, desired, cause)
        try:
            kind.scale(target.resource, desired)
        except AwsError as error:
            activities.refused(kind, activity, desired, error)
        else:
            target.activity = activity
            if desired > current:
                target.scaled_out_at, target.before_scale_out, target.scaled_in_at = now, current, 0.0
            else:
                target.scaled_in_at = now
        self._activities.append(activity)
        del self._activities[:-KEPT_ACTIVITIES]
        self.aws.saver.changed()

    # --- inside

    def _make_alarms(self, target: Target, policy: str, settings: dict[str, Any]) -> list[Alarm]:
        metric = self.kind(target).metric(target.resource, settings)
        scale = self._scale_of(metric)
        alarms = []
        for side, comparison, periods, threshold in (
            ("High", "GreaterThanThreshold", HIGH_DATAPOINTS, settings["TargetValue"]),
            ("Low", "LessThanThreshold", LOW_DATAPOINTS, settings["TargetValue"] * LOW_SHARE),
        ):
            identity = uuid.uuid5(uuid.NAMESPACE_URL, f"{target.resource}/{policy}/{side}/{uuid.uuid4()}")
            name = f"TargetTracking-{target.resource}-Alarm{side}-{identity}"
            alarms.append(
                self.aws.metrics.put_alarm(
                    name,
                    metric
                    | {
                        "AlarmDescription": f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy}.",
                        "ActionsEnabled": True, "ComparisonOperator": comparison, "EvaluationPeriods": periods,
                        "Threshold": threshold,
                    },
                    scale,
                )
            )  # fmt: skip
        return alarms

    def _scale_of(self, metric: dict[str, Any]) -> float:
        return self.aws.clock.speed if metric.pop("sum") else 1.0

    def kind(self, target: Target) -> Scalable:
        return self._kinds[target.namespace]

    def resource_of(self, call: Call) -> tuple[Scalable, str]:
        """The kind and the resource that a call is about. Raises AwsError for what cannot be scaled."""
        params = call.params
        kind = self._kinds.get(params["ServiceNamespace"])
        if kind is None or params["ScalableDimension"] != kind.dimension:
            known = " and ".join(f"{each.namespace}'s {each.dimension}" for each in self._kinds.values())
            raise validation(
                f"The local AWS scales {known}, not {params['ServiceNamespace']}'s {params['ScalableDimension']}."
            )
        if not kind.pattern.fullmatch(params["ResourceId"]):
            raise validation(
                "Unsupported service namespace, resource type or scalable dimension: "
                f"the resource ID {params['ResourceId']!r} must look like {kind.form}."
            )
        return kind, params["ResourceId"]

    def has_policy(self, arn: str) -> bool:
        """Whether there is a policy of steps with this ARN, which an alarm may have as an action."""
        return any(each.arn == arn and each.by_steps for each in list(self._policies.values()))

    def find_target(self, resource: str) -> Target | None:
        return self._targets.get(resource)

    def target(self, call: Call) -> Target:
        """The registered target that a call is about. Raises AwsError("ObjectNotFoundException")."""
        kind, resource = self.resource_of(call)
        if resource not in self._targets:
            raise not_found("No scalable target registered", kind, resource)
        return self._targets[resource]

    def _drop(self, target: Target) -> None:
        for policy in [each for each in self._policies.values() if each.target is target]:
            self._drop_policy(policy)
        self._targets.pop(target.resource, None)

    def _drop_policy(self, policy: Policy) -> None:
        for alarm in policy.alarms:
            self.aws.metrics.remove_alarm(alarm.name)
        self._policies.pop((policy.target.resource, policy.name), None)
