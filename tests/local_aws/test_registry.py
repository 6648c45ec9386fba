"""The model registry: an update changes what it names and nothing else, and what is deleted is gone."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

GROUP = "registry-test"


def test_an_update_keeps_what_it_does_not_name_and_deletion_deletes(local_aws):
    sagemaker = local_aws.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName=GROUP)
    container = {"Image": "image", "ModelDataUrl": "s3://bucket/model.tar.gz"}
    arn = sagemaker.create_model_package(
        ModelPackageGroupName=GROUP,
        ModelApprovalStatus="PendingManualApproval",
        CustomerMetadataProperties={"run": "1", "accuracy": "0.9"},
        InferenceSpecification={
            "Containers": [container], "SupportedContentTypes": ["a"], "SupportedResponseMIMETypes": ["b"],
        },
    )["ModelPackageArn"]  # fmt: skip

    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Rejected", ApprovalDescription="too weak")
    sagemaker.update_model_package(ModelPackageArn=arn, CustomerMetadataProperties={"run": "2"})

    found = sagemaker.describe_model_package(ModelPackageName=arn)
    assert found["ModelApprovalStatus"] == "Rejected"
    assert found["ApprovalDescription"] == "too weak"
    assert found["CustomerMetadataProperties"] == {"run": "2", "accuracy": "0.9"}

    with pytest.raises(ClientError, match="still has model packages"):
        sagemaker.delete_model_package_group(ModelPackageGroupName=GROUP)
    sagemaker.delete_model_package(ModelPackageName=arn)
    with pytest.raises(ClientError, match=r"(does not exist|not found)"):
        sagemaker.describe_model_package(ModelPackageName=arn)
    sagemaker.delete_model_package_group(ModelPackageGroupName=GROUP)
