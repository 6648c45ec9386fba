"""A person's answer to a release, given to a real Airflow."""

from __future__ import annotations

import json

import pytest

DAG = "approve_a_release"
# Airflow's role may change its project's model packages; the DAG's is in a group of its own.
MAY_REJECT = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["sagemaker:DescribeModelPackage", "sagemaker:UpdateModelPackage"],
            "Resource": "arn:aws:sagemaker:us-east-1:123456789012:model-package/approvals/*",
        }
    ],
}


@pytest.mark.timeout(900)
def test_a_rejected_release_is_skipped_and_the_model_is_rejected(airflow_stack):
    # GIVEN a registered model whose release waits
    sagemaker = airflow_stack.local_aws("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName="approvals")
    airflow_stack.local_aws("iam").put_role_policy(
        RoleName="musher-airflow", PolicyName="approvals", PolicyDocument=json.dumps(MAY_REJECT)
    )
    package = sagemaker.create_model_package(ModelPackageGroupName="approvals", ModelApprovalStatus="Approved")
    run_id = airflow_stack.trigger(DAG, {"approval": "before_release"}, "rejected")
    airflow_stack.wait_for_state(DAG, run_id, "approve_release", "awaiting_input")
    detail = f"dags/{DAG}/dagRuns/{run_id}/taskInstances/approve_release/-1/hitlDetails"
    asked = airflow_stack.rest("GET", detail)
    assert asked["subject"] == "Release approvals/1?"
    assert asked["params"].keys() == {"why"}, "the form of the DAG is none of the answer's"

    # WHEN somebody rejects it
    answer = {"chosen_options": ["Reject"], "params_input": {"why": "not today"}}
    by = airflow_stack.rest("PATCH", detail, answer)["responded_by"]["name"]

    # THEN the run goes on without it, and the registry says who and why
    assert airflow_stack.wait(DAG, run_id, 300)["state"] == "success", airflow_stack.why(DAG, run_id)
    assert airflow_stack.states(DAG, run_id) == {"approve_release": "success", "release_endpoint": "skipped"}
    found = sagemaker.describe_model_package(ModelPackageName=package["ModelPackageArn"])
    assert found["ModelApprovalStatus"] == "Rejected"
    assert f"{by} rejected it on" in found["ApprovalDescription"]
    assert "not today" in found["ApprovalDescription"]
