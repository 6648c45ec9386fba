"""What Application Auto Scaling does with the caller's own permissions.

Sources: Application Auto Scaling user guide, "Identity-based policy examples" (permissions on target services) and
"Service-linked roles"; SageMaker developer guide, "Auto scaling prerequisites".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from local_aws.iam.asked import NO_KEYS, Call, Question
from local_aws.scaling import roles

# By service namespace: what a target's id names, the ARN of that, and what registering it asks for.
REGISTERING = {
    "sagemaker": (
        re.compile(r"endpoint/([^/]+)/variant/[^/]+"), "endpoint/{}",
        ("sagemaker:DescribeEndpoint", "sagemaker:UpdateEndpointWeightsAndCapacities"),
    ),
    "lambda": (
        re.compile(r"function:(.+)"), "function:{}",
        ("lambda:GetProvisionedConcurrencyConfig", "lambda:PutProvisionedConcurrencyConfig",
         "lambda:DeleteProvisionedConcurrencyConfig"),
    ),
}  # fmt: skip


def asked(call: Call, needed: tuple[str, ...]) -> Iterator[Question]:
    """A scalable target's id is AWS's own; the rest is about what it scales, and about its alarms."""
    params, start = call.params, f"arn:aws:application-autoscaling:{call.region}:{call.account}"
    for action in needed:
        yield Question(action, f"{start}:scalable-target/*", NO_KEYS)
    namespace, target = params.get("ServiceNamespace"), params.get("ResourceId") or ""
    if namespace not in REGISTERING:
        return
    pattern, resource, actions = REGISTERING[namespace]
    named = pattern.fullmatch(target)
    if named is None:
        return
    alarms = f"arn:aws:cloudwatch:{call.region}:{call.account}:alarm:"
    if call.operation == "RegisterScalableTarget":
        for action in actions:
            arn = f"arn:aws:{namespace}:{call.region}:{call.account}:{resource.format(named[1])}"
            yield Question(action, arn, NO_KEYS)
        if not roles.is_there(namespace, call.account):
            keys = {"iam:awsservicename": (roles.principal(namespace),)}
            yield Question("iam:CreateServiceLinkedRole", roles.arn(namespace, call.account), keys)
    elif call.operation == "PutScalingPolicy":
        yield Question("cloudwatch:PutMetricAlarm", f"{alarms}TargetTracking-{target}-*", NO_KEYS)
        yield Question("cloudwatch:DescribeAlarms", f"{alarms}*", NO_KEYS)
    else:
        yield Question("cloudwatch:DeleteAlarms", f"{alarms}TargetTracking-{target}-*", NO_KEYS)
