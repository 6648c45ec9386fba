"""Application Auto Scaling of SageMaker's endpoint variants: policies that really change instance counts.

Every AWS minute the two alarms of a policy are judged, as AWS does it: three datapoints above the target scale out,
fifteen below 90 % of it scale in, `ceil(instances x metric / target)` instances are asked for, and cool-downs (300 s
each way when unset) run in AWS minutes. A scale-out interrupts a scale-in cool-down.

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
import hashlib
import math
import re
import threading
import uuid
from typing import Any

from local_aws import alarm_actions, instance_types
from local_aws.alarms import Alarm
from local_aws.endpoints import steps
from local_aws.endpoints.endpoint import Endpoint
from local_aws.endpoints.scaling import CONFIGURATIONS, DIMENSION, Policy, Target, metric_of
from local_aws.errors import AwsError, validation
from local_aws.services.base import Call, Service, page
from local_aws.services.sagemaker_endpoints import SageMakerEndpoints

RESOURCE = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")
HIGH_DATAPOINTS, LOW_DATAPOINTS, LOW_SHARE = 3, 15, 0.9
DEFAULT_COOLDOWN = 300
KEPT_ACTIVITIES = 200


class ApplicationAutoScaling(Service):
    """Scalable targets, policies and activities of endpoint variants."""

    name = "application-autoscaling"

    def __init__(self, aws) -> None:
        super().__init__(aws)
        self._targets: dict[str, Target] = {}
        self._policies: dict[tuple[str, str], Policy] = {}
        self._activities: list[dict[str, Any]] = []
        self._lock = threading.RLock()

    def start(self) -> None:
        self._endpoints.refuses_update.append(self._refusal_of_update)

    def remember(self) -> dict[str, Any]:
        return {"targets": self._targets, "policies": self._policies, "activities": self._activities}

    def restore(self, kept: dict[str, Any], saved_at: dt.datetime) -> None:
        self._targets, self._policies, self._activities = kept["targets"], kept["policies"], kept["activities"]
        for policy in self._policies.values():
            if policy.by_steps:
                continue
            # An AWS minute may last longer or shorter now.
            scale = self._scale_of(metric_of(self._targets[policy.resource], policy.settings))
            for alarm in policy.alarms:
                alarm.scale = scale

    @property
    def _endpoints(self) -> SageMakerEndpoints:
        return self.aws.service(SageMakerEndpoints)

    # --- scalable targets

    def register_scalable_target(self, call: Call) -> dict[str, Any]:
        resource = self.resource_of(call)
        endpoint_name, variant_name = RESOURCE.fullmatch(resource).groups()
        with self._lock:
            old = self._targets.get(resource)
            low = call.params.get("MinCapacity", old.low if old else None)
            high = call.params.get("MaxCapacity", old.high if old else None)
            if low is None or high is None:
                raise validation("Both MinCapacity and MaxCapacity must be given when a scalable target is registered.")
            if low > high:
                raise validation(
                    f"Maximum capacity cannot be less than minimum capacity: MinCapacity is {low}, MaxCapacity {high}."
                )
            if low < 1:
                raise validation(f"The minimum capacity of a SageMaker variant must be at least 1, not {low}.")
            variant = self._variant(endpoint_name, variant_name)
            if variant is None:
                raise validation(f"SageMaker endpoint or variant doesn't exist: {resource}")
            instance_type = variant.config.get("InstanceType", "")
            if instance_types.is_burstable(instance_type):
                raise validation(
                    f"The instance type {instance_type} of {resource} is burstable: automatic scaling is not supported "
                    "for burstable instance types such as T2 and T3."
                )
            role = call.params.get("RoleARN") or (
                f"arn:aws:iam::{self.aws.account}:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
                "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
            )
            suspended = dict.fromkeys(
                ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended"), False
            )
            suspended |= (old.suspended if old else {}) | (call.params.get("SuspendedState") or {})
            if old is not None:
                old.low, old.high, old.suspended, old.role = low, high, suspended, role
                return {"ScalableTargetARN": old.arn}
            arn = call.arn(f"scalable-target/{digest(resource)}")
            self._targets[resource] = Target(resource, endpoint_name, variant_name, low, high, role, arn, suspended)
            return {"ScalableTargetARN": arn}

    def deregister_scalable_target(self, call: Call) -> None:
        resource = self.resource_of(call)
        with self._lock:
            self.target(resource)
            self._drop(resource)

    def describe_scalable_targets(self, call: Call) -> dict[str, Any]:
        wanted = call.params.get("ResourceIds")
        found = [each.describe() for each in self._targets.values() if not wanted or each.resource in wanted]
        return page(self._mine(found, call), call, key="ScalableTargets", default=50)

    # --- policies

    def put_scaling_policy(self, call: Call) -> dict[str, Any]:
        resource, name = self.resource_of(call), call.params["PolicyName"]
        by_steps, settings = self._settings(call)
        with self._lock:
            target = self.target(resource)
            old = self._policies.get((resource, name))
            if old is not None:
                self._drop_policy(old)
            arn = old.arn if old else call.arn(
                f"scalingPolicy:{uuid.uuid4()}:resource/sagemaker/{resource}:policyName/{name}", service="autoscaling"
            )  # fmt: skip
            alarms = [] if by_steps else self._make_alarms(target, name, settings)
            policy = Policy(name, arn, resource, settings, alarms)
            self._policies[resource, name] = policy
            return {"PolicyARN": arn, "Alarms": policy.alarm_list()}

    @staticmethod
    def _settings(call: Call) -> tuple[bool, dict[str, Any]]:
        """Whether a policy is one of steps, and its configuration. Raises AwsError for one that makes no sense."""
        given = CONFIGURATIONS[True] in call.params
        kind = call.params.get("PolicyType", "StepScaling" if given else "TargetTrackingScaling")
        if kind not in ("StepScaling", "TargetTrackingScaling"):
            raise validation(f"The local AWS supports StepScaling and TargetTrackingScaling, not {kind}.")
        by_steps = kind == "StepScaling"
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
        return page(self._mine(found, call), call, key="ScalingPolicies", default=50)

    def delete_scaling_policy(self, call: Call) -> None:
        resource, name = self.resource_of(call), call.params["PolicyName"]
        with self._lock:
            policy = self._policies.get((resource, name))
            if policy is None:
                raise AwsError(
                    "ObjectNotFoundException",
                    f"No scaling policy {name} found for service namespace: sagemaker, resource ID: {resource}, "
                    f"scalable dimension: {DIMENSION}",
                )
            self._drop_policy(policy)

    def describe_scaling_activities(self, call: Call) -> dict[str, Any]:
        newest_first = self._activities[::-1]
        return page(self._mine(newest_first, call), call, key="ScalingActivities", default=50)

    # --- what happens every minute

    def every_minute(self, now: float) -> None:
        with self._lock:
            for target in list(self._targets.values()):
                endpoint = self._endpoints.find(target.endpoint)
                if endpoint is None:
                    # AWS forgets a target some time after its resource is gone.
                    self._drop(target.resource)
                elif endpoint.status not in ("Updating", "Creating", "RollingBack", "SystemUpdating"):
                    self._finish(target, endpoint)
                    if endpoint.status == "InService":
                        self._scale(target, endpoint, now)

    def _scale(self, target: Target, endpoint: Endpoint, now: float) -> None:
        variant = self._variant(target.endpoint, target.variant)
        if variant is None:
            return
        current = variant.desired
        if not target.low <= current <= target.high:
            bound = min(max(current, target.low), target.high)
            self._apply(target, current, bound, "the capacity is outside of the minimum and maximum", now)
            return
        policies = [each for each in self._policies.values() if each.resource == target.resource and not each.by_steps]
        stepped = self._stepped(target, current, now)
        out = [(self._outwards(target, policy, current, now), _cause(policy, policy.alarms[0])) for policy in policies]
        desired, cause = max([*out, *stepped], key=lambda each: each[0], default=(current, ""))
        if desired > current:
            self._apply(target, current, desired, cause, now)
            return
        # Several scale in only when each that tracks a target wants to, to the largest that one wants.
        wanted = [
            (self._inwards(target, policy, current, now), _cause(policy, policy.alarms[1])) for policy in policies
        ]
        desired, cause = max([*wanted, *stepped], key=lambda each: each[0], default=(current, ""))
        if desired < current:
            self._apply(target, current, desired, cause, now)

    def _stepped(self, target: Target, current: int, now: float) -> list[tuple[int, str]]:
        """The capacities that policies of steps want now, with why; within bounds, and after cool-downs."""
        found = []
        by_arn = {each.arn: each for each in self._policies.values() if each.resource == target.resource}
        for alarm in self.aws.metrics.alarms():
            value = next((each for each in alarm.values if each is not None), None)
            for arn in alarm_actions.of(alarm):
                policy = by_arn.get(arn)
                if policy is None or value is None:
                    continue
                breach = value - alarm.settings["Threshold"]
                wanted = self._step(target, policy, current, breach, now)
                if wanted != current:
                    alarm.record("Action", f"Successfully executed action {arn}", {"notificationResource": arn})
                    found.append((wanted, _cause(policy, alarm)))
        return found

    def _step(self, target: Target, policy: Policy, current: int, breach: float, now: float) -> int:
        cooldown = self._cooldown(policy, "Cooldown")
        base = min(current, target.before_scale_out) if now < target.scaled_out_at + cooldown else current
        wanted = min(max(steps.changed(policy.settings, base, breach), target.low), target.high)
        if wanted < current:
            cooling = now < max(target.scaled_in_at, target.scaled_out_at) + cooldown
            return current if cooling or target.suspended["DynamicScalingInSuspended"] else wanted
        return current if target.suspended["DynamicScalingOutSuspended"] else wanted

    def _outwards(self, target: Target, policy: Policy, current: int, now: float) -> int:
        high = policy.alarms[0]
        value = high.values[0] if high.values else None
        if high.state != "ALARM" or value is None or target.suspended["DynamicScalingOutSuspended"]:
            return current
        base = current
        if now < target.scaled_out_at + self._cooldown(policy, "ScaleOutCooldown"):
            # What the last scale-out added counts as part of what is wanted now: only a larger want goes on.
            base = min(current, target.before_scale_out)
        return max(current, min(target.high, math.ceil(base * value / policy.target_value - 1e-9)))

    def _inwards(self, target: Target, policy: Policy, current: int, now: float) -> int:
        low = policy.alarms[1]
        cooling = now < max(
            target.scaled_in_at + self._cooldown(policy, "ScaleInCooldown"),
            target.scaled_out_at + self._cooldown(policy, "ScaleOutCooldown"),
        )
        blocked = cooling or policy.settings.get("DisableScaleIn") or target.suspended["DynamicScalingInSuspended"]
        if low.state != "ALARM" or blocked:
            return current
        # The busiest of the fifteen minutes, so that one quiet minute does not take away what the others needed.
        value = max(each for each in low.values if each is not None)
        return max(target.low, min(current, math.ceil(current * value / policy.target_value - 1e-9)))

    def _apply(self, target: Target, current: int, desired: int, cause: str, now: float) -> None:
        done = f"Successfully set desired instance count to {desired}."
        activity = {
            "ActivityId": str(uuid.uuid4()), "ServiceNamespace": "sagemaker", "ResourceId": target.resource,
            "ScalableDimension": DIMENSION, "Description": f"Setting desired instance count to {desired}.",
            "Cause": cause, "StartTime": dt.datetime.now(dt.UTC), "StatusCode": "InProgress",
            "StatusMessage": f"{done} Waiting for change to be fulfilled by sagemaker.",
        }  # fmt: skip
        try:
            self._endpoints.set_capacity(target.endpoint, target.variant, desired)
        except AwsError as error:
            # As in the SageMaker developer guide, "Query scaling activities".
            failed = f"Failed to set desired instance count to {desired}. Reason: {error.message} (Service: "
            failed += f"AmazonSageMaker; Status Code: {error.status}; Error Code: {error.code})"
            activity |= {"StatusCode": "Failed", "StatusMessage": failed, "EndTime": dt.datetime.now(dt.UTC)}
        else:
            target.activity = activity
            if desired > current:
                target.scaled_out_at, target.before_scale_out, target.scaled_in_at = now, current, 0.0
            else:
                target.scaled_in_at = now
        self._activities.append(activity)
        del self._activities[:-KEPT_ACTIVITIES]

    def _finish(self, target: Target, endpoint: Endpoint) -> None:
        """Close the activity whose change the endpoint has just ended."""
        activity, target.activity = target.activity, None
        if activity is None:
            return
        activity["EndTime"] = dt.datetime.now(dt.UTC)
        if endpoint.failure:
            activity |= {"StatusCode": "Failed", "StatusMessage": endpoint.failure}
        else:
            done = activity["StatusMessage"].split(".")[0]
            activity |= {
                "StatusCode": "Successful",
                "StatusMessage": f"{done}. Change successfully fulfilled by sagemaker.",
            }

    # --- inside

    def _make_alarms(self, target: Target, policy: str, settings: dict[str, Any]) -> list[Alarm]:
        metric = metric_of(target, settings)
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

    def _cooldown(self, policy: Policy, name: str) -> float:
        return self.aws.clock.real(policy.settings.get(name, DEFAULT_COOLDOWN))

    def _variant(self, endpoint: str, variant: str):
        found = self._endpoints.find(endpoint)
        return found.fleet.variant(variant) if found and found.fleet else None

    def resource_of(self, call: Call) -> str:
        """The variant that a call is about. Raises AwsError for what is none."""
        params = call.params
        if params["ServiceNamespace"] != "sagemaker" or params["ScalableDimension"] != DIMENSION:
            raise validation(
                f"The local AWS scales sagemaker's {DIMENSION}, "
                f"not {params['ServiceNamespace']}'s {params['ScalableDimension']}."
            )
        if not RESOURCE.fullmatch(params["ResourceId"]):
            raise validation(
                "Unsupported service namespace, resource type or scalable dimension: "
                f"the resource ID {params['ResourceId']!r} must look like endpoint/NAME/variant/NAME."
            )
        return params["ResourceId"]

    def find_target(self, resource: str) -> Target | None:
        return self._targets.get(resource)

    def has_policy(self, arn: str) -> bool:
        """Whether there is a policy of steps with this ARN, which an alarm may have as an action."""
        return any(each.arn == arn and each.by_steps for each in list(self._policies.values()))

    def target(self, resource: str) -> Target:
        """A registered target. Raises AwsError("ObjectNotFoundException")."""
        if resource not in self._targets:
            raise AwsError(
                "ObjectNotFoundException",
                f"No scalable target registered for service namespace: sagemaker, resource ID: {resource}, "
                f"scalable dimension: {DIMENSION}",
            )
        return self._targets[resource]

    def _drop(self, resource: str) -> None:
        for policy in [each for each in self._policies.values() if each.resource == resource]:
            self._drop_policy(policy)
        self._targets.pop(resource, None)

    def _drop_policy(self, policy: Policy) -> None:
        for alarm in policy.alarms:
            self.aws.metrics.remove_alarm(alarm.name)
        self._policies.pop((policy.resource, policy.name), None)

    @staticmethod
    def _mine(items: list[dict[str, Any]], call: Call) -> list[dict[str, Any]]:
        wanted = {name: call.params.get(name) for name in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
        return [item for item in items if all(value in (None, item[name]) for name, value in wanted.items())]

    def _refusal_of_update(self, endpoint: Endpoint, config: dict[str, Any]) -> str | None:
        for target in self._targets.values():
            variant = self._variant(target.endpoint, target.variant) if target.endpoint == endpoint.name else None
            if variant is None:
                continue
            new = next((each for each in config["ProductionVariants"] if each["VariantName"] == variant.name), None)
            if new is None or new.get("InstanceType") != variant.config.get("InstanceType"):
                return (
                    f"The variant {variant.name} of endpoint {endpoint.name} is registered as a scalable target: "
                    "deregister it from Application Auto Scaling before its instance type is changed or it is removed."
                )
        return None


def _cause(policy: Policy, alarm: Alarm) -> str:
    return f"monitor alarm {alarm.name} in state ALARM triggered policy {policy.name}"


def digest(text: str) -> str:
    """What AWS has as a random identity in its ARNs, the same each time."""
    return hashlib.sha256(text.encode()).hexdigest()[:34]
