"""One change of the deployment at a time, kept by S3's conditional writes."""

from __future__ import annotations

import datetime as dt
import json

import boto3
import pytest
from moto import mock_aws
from musher.hooks.deployment_lock import KEY, DeploymentIsChanged, DeploymentLock
from musher.names import Run

BUCKET = "locks"
DEPLOY, ROLL_BACK = Run("deploy_image_classifier", "manual__1"), Run("roll_back_deployment", "manual__2")


@pytest.fixture
def s3(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client


def lock(s3, run):
    return DeploymentLock(s3, BUCKET, run)


def test_another_run_is_told_who_has_it_until_it_is_given_back(s3):
    lock(s3, DEPLOY).take()
    with pytest.raises(DeploymentIsChanged) as caught:
        lock(s3, ROLL_BACK).take()
    assert str(caught.value).startswith("The run manual__1 of deploy_image_classifier changes the deployment since 20")
    assert str(caught.value).endswith(f"If that run is gone, delete s3://{BUCKET}/{KEY}.")
    lock(s3, DEPLOY).give_back()
    lock(s3, ROLL_BACK).take()


def test_a_run_may_take_it_again(s3):
    lock(s3, DEPLOY).take()
    lock(s3, DEPLOY).take()


def test_only_who_has_it_gives_it_back(s3):
    lock(s3, ROLL_BACK).give_back()  # nobody has it yet
    lock(s3, DEPLOY).take()
    lock(s3, ROLL_BACK).give_back()
    with pytest.raises(DeploymentIsChanged):
        lock(s3, ROLL_BACK).take()


def test_what_it_holds_for_is_given_back_after_an_error(s3):
    with pytest.raises(ZeroDivisionError), lock(s3, ROLL_BACK).held():
        raise ZeroDivisionError
    lock(s3, DEPLOY).take()


def test_a_lost_runs_lock_ends_by_itself(s3):
    lock(s3, DEPLOY).take()
    content = json.loads(s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read())
    ended = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=json.dumps(content | {"until": ended.isoformat()}).encode())
    lock(s3, ROLL_BACK).take()


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[]", b'{"run": "x"}'])
def test_a_damaged_one_is_nobodys(s3, body):
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=body)
    lock(s3, DEPLOY).take()


@pytest.mark.parametrize("taken_before", [False, True], ids=["the first ever", "given back before"])
def test_of_two_at_the_same_moment_one_gets_it(s3, monkeypatch, taken_before):
    # GIVEN a lock that another run takes between this one's look and its write
    if taken_before:
        lock(s3, ROLL_BACK).take()
        lock(s3, ROLL_BACK).give_back()
    slow = lock(s3, DEPLOY)
    look = slow._read
    monkeypatch.setattr(slow, "_read", lambda: (look(), lock(s3, ROLL_BACK).take())[0])
    with pytest.raises(DeploymentIsChanged, match="manual__2 of roll_back_deployment"):
        slow.take()
    with pytest.raises(DeploymentIsChanged):
        lock(s3, DEPLOY).take()
