"""Tags of SageMaker's resources, whoever keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.backends import get_backend

from local_aws.services.base import FORWARD, Call, Service, page
from local_aws.services.sagemaker_training import SageMakerTraining
from local_aws.tags import check_tags

# Moto looks for these by the name in the ARN, which SageMaker writes in small letters whatever the name is.
KEPT_BY_MOTO = {"endpoint": "endpoints", "endpoint-config": "endpoint_configs", "model": "_models"}


class SageMakerTags(Service):
    """AddTags, ListTags and DeleteTags; a tag that is added again is replaced.

    Source: SageMaker API reference, AddTags.
    """

    name = "sagemaker"

    def add_tags(self, call: Call) -> dict[str, Any]:
        arn, tags = call.params["ResourceArn"], call.params["Tags"]
        check_tags(tags)
        if _of_a_job(arn):
            self._jobs.add(arn, tags)
            return {"Tags": self._jobs.of(arn)}
        record = self._record(arn)
        if record is None:
            return FORWARD
        merged = {each["Key"]: each["Value"] for each in [*record.tags, *tags]}
        record.tags = [{"Key": key, "Value": value} for key, value in merged.items()]
        return {"Tags": record.tags}

    def list_tags(self, call: Call) -> dict[str, Any]:
        arn = call.params["ResourceArn"]
        if _of_a_job(arn):
            return page(self._jobs.of(arn), call, key="Tags")
        record = self._record(arn)
        return FORWARD if record is None else page(list(record.tags), call, key="Tags")

    def delete_tags(self, call: Call) -> dict[str, Any]:
        arn, keys = call.params["ResourceArn"], call.params["TagKeys"]
        if _of_a_job(arn):
            self._jobs.remove(arn, keys)
            return {}
        record = self._record(arn)
        if record is None:
            return FORWARD
        record.tags = [each for each in record.tags if each["Key"] not in keys]
        return {}

    def resource_tags(self, arn: str) -> Mapping[str, str] | None:
        record = None if _of_a_job(arn) else self._record(arn)
        if record is None and not _of_a_job(arn):
            return None
        tags = self._jobs.of(arn) if record is None else record.tags
        return {each["Key"]: each["Value"] for each in tags}

    @property
    def _jobs(self) -> Any:
        return self.aws.service(SageMakerTraining).tags

    def _record(self, arn: str) -> Any:
        kind, _, name = arn.rsplit(":", 1)[-1].partition("/")
        if kind not in KEPT_BY_MOTO:
            return None
        records = getattr(get_backend("sagemaker")[self.aws.account][self.aws.region], KEPT_BY_MOTO[kind])
        return next((record for known, record in records.items() if known.lower() == name.lower()), None)


def _of_a_job(arn: str) -> bool:
    return ":training-job/" in arn or ":hyper-parameter-tuning-job/" in arn
