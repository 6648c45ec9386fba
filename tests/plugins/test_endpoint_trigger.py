"""What becomes of an endpoint whose deployment a person gives up."""

from __future__ import annotations

import time

import pytest
from musher.triggers.endpoint import EndpointTrigger

from tests.local_aws.daemon import make_role
from tests.local_aws.serving import Serving


@pytest.fixture
def daemon(tmp_path, monkeypatch, start_daemon):
    daemon = start_daemon(tmp_path)
    daemon.client("s3").create_bucket(Bucket="musher-bucket")
    monkeypatch.setenv("AWS_ENDPOINT_URL", daemon.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    yield daemon
    daemon.stop()


def test_an_endpoint_that_is_still_being_created_is_deleted_as_soon_as_aws_allows(daemon):
    # GIVEN a new endpoint, which AWS lets nobody delete before it is there
    serving = Serving(daemon, "musher-bucket", make_role(daemon))
    serving.sagemaker.create_endpoint(EndpointName="new", EndpointConfigName=serving.config(serving.model()))
    assert serving.sagemaker.describe_endpoint(EndpointName="new")["EndpointStatus"] == "Creating"

    # WHEN the waiting task is marked as failed
    trigger = EndpointTrigger(
        name="new",
        previous=None,
        poll_seconds=0.1,
        deadline=time.time() + 60,
        aws_conn_id=None,
        region_name="us-east-1",
    )
    trigger.kill()

    # THEN nothing is left that costs money
    states = [each["EndpointStatus"] for each in serving.sagemaker.list_endpoints()["Endpoints"]]
    assert set(states) <= {"Deleting"}
