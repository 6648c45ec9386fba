"""The attempts at a training on EC2: each goes on over interruptions, and ends when the training does."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from musher.costs import prices
from musher.names import attempt_names
from musher.record import Ec2Instance

FAILED = "failed"  # how an instance ended whose training did


def of(instances: Sequence[Ec2Instance], base: str, instance_type: str) -> list[dict[str, Any]]:
    """The attempts so far, described like SageMaker's training jobs: name, status, reason, billed seconds.

    Parameters: `instances` as history has them; `base` the name of the first attempt. `Instances` has those of each.
    """
    groups: list[list[Ec2Instance]] = [[]]
    for each in instances:
        groups[-1].append(each)
        if each.ended_by == FAILED:
            groups.append([])
    groups = [each for each in groups if each]
    names = islice(attempt_names(base), len(groups))
    return [
        {
            "TrainingJobName": name,
            "TrainingJobStatus": "Failed" if group[-1].ended_by == FAILED else "Completed",
            "FailureReason": group[-1].reason,
            "ResourceConfig": {"InstanceType": instance_type, "InstanceCount": 1},
            "BillableTimeInSeconds": round(sum(each.seconds or 0 for each in group), 2),
            "Instances": group,
        }
        for name, group in zip(names, groups, strict=True)
    ]


def cost(attempt: dict[str, Any], volume_gb: float) -> float:
    """What an attempt's instances cost together, in USD."""
    return prices.ec2_training_cost(attempt["Instances"], attempt["ResourceConfig"]["InstanceType"], volume_gb)
