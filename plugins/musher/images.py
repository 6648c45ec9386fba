"""AWS's PyTorch images: which one a job or an endpoint runs in, from the dated table in images.json.

The table has every version that AWS lists, because an account may name another one than the one used here (the
Variable `musher`, fields `training_image` and `inference_image`), and is told when its support ends.
Source: images.json names it.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from musher import instances
from musher.errors import ConfigError

TABLE = Path(__file__).with_name("images.json")

Purpose = Literal["training", "inference"]
TRAINING: Purpose = "training"
INFERENCE: Purpose = "inference"

NOTICE_DAYS = 60  # before the end of an image's support: time enough to try another one

_WITHOUT = {
    instances.NEURON: "it has AWS's own accelerators, which need the Neuron SDK",
    instances.GAUDI: "it has Gaudi accelerators, which need Habana's SDK",
    instances.ARM: "its processors are ARM's, and the images are built for x86",
}


@dataclass(frozen=True)
class Version:
    """One version of AWS's image for a purpose: its repository, its tags by device (the first is the one used here),
    the GPU families that its CUDA no longer knows, and when AWS's support ends.

    `used_nevertheless` says why an image is used although its support has ended.
    """

    number: str
    repository: str
    tags: Mapping[str, tuple[str, ...]]
    gpus_too_old: tuple[str, ...]
    end_of_support: dt.date
    used_nevertheless: str = ""

    def names(self) -> set[str]:
        """Every `repository:tag` of this version."""
        return {f"{self.repository}:{tag}" for tags in self.tags.values() for tag in tags}


@cache
def _table() -> Mapping[str, Any]:
    return json.loads(TABLE.read_text())


def accounts() -> Mapping[str, str]:
    """The account that AWS's images are in, by region."""
    return _table()["accounts"]


def versions(purpose: Purpose) -> Iterator[Version]:
    """All versions that AWS lists, oldest first."""
    for number, given in _table()[purpose]["versions"].items():
        yield Version(
            number,
            given["repository"],
            {device: tuple(tags) for device, tags in given["tags"].items()},
            tuple(given["gpus_too_old"]),
            dt.date.fromisoformat(given["end_of_support"]),
            given.get("used_nevertheless", ""),
        )


def used(purpose: Purpose) -> Version:
    """The version that is used unless an image is named."""
    return next(each for each in versions(purpose) if each.number == _table()[purpose]["used"])


def account(region: str) -> str:
    """The account whose registry has AWS's images in a region. Raises ConfigError for a region without one."""
    if region not in accounts():
        raise ConfigError(
            f"region is {region!r}, where no account with AWS's images is known ({TABLE.name} has {len(accounts())} "
            "regions): choose another region, or name both training_image and inference_image."
        )
    return accounts()[region]


def device(field: str, instance_type: str, purpose: Purpose) -> str:
    """Which of a version's images an instance type takes: `cpu` or `gpu`.

    Raises ConfigError with one sentence, naming the field, for a type that none of them runs on.
    """
    kind = instances.processor(instance_type)
    why = _WITHOUT.get(kind, "")
    if kind == instances.GPU and instances.family(instance_type) in used(purpose).gpus_too_old:
        why = f"its GPUs are older than those that PyTorch {used(purpose).number} in AWS's image is built for"
    if why:
        raise ConfigError(
            f"{field} is {instance_type!r}, which has no {purpose} image here: {why}; "
            "choose a type with CPUs such as ml.m5.large, or with GPUs such as ml.g5.xlarge."
        )
    return kind


def image(purpose: Purpose, device: str, region: str) -> str:
    """AWS's image as an API takes it: `<account>.dkr.ecr.<region>.amazonaws.com/<repository>:<tag>`.

    Parameters: `device` as `images.device` returns it. Raises ConfigError for a region that AWS has no images in.
    """
    found = used(purpose)
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"{account(region)}.dkr.ecr.{region}.{suffix}/{found.repository}:{found.tags[device][0]}"


def version_of(image: str) -> Version | None:
    """Which of AWS's versions an image is; None for one that is not AWS's."""
    name = image.partition("/")[2]
    return next((each for purpose in (TRAINING, INFERENCE) for each in versions(purpose) if name in each.names()), None)


def support(image: str, today: dt.date) -> str:
    """What there is to be said of AWS's support of an image, as one sentence; nothing while it goes on for long.

    Nothing either for an image that is not AWS's: who made it knows.
    """
    name, found = image.partition("/")[2], version_of(image)
    if found is None or found.end_of_support - today > dt.timedelta(days=NOTICE_DAYS):
        return ""
    if today <= found.end_of_support:
        return f"AWS's support of the image {name} ends on {found.end_of_support}."
    why = f"; {found.used_nevertheless}" if found.used_nevertheless else "."
    return f"AWS's support of the image {name} ended on {found.end_of_support}: it is not patched any more{why}"
