"""The model registry: an update changes what it names and nothing else, and what is deleted is gone."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from tests.local_aws.event_rules import Listening

GROUP = "registry-test"


def test_an_update_keeps_what_it_does_not_name_and_deletion_deletes(local_aws, wait_for):
    sagemaker = local_aws.client("sagemaker")
    listening = Listening(local_aws, wait_for, {"detail": {"ModelPackageGroupName": [GROUP]}})
    with pytest.raises(ClientError, match="Group does not exist"):
        sagemaker.create_model_package(ModelPackageGroupName=GROUP)
    sagemaker.create_model_package_group(ModelPackageGroupName=GROUP)
    container = {"Image": "image", "ModelDataUrl": "s3://bucket/model.tar.gz"}
    arn = sagemaker.create_model_package(
        ModelPackageGroupName=GROUP,
        ModelApprovalStatus="PendingManualApproval",
        CustomerMetadataProperties={"run": "1", "accuracy": "0.9"},
        InferenceSpecification={
            "Containers": [container],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )["ModelPackageArn"]  # fmt: skip

    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Rejected", ApprovalDescription="too weak")
    sagemaker.update_model_package(ModelPackageArn=arn, CustomerMetadataProperties={"run": "2"})

    found = sagemaker.describe_model_package(ModelPackageName=arn)
    assert found["ModelApprovalStatus"] == "Rejected"
    assert found["ApprovalDescription"] == "too weak"
    assert found["CustomerMetadataProperties"] == {"run": "2", "accuracy": "0.9"}

    # EventBridge is told of each version and each change of it
    events = [each["detail"] for each in listening.until(lambda heard: len(heard) >= 3)]
    assert [each["ModelApprovalStatus"] for each in events] == ["PendingManualApproval", "Rejected", "Rejected"]
    assert events[0]["CreationTime"].endswith("Z")
    assert (events[0]["ModelPackageArn"], events[0]["ModelPackageVersion"]) == (arn, 1)
    listening.close()

    with pytest.raises(ClientError, match="still has model packages"):
        sagemaker.delete_model_package_group(ModelPackageGroupName=GROUP)
    sagemaker.delete_model_package(ModelPackageName=arn)
    with pytest.raises(ClientError, match=r"(does not exist|not found)"):
        sagemaker.describe_model_package(ModelPackageName=arn)
    sagemaker.delete_model_package_group(ModelPackageGroupName=GROUP)
