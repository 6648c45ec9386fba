"""Instance types: how large they are, and what share of this machine one gets.

Which types exist is botocore's own model (the enums of CreateTrainingJob and CreateEndpointConfig), so it is never
older than the SDK. Sizes follow AWS's naming (EC2 user guide, "Instance type names").
"""

from __future__ import annotations

import os

VCPUS = {"nano": 1, "micro": 1, "small": 1, "medium": 2, "large": 2, "xlarge": 4}


def vcpus(instance_type: str) -> int:
    """vCPUs of an instance type such as `ml.m5.2xlarge`."""
    size = instance_type.rsplit(".", 1)[-1]
    if size in VCPUS:
        return VCPUS[size]
    factor = size.removesuffix("xlarge")
    return 4 * int(factor) if factor.isdigit() else 64


def threads(instance_type: str) -> int:
    """How many of this machine's cores one instance may use: one up to 4 vCPUs, then one for each further 4.

    A fixed share, so that two instances really are more than one, and one instance cannot take the whole machine.
    """
    return max(1, min(vcpus(instance_type) // 4, os.cpu_count() or 1))


def is_burstable(instance_type: str) -> bool:
    """Burstable types (t2, t3, t3a, t4g): they cannot scale automatically on SageMaker."""
    return instance_type.removeprefix("ml.").split(".")[0] in {"t2", "t3", "t3a", "t4g"}
