"""EC2's images: the Deep Learning AMIs, which public SSM parameters name, and the 1,300 of Amazon's that moto lists.

Moto makes an image of each in its list, with a volume and a snapshot, as soon as EC2 of a region is asked anything: a
third of a second of CPU, and a quarter of one in each save of the state. Here each is made when it is asked about.

AWS: Deep Learning AMIs developer guide, release notes ("Query AMI-ID with SSM Parameter"). Image ids are this AWS's
own, a hash of the parameter's name; whatever the image, an instance runs this machine's system and the jobs' Python.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
from collections.abc import Iterable, Mapping
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


def teach_moto() -> None:
    """Let moto make no image by itself."""
    import moto.settings

    moto.settings.ec2_load_default_amis = lambda: False


def load_when_asked(account: str, region: str, operation: str, params: Mapping[str, Any]) -> None:
    """Make the images that a request for moto is about, or can be about."""
    if "Image" not in operation:
        return
    if operation != "DescribeImages":
        asked: Iterable[str] | None = [params[each] for each in ("ImageId", "SourceImageId") if params.get(each)]
    elif set(params.get("Owners") or ()) in ({"self"}, {account}):
        asked = ()
    else:
        filtered = (each.get("Values") or () for each in params.get("Filters") or () if each.get("Name") == "image-id")
        asked = params.get("ImageIds") or next(filtered, None)
    if asked is not None and not asked:
        return
    register(account, region)
    ec2, listed = record.backend(account, region), _listed(region)
    for identifier in listed if asked is None else set(asked) & listed.keys():
        if identifier not in ec2.amis and identifier not in ec2.deleted_amis:
            ec2.amis[identifier] = _made(ec2, listed[identifier])


def _made(ec2: Any, listed: dict[str, Any]) -> Any:
    """As moto makes one of its list."""
    from moto.core.parse import default_timestamp_parser
    from moto.ec2.models.amis import Ami

    created = listed.get("creation_date")
    moment = default_timestamp_parser(created) if isinstance(created, str) else created
    return Ami(ec2, **{**listed, "owner_alias": "amazon", "creation_date": moment})


@functools.cache
def _listed(region: str) -> dict[str, dict[str, Any]]:
    """Amazon's images in a region, as far as moto knows them, by their ids."""
    from moto.ec2.models.amis import AMIS
    from moto.utilities.utils import load_resource

    found = list(AMIS)
    for each in ("latest_amis", "ecs/optimized_amis"):
        try:
            found += load_resource(f"ec2/resources/{each}/{region}.json")
        except FileNotFoundError:  # a region that moto has no list of
            continue
    return {each["ami_id"]: each for each in found}


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
