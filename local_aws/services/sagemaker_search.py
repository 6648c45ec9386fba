"""Search over jobs and endpoints; moto answers that over what it keeps itself.

Source: SageMaker API reference, Search, SearchExpression, Filter and NestedFilters.
"""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Callable, Mapping
from typing import Any

from local_aws.errors import AwsError, validation
from local_aws.services.base import FORWARD, Call, Service, page
from local_aws.services.listing import aware
from local_aws.services.sagemaker_endpoints import SageMakerEndpoints
from local_aws.services.sagemaker_tags import SageMakerTags
from local_aws.services.sagemaker_training import SageMakerTraining
from local_aws.services.sagemaker_tuning import SageMakerTuning

COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "NotEquals": operator.ne,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}


# What moto knows how to search.
MOTOS = {"Experiment", "ExperimentTrial", "ExperimentTrialComponent", "FeatureGroup", "ModelPackage",
         "ModelPackageGroup", "Pipeline", "PipelineExecution"}  # fmt: skip


class SageMakerSearch(Service):
    """Search over what lives here: training and tuning jobs, and endpoints."""

    name = "sagemaker"

    def search(self, call: Call) -> dict[str, Any]:
        asked = call.params
        kind = asked["Resource"]
        if kind in MOTOS:
            return FORWARD
        found = [each for each in self._all(kind) if _meets(each, asked.get("SearchExpression") or {})]
        order = asked.get("SortBy") or "LastModifiedTime"
        having = [job for job in found if _at(job, order) is not None]
        having.sort(key=lambda job: _at(job, order), reverse=asked.get("SortOrder") != "Ascending")
        ordered = having + [job for job in found if _at(job, order) is None]
        return page([{kind: each} for each in ordered], call, key="Results")

    def _all(self, kind: str) -> list[dict[str, Any]]:
        """What there is of a kind, described with its tags. Raises AwsError for one that is not searched here."""
        found: list[tuple[str, dict[str, Any]]]
        if kind == "TrainingJob":
            found = [(each.arn, each.describe()) for each in list(self.aws.service(SageMakerTraining).jobs.values())]
        elif kind == "HyperParameterTuningJob":
            found = [(each.arn, each.describe()) for each in list(self.aws.service(SageMakerTuning).jobs.values())]
        elif kind == "Endpoint":
            found = [(each.arn, each.describe()) for each in self.aws.service(SageMakerEndpoints).all()]
        else:
            raise AwsError("UnsupportedOperation", f"The local AWS does not search for resources of the kind {kind}.")
        tags = self.aws.service(SageMakerTags)
        return [
            described
            | {"Tags": [{"Key": key, "Value": value} for key, value in (tags.resource_tags(arn) or {}).items()]}
            for arn, described in found
        ]


def _meets(job: Mapping[str, Any], expression: Mapping[str, Any]) -> bool:
    parts = [_compare(_at(job, each["Name"]), each) for each in expression.get("Filters") or ()]
    parts += [_nested(job, each) for each in expression.get("NestedFilters") or ()]
    parts += [_meets(job, each) for each in expression.get("SubExpressions") or ()]
    return any(parts) if expression.get("Operator") == "Or" and parts else all(parts)


def _nested(job: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether one object of a list meets all filters, whose names begin with the list's."""
    name = wanted["NestedPropertyName"]
    return any(
        all(_compare(_at(each, one["Name"].removeprefix(f"{name}.")), one) for one in wanted["Filters"])
        for each in _at(job, name) or ()
    )


def _at(job: Any, name: str) -> Any:
    """A property by its name: TrainingJobName, HyperParameters.KEY, Metrics.NAME, Tags.KEY."""
    for kind, known, given in (("Tags.", "Key", "Value"), ("Metrics.", "MetricName", "Value")):
        if name.startswith(kind):
            entries = job.get("Tags" if kind == "Tags." else "FinalMetricDataList") or ()
            return next((each[given] for each in entries if each[known] == name.removeprefix(kind)), None)
    for part in name.split("."):
        job = job.get(part) if isinstance(job, Mapping) else None
    return job


def _compare(found: Any, wanted: Mapping[str, Any]) -> bool:
    how, value = wanted.get("Operator") or "Equals", wanted.get("Value")
    if how in {"Exists", "NotExists"}:
        return (found is not None) == (how == "Exists")
    if value is None:
        raise validation(f"The filter of {wanted['Name']} needs a Value for the operator {how}.")
    if found is None:
        return how == "NotEquals"
    if how == "Contains":
        return value in str(found)
    if how == "In":
        return str(found) in value.split(",")
    return COMPARED[how](found if isinstance(found, int | float | dt.datetime) else str(found), _like(found, value))


def _like(found: Any, value: str) -> Any:
    """A filter's text as what it is compared with. Raises AwsError."""
    try:
        if isinstance(found, dt.datetime):
            return aware(dt.datetime.fromisoformat(value))
        if isinstance(found, int | float):
            return float(value)
    except ValueError:
        kind = "time" if isinstance(found, dt.datetime) else "number"
        raise validation(f"The filter's Value {value!r} is no {kind}.") from None
    return value
