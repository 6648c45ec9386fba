"""EC2's tags, of which moto keeps the records: what AWS refuses of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from local_aws.errors import AwsError
from local_aws.services.base import FORWARD, Call, Service


class Ec2Tags(Service):
    name = "ec2"

    def create_tags(self, call: Call) -> dict[str, Any]:
        check(call.params.get("Tags") or ())
        return FORWARD


def check(tags: Iterable[Mapping[str, str]]) -> None:
    """Raise AwsError for a key that is there twice (EC2 user guide, "Tag restrictions")."""
    seen = set()
    for key in (tag.get("Key", "") for tag in tags):
        if key in seen:
            raise AwsError("InvalidParameterValue", f"Duplicate tag key '{key}' specified.")
        seen.add(key)
