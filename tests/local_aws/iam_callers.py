"""Who calls in the tests of IAM: an enforcing local AWS, roles of a test's own, and how they are refused."""

import json

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

ACCOUNT = "123456789012"
OPTIONS = ["--iam", "enforce", "--administrator", "AKIATESTTESTTESTTEST:test"]
TOKEN = "a-token-that-a-file-has"
TRUST = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}


@pytest.fixture(scope="module")
def aws(tmp_path_factory, start_daemon):
    """A local AWS that enforces IAM, with a bucket and an object in it."""
    folder = tmp_path_factory.mktemp("iam")
    (folder / "token").write_text(TOKEN)
    offer = ["--offer", f"offered:airflow.amazonaws.com:@{folder}/token"]
    daemon = start_daemon(folder, options=[*OPTIONS, *offer])
    s3 = daemon.client("s3")
    s3.create_bucket(Bucket="pictures")
    s3.put_object(Bucket="pictures", Key="a/x y", Body=b"picture")
    yield daemon
    daemon.stop()


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def client(aws, service, credentials, **config):
    options = Config(retries={"total_max_attempts": 1}, **config)
    return boto3.client(
        service, endpoint_url=aws.url, region_name="us-east-1", config=options,
        aws_access_key_id=credentials["AccessKeyId"], aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials.get("SessionToken"),
    )  # fmt: skip


@pytest.fixture
def role(aws, request):
    """Makes a role that anyone of the account may assume, with policies; returns its session's credentials."""
    made = []

    def make(*statements, trust=TRUST, **session):
        name = f"role-{len(made)}-{abs(hash(request.node.name)) % 10**9}"
        iam = aws.client("iam")
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))
        made.append(name)
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(*statements))
        arn = f"arn:aws:iam::{ACCOUNT}:role/{name}"
        return {
            **aws.client("sts").assume_role(RoleArn=arn, RoleSessionName="test", **session)["Credentials"],
            "Role": arn,
        }

    return make


def refused(call, **params):
    """The code, the message and the request id of an error."""
    with pytest.raises(ClientError) as error:
        call(**params)
    found = error.value.response
    return found["Error"]["Code"], found["Error"]["Message"], found["ResponseMetadata"].get("RequestId")


def who(credentials):
    return f"arn:aws:sts::{ACCOUNT}:assumed-role/{credentials['Role'].rpartition('/')[2]}/test"
