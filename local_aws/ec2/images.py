"""The Deep Learning AMIs: public SSM parameters that name an image, and the images.

AWS: Deep Learning AMIs developer guide, release notes ("Query AMI-ID with SSM Parameter"). Image ids are this AWS's
own, a hash of the parameter's name; whatever the image, an instance runs this machine's system and the jobs' Python.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

from local_aws.ec2 import record

TREE = "/aws/service/deeplearning/ami/"
# Amazon's account for these images.
OWNER = "898082745236"
SYSTEMS = {
    "ubuntu-22.04": "Ubuntu 22.04",
    "ubuntu-24.04": "Ubuntu 24.04",
    "amazon-linux-2023": "Amazon Linux 2023",
}
PYTORCH = [
    ("2.6", "ubuntu-22.04"),
    ("2.7", "ubuntu-22.04"),
    ("2.7", "amazon-linux-2023"),
    ("2.8", "ubuntu-24.04"),
    ("2.10", "ubuntu-24.04"),
    ("2.12", "ubuntu-24.04"),
]
IMAGES = {
    f"{TREE}x86_64/base-oss-nvidia-driver-gpu-{system}/latest/ami-id": (
        f"Deep Learning Base OSS Nvidia Driver GPU AMI ({title})"
    )
    for system, title in SYSTEMS.items()
} | {
    f"{TREE}x86_64/oss-nvidia-driver-gpu-pytorch-{version}-{system}/latest/ami-id": (
        f"Deep Learning OSS Nvidia Driver AMI GPU PyTorch {version} ({SYSTEMS[system]})"
    )
    for version, system in PYTORCH
}
# An AMI's release date is no fact of this AWS; one for all, so that a name stays what it is.
RELEASED = dt.datetime(2026, 8, 1, tzinfo=dt.UTC)


def image_id(parameter: str, region: str) -> str:
    """The image that a public parameter names in a region."""
    return "ami-" + hashlib.sha256(f"{region}{parameter}".encode()).hexdigest()[:17]


def register(account: str, region: str) -> None:
    """Let moto know the images of a region, once."""
    from moto.ec2.models.amis import Ami

    ec2 = record.backend(account, region)
    for parameter, title in IMAGES.items():
        identifier = image_id(parameter, region)
        if identifier not in ec2.amis:
            ec2.amis[identifier] = Ami(
                ec2,
                identifier,
                name=f"{title} {RELEASED:%Y%m%d}",
                description=title,
                owner_id=OWNER,
                owner_alias="amazon",
                public=True,
                virtualization_type="hvm",
                architecture="x86_64",
                hypervisor="xen",
                image_location=f"amazon/{title} {RELEASED:%Y%m%d}",
                root_device_type="ebs",
                root_device_name="/dev/xvda" if "Amazon Linux" in title else "/dev/sda1",
                creation_date=RELEASED.replace(tzinfo=None),
                region_name=f"{region}a",
            )


def parameter(name: str, region: str) -> dict[str, Any] | None:
    """GetParameter's answer for a public parameter of the Deep Learning AMIs; None when there is no such parameter."""
    if name not in IMAGES:
        return None
    return {
        "Name": name,
        "Type": "String",
        "Value": image_id(name, region),
        "Version": 1,
        "LastModifiedDate": RELEASED,
        "ARN": f"arn:aws:ssm:{region}::parameter{name}",
        "DataType": "aws:ec2:image",
    }
