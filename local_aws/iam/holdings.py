"""Resources' own policies and tags, by their ARNs, wherever this AWS keeps them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from moto.backends import get_backend

from local_aws.errors import AwsError
from local_aws.iam.evaluate import Named
from local_aws.iam.identities import Identities, named

if TYPE_CHECKING:
    from local_aws.aws import LocalAws


class Holdings:
    """What belongs to resources."""

    def __init__(self, aws: LocalAws, identities: Identities) -> None:
        self.aws, self.identities = aws, identities

    def policy(self, action: str, arn: str) -> Named | None:
        """The policy of a resource; of a role that is assumed its trust policy."""
        service = arn.split(":", 3)[2] if arn.count(":") >= 5 else ""
        if service == "s3":
            bucket = arn.partition(":::")[2].partition("/")[0]
            found = self.aws.store.buckets.policy_of(bucket)
            return found and named(f"the bucket policy of {bucket}", found)
        if service == "iam":
            return self.identities.trust(arn) if action.startswith("sts:") else None
        if service == "lambda" and ":function:" in arn:
            return self._of_function(arn)
        if service == "sns":
            topic = get_backend("sns")[self.aws.account][arn.split(":")[3]].topics.get(arn)
            return topic and named(f"the policy of {arn}", topic.policy)
        if service == "sqs":
            queue = get_backend("sqs")[self.aws.account][arn.split(":")[3]].queues.get(arn.rpartition(":")[2])
            text = queue and queue.policy
            return named(f"the policy of {arn}", text) if text else None
        return None

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
        if service == "lambda":
            function = self._function(arn)
            return function and function.tags
        if service == "sagemaker":
            return _pairs(self._of_sagemaker(arn, resource))
        if service == "cloudwatch":
            return self._of_alarm(arn)
        return None

    def _of_sagemaker(self, arn: str, resource: str) -> Any:
        from local_aws.services.sagemaker_tags import SageMakerTags

        kind, _, name = resource.partition("/")
        if kind in {"model-package-group", "model-package"}:
            backend = get_backend("sagemaker")[self.aws.account][self.aws.region]
            if kind == "model-package-group":
                record = backend.model_package_groups.get(name)
            else:
                record = next((each for each in backend.model_packages.values() if each.arn == arn), None)
            return record and (record.tags or [])
        return self.aws.service(SageMakerTags).of(arn)

    def _of_alarm(self, arn: str) -> Mapping[str, str] | None:
        from local_aws.services.base import Call
        from local_aws.services.cloudwatch_alarms import CloudWatchAlarms

        call = Call("cloudwatch", "ListTagsForResource", {"ResourceARN": arn}, self.aws.account, self.aws.region)
        try:
            return _pairs(self.aws.service(CloudWatchAlarms).list_tags_for_resource(call)["Tags"])
        except AwsError:
            return None

    def _function(self, arn: str) -> Any:
        from local_aws.services.lambda_ import Lambda

        try:
            return self.aws.service(Lambda).find(arn.split(":")[6])
        except (AwsError, IndexError):
            return None

    def _of_function(self, arn: str) -> Named | None:
        function = self._function(arn)
        if function is None:
            return None
        qualifier = (*arn.split(":")[7:], "")[0]
        statements = function.policies.get(qualifier)
        if not statements:
            return None
        text = json.dumps({"Version": "2012-10-17", "Statement": list(statements.values())})
        return named(f"the policy of {arn}", text)


def _pairs(tags: Any) -> dict[str, str] | None:
    return None if tags is None else {each["Key"]: each["Value"] for each in tags}
