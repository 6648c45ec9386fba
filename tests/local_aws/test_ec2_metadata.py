"""The instance metadata service: version 2 only, and the credentials that boto3 finds there by itself."""

from __future__ import annotations

import json
import textwrap
import uuid

import pytest

from tests.local_aws.ec2_hosts import Hosts
from tests.local_aws.instance_metadata import Metadata

TRUST = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
SCRIPT = textwrap.dedent("""
    import boto3, json
    boto3.client("s3").put_object(Bucket="{bucket}", Key="from-the-host", Body=b"written with the role")
    print(json.dumps(boto3.client("sts").get_caller_identity()["Arn"]))
""")


@pytest.fixture(scope="module")
def hosts(local_aws):
    hosts = Hosts(local_aws)
    yield hosts
    hosts.terminate_all()


def new_profile(daemon, trust=TRUST):
    """An instance profile with a role of the same name."""
    iam, name = daemon.client("iam"), f"profile-{uuid.uuid4().hex[:8]}"
    policy = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy)
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    return name


@pytest.fixture(scope="module")
def profile(local_aws):
    name = new_profile(local_aws)
    written = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::*/from-the-host"}
    local_aws.client("iam").put_role_policy(
        RoleName=name, PolicyName="writes",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [written]}),
    )  # fmt: skip
    return name


@pytest.fixture(scope="module")
def host(hosts, profile):
    return hosts.run_reachable(IamInstanceProfile={"Name": profile}, UserData="#!/bin/sh\necho ünï\n")


@pytest.fixture(scope="module")
def metadata(hosts, host):
    return Metadata(hosts, host)


def test_nothing_is_told_without_a_token(metadata):
    assert metadata.ask("/latest/meta-data/instance-id")[0] == 401
    wrong = {"X-aws-ec2-metadata-token": "guessed"}
    assert metadata.ask("/latest/meta-data/instance-id", headers=wrong)[0] == 401
    assert metadata.ask("/latest/api/token", "PUT")[0] == 400
    too_long = {"X-aws-ec2-metadata-token-ttl-seconds": "21601"}
    assert metadata.ask("/latest/api/token", "PUT", too_long)[0] == 400
    forwarded = {"X-aws-ec2-metadata-token-ttl-seconds": "60", "X-Forwarded-For": "10.0.0.1"}
    assert metadata.ask("/latest/api/token", "PUT", forwarded)[0] == 403


@pytest.mark.parametrize(
    "page",
    [
        {"Host": "evil.example"},
        {"Host": "169.254.169.254"},
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "empty"},
    ],
    ids=["another name", "another address", "from a page", "in a page", "a page's script"],
)
def test_no_page_gets_a_token_or_anything_else(metadata, page):
    token = {"X-aws-ec2-metadata-token": metadata.token}
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    for path, method, headers in (
        ("/latest/api/token", "PUT", lifetime),
        ("/latest/meta-data/instance-id", "GET", token),
        ("/network/admits/127.0.0.1", "GET", {}),
    ):
        status, text = metadata.ask(path, method, headers | page)
        assert status == 403, path
        assert "metadata service" in text
    assert metadata.ask("/latest/meta-data/instance-id", headers=token | {"Host": "localhost"})[0] == 200


def test_an_instance_knows_itself(hosts, host, metadata):
    described = hosts.describe(host)
    document = json.loads(metadata.get("dynamic/instance-identity/document"))
    for path, key, value in (
        ("instance-id", "instanceId", host),
        ("instance-type", "instanceType", "g5.xlarge"),
        ("local-ipv4", "privateIp", described["PrivateIpAddress"]),
        ("ami-id", "imageId", hosts.image),
        ("placement/availability-zone", "availabilityZone", described["Placement"]["AvailabilityZone"]),
        ("placement/region", "region", "us-east-1"),
    ):
        assert metadata.get(f"meta-data/{path}") == document[key] == value
    assert metadata.get("meta-data/placement/").split() == ["availability-zone", "region"]
    assert "placement/" in metadata.get("meta-data").split()
    assert metadata.get("user-data") == "#!/bin/sh\necho ünï\n"
    assert metadata.status("meta-data/no-such-thing") == 404
    assert metadata.status("meta-data/spot/instance-action") == 404


def test_boto3_on_the_host_finds_the_roles_credentials(hosts, host, profile, metadata, bucket):
    status, output, errors = hosts.execute(host, f"python - <<'END'\n{SCRIPT.format(bucket=bucket)}\nEND")
    if "No module named 'boto3'" in errors:
        pytest.skip("the jobs' Python has no boto3")
    assert status == 0, errors
    assert json.loads(output) == f"arn:aws:sts::123456789012:assumed-role/{profile}/{host}"
    body = hosts.daemon.client("s3").get_object(Bucket=bucket, Key="from-the-host")["Body"].read()
    assert body == b"written with the role"
    assert metadata.get("meta-data/iam/security-credentials/") == profile


def test_a_role_that_ec2_may_not_assume_gives_no_credentials(hosts):
    name = new_profile(hosts.daemon, TRUST | {"Principal": {"Service": "sagemaker.amazonaws.com"}})
    instance = hosts.run_reachable(IamInstanceProfile={"Name": name})
    answer = json.loads(Metadata(hosts, instance).get(f"meta-data/iam/security-credentials/{name}"))
    assert answer["Code"] == "AssumeRoleUnauthorizedAccess"
    assert "AccessKeyId" not in answer
