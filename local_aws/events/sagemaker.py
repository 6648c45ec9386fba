"""What SageMaker's events say: the descriptions of what has changed, in the form that EventBridge gets.

AWS: SageMaker developer guide, "Events that Amazon SageMaker AI sends to Amazon EventBridge"; the members are those of
its examples, and where a training job has failed or is debugged those that the text and "Create actions on rules using
Amazon CloudWatch and AWS Lambda" name. Times are milliseconds, those of a model package ISO 8601.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from typing import Any

SOURCE = "aws.sagemaker"
TRAINING_JOB = "SageMaker Training Job State Change"
TUNING_JOB = "SageMaker HyperParameter Tuning Job State Change"
ENDPOINT = "SageMaker Endpoint State Change"
DEPLOYMENT = "SageMaker Endpoint Deployment State Change"
MODEL_PACKAGE = "SageMaker Model Package State Change"

MEMBERS = {
    TRAINING_JOB: (
        "TrainingJobName", "TrainingJobArn", "TrainingJobStatus", "SecondaryStatus", "FailureReason", "HyperParameters",
        "AlgorithmSpecification", "RoleArn", "InputDataConfig", "OutputDataConfig", "ResourceConfig", "VpcConfig",
        "StoppingCondition", "CreationTime", "TrainingStartTime", "TrainingEndTime", "LastModifiedTime",
        "SecondaryStatusTransitions", "ModelArtifacts", "TuningJobArn", "DebugHookConfig", "DebugRuleConfigurations",
        "DebugRuleEvaluationStatuses", "ProfilerConfig", "ProfilerRuleConfigurations", "ProfilerRuleEvaluationStatuses",
    ),
    TUNING_JOB: (
        "HyperParameterTuningJobName", "HyperParameterTuningJobArn", "TrainingJobDefinition",
        "HyperParameterTuningJobStatus", "FailureReason", "CreationTime", "LastModifiedTime",
        "TrainingJobStatusCounters", "ObjectiveStatusCounters",
    ),
    ENDPOINT: (
        "EndpointName", "EndpointArn", "EndpointConfigName", "ProductionVariants", "EndpointStatus", "FailureReason",
        "CreationTime", "LastModifiedTime",
    ),
    DEPLOYMENT: (
        "EndpointName", "EndpointArn", "EndpointConfigName", "ProductionVariants", "EndpointStatus",
        "CreationTime", "LastModifiedTime", "PendingDeploymentSummary",
    ),
    MODEL_PACKAGE: (
        "ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "ModelPackageDescription", "CreationTime",
        "InferenceSpecification", "ModelPackageStatus", "ModelPackageStatusDetails", "CertifyForMarketplace",
        "ModelApprovalStatus", "ApprovalDescription", "MetadataProperties", "ModelMetrics",
        "CustomerMetadataProperties", "LastModifiedTime",
    ),
}  # fmt: skip


def detail(kind: str, described: Mapping[str, Any], tags: Iterable[Mapping[str, str]] | None = ()) -> dict[str, Any]:
    """An event's detail, of what the operation that describes the resource answers."""
    content = {name: _plain(described[name], kind) for name in MEMBERS[kind] if described.get(name) is not None}
    if "EndpointStatus" in content:
        content["EndpointStatus"] = re.sub(r"(?<=.)(?=[A-Z])", "_", content["EndpointStatus"]).upper()
    if kind != MODEL_PACKAGE:
        content["Tags"] = {each["Key"]: each["Value"] for each in tags or ()}
    return content


def _plain(value: Any, kind: str) -> Any:
    if isinstance(value, dt.datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=dt.UTC)  # moto's are UTC without saying so
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if kind == MODEL_PACKAGE else int(moment.timestamp() * 1000)
    if isinstance(value, Mapping):
        return {name: _plain(each, kind) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, kind) for each in value]
    return value
