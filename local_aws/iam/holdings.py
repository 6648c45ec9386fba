"""Resources' own policies and tags, by their ARNs, wherever this AWS keeps them."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

from moto.backends import get_backend

from local_aws.iam.evaluate import Named
from local_aws.iam.identities import Identities, named

EVERYBODY_PULLS = named(
    "the policy of AWS's repositories",
    json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": [
        "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImages", "ecr:GetDownloadUrlForLayer"]}]}),
)  # fmt: skip


class Holdings:
    """What belongs to resources.

    Parameters
    ----------
    aws
        The local AWS: its services, its buckets.
    """

    def __init__(self, aws: Any, identities: Identities) -> None:
        self.aws, self.identities = aws, identities

    def policy(self, action: str, arn: str) -> Named | None:
        """The policy of a resource; of a role that is assumed its trust policy."""
        service = _service(arn)
        if service == "s3":
            bucket = arn.partition(":::")[2].partition("/")[0]
            found = self.aws.store.buckets.policy_of(bucket)
            return found and named(f"the bucket policy of {bucket}", found)
        if service == "iam":
            return self.identities.trust(arn) if action.startswith("sts:") else None
        if service == "ecr":
            # AWS's own registries let everybody pull; this account's repositories are decided on without a policy.
            return EVERYBODY_PULLS if arn.split(":")[4] != self.aws.account else None
        if service == "sns":
            topic = get_backend("sns")[self.aws.account][arn.split(":")[3]].topics.get(arn)
            return topic and named(f"the policy of {arn}", topic.policy)
        if service == "sqs":
            queue = get_backend("sqs")[self.aws.account][arn.split(":")[3]].queues.get(arn.rpartition(":")[2])
            text = queue and queue.policy
            return named(f"the policy of {arn}", text) if text else None
        for resource_policy in self._own.get(service, ()):
            if text := resource_policy(arn):
                return named(f"the policy of {arn}", text)
        return None

    @functools.cached_property
    def _own(self) -> dict[str, list[Callable[[str], str | None]]]:
        """Service -> what tells the policies of resources of ours."""
        found: dict[str, list[Callable[[str], str | None]]] = {}
        for each in self.aws.services:
            found.setdefault(each.name, []).append(each.resource_policy)
        return found

    def tags(self, arn: str) -> Mapping[str, str] | None:
        """The tags of a resource; None for one that is not there, or whose tags are not looked up."""
        parts = arn.split(":", 5)
        if len(parts) < 6:
            return None
        _, _, service, region, _, resource = parts
        if service == "ec2":
            found = get_backend("ec2")[self.aws.account][region].tags.get(resource.rpartition("/")[2])
            return None if found is None else dict(found)
        if service == "iam":
            return self.identities.tags(arn)
        if service == "sagemaker" and resource.startswith("model-package"):
            return _of_registry(get_backend("sagemaker")[self.aws.account][self.aws.region], arn, resource)
        for each in self.aws.services:
            if each.name == service and (found := each.resource_tags(arn)) is not None:
                return found
        return None


@functools.lru_cache(maxsize=4096)
def _service(arn: str) -> str:
    return arn.split(":", 3)[2] if arn.count(":") >= 5 else ""


def _of_registry(backend: Any, arn: str, resource: str) -> Mapping[str, str] | None:
    kind, _, name = resource.partition("/")
    if kind == "model-package-group":
        record = backend.model_package_groups.get(name)
    else:
        record = next((each for each in backend.model_packages.values() if each.arn == arn), None)
    return None if record is None else {each["Key"]: each["Value"] for each in record.tags or ()}
