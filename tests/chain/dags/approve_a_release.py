"""# Approve a release

For the test of a person's answer: the real operators, without a deployment around them.

**Runs** by hand only.
"""

from __future__ import annotations

from airflow.sdk import dag
from musher.config import DeploymentConfig
from musher.operators.approval import ApproveReleaseOperator
from musher.operators.release import ReleaseEndpointOperator

MODEL = {
    "package_arn": "arn:aws:sagemaker:us-east-1:123456789012:model-package/approvals/1",
    "run_key": "approvals",
}


@dag(schedule=None, params=DeploymentConfig.params(), catchup=False, default_args={"owner": "musher"})
def approve_a_release():
    approve = ApproveReleaseOperator(task_id="approve_release", model=MODEL, stack="rehearsal")
    ReleaseEndpointOperator(task_id="release_endpoint", model=MODEL, tried_on="rehearsal", approval=approve.output)


approve_a_release()
