"""What changes of users, roles and policies counts from the very next call on."""

import datetime as dt
import io
import random
import zipfile

import pytest
from botocore.credentials import Credentials
from moto.backends import get_backend

from local_aws.aws import LocalAws, Settings
from local_aws.errors import AwsError
from local_aws.iam.mode import Mode
from local_aws.pipeline.exchange import Exchange
from tests.local_aws.iam_callers import ACCOUNT, allow, client, document, refused
from tests.local_aws.test_iam_signatures import drawn


def trusting(principal):
    return {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}


@pytest.fixture(scope="module")
def settled(aws):
    """A role, a user and a function; what changes of them is looked at by the next call."""
    iam = aws.client("iam")
    iam.create_user(UserName="settled")
    iam.create_group(GroupName="settled")
    iam.add_user_to_group(GroupName="settled", UserName="settled")
    key = iam.create_access_key(UserName="settled")["AccessKey"]
    return client(aws, "s3", key), key


def _user_policy(aws):
    iam = aws.client("iam")
    put = {"UserName": "settled", "PolicyName": "p"}
    yield iam.put_user_policy(**put, PolicyDocument=document(allow("s3:GetObject", "arn:aws:s3:::pictures/*")))
    yield iam.put_user_policy(**put, PolicyDocument=document(allow("s3:GetObject", "arn:aws:s3:::other/*")))
    iam.delete_user_policy(**put)


def _group_policy(aws):
    iam = aws.client("iam")
    put = {"GroupName": "settled", "PolicyName": "p"}
    yield iam.put_group_policy(**put, PolicyDocument=document(allow("s3:GetObject")))
    yield iam.delete_group_policy(**put)


def _membership(aws):
    iam = aws.client("iam")
    iam.put_group_policy(GroupName="settled", PolicyName="p", PolicyDocument=document(allow("s3:GetObject")))
    yield
    yield iam.remove_user_from_group(GroupName="settled", UserName="settled")
    iam.delete_group_policy(GroupName="settled", PolicyName="p")
    iam.add_user_to_group(GroupName="settled", UserName="settled")


def _version(aws):
    iam = aws.client("iam")
    arn = iam.create_policy(PolicyName="settled", PolicyDocument=document(allow("s3:GetObject")))["Policy"]["Arn"]
    yield iam.attach_user_policy(UserName="settled", PolicyArn=arn)
    yield iam.create_policy_version(PolicyArn=arn, PolicyDocument=document(allow("s3:ListBucket")), SetAsDefault=True)
    yield iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    yield iam.detach_user_policy(UserName="settled", PolicyArn=arn)


def _principal_tag(aws):
    iam = aws.client("iam")
    wanted = {"StringEquals": {"aws:PrincipalTag/team": "a"}}
    condition = document(allow("s3:GetObject", Condition=wanted))
    iam.put_user_policy(UserName="settled", PolicyName="p", PolicyDocument=condition)
    yield iam.tag_user(UserName="settled", Tags=[{"Key": "team", "Value": "a"}])
    yield iam.tag_user(UserName="settled", Tags=[{"Key": "team", "Value": "b"}])
    yield iam.tag_user(UserName="settled", Tags=[{"Key": "team", "Value": "a"}])
    yield iam.untag_user(UserName="settled", TagKeys=["team"])
    iam.delete_user_policy(UserName="settled", PolicyName="p")


def _boundary(aws):
    iam, user = aws.client("iam"), {"UserName": "settled"}
    lists = document(allow("s3:ListBucket"))
    limit = iam.create_policy(PolicyName="limits-a-user", PolicyDocument=lists)["Policy"]["Arn"]
    yield iam.put_user_policy(**user, PolicyName="p", PolicyDocument=document(allow("s3:GetObject")))
    yield iam.put_user_permissions_boundary(**user, PermissionsBoundary=limit)
    assert iam.get_user(**user)["User"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == limit
    both = document(allow("s3:ListBucket"), allow("s3:GetObject"))
    yield iam.create_policy_version(PolicyArn=limit, PolicyDocument=both, SetAsDefault=True)
    yield iam.set_default_policy_version(PolicyArn=limit, VersionId="v1")
    yield iam.delete_user_permissions_boundary(**user)
    iam.delete_user_policy(**user, PolicyName="p")


def _object_tag(aws):
    iam, s3, put = aws.client("iam"), aws.client("s3"), {"UserName": "settled", "PolicyName": "p"}
    wanted = {"StringEquals": {"s3:ExistingObjectTag/team": "a"}}
    iam.put_user_policy(**put, PolicyDocument=document(allow("s3:GetObject", Condition=wanted)))
    picture = {"Bucket": "pictures", "Key": "a/x y"}
    yield s3.put_object_tagging(**picture, Tagging={"TagSet": [{"Key": "team", "Value": "a"}]})
    yield s3.put_object_tagging(**picture, Tagging={"TagSet": [{"Key": "team", "Value": "b"}]})
    yield s3.put_object_tagging(**picture, Tagging={"TagSet": [{"Key": "team", "Value": "a"}]})
    yield s3.delete_object_tagging(**picture)
    iam.delete_user_policy(**put)


def _bucket_policy(aws):
    s3 = aws.client("s3")
    who = {"AWS": f"arn:aws:iam::{ACCOUNT}:user/settled"}
    allowed = allow("s3:GetObject", "arn:aws:s3:::pictures/*", Principal=who)
    yield s3.put_bucket_policy(Bucket="pictures", Policy=document(allowed))
    yield s3.put_bucket_policy(Bucket="pictures", Policy=document(allowed, {**allowed, "Effect": "Deny"}))
    yield s3.put_bucket_policy(Bucket="pictures", Policy=document(allowed))
    yield s3.delete_bucket_policy(Bucket="pictures")


@pytest.mark.parametrize(
    "change",
    [_user_policy, _group_policy, _membership, _version, _principal_tag, _boundary, _object_tag, _bucket_policy],
)
def test_what_changes_is_looked_at_by_the_very_next_call(aws, settled, change):
    # GIVEN a user whose calls have been decided on already WHEN something changes THEN the next call knows it
    s3, _ = settled
    allowed = True
    for _ in change(aws):
        for _ in range(3):
            if allowed:
                assert s3.get_object(Bucket="pictures", Key="a/x y")["Body"].read() == b"picture"
            else:
                assert refused(s3.get_object, Bucket="pictures", Key="a/x y")[0] == "AccessDenied"
        allowed = not allowed


def test_a_key_that_is_inactive_or_gone_is_not_known_by_the_very_next_call(aws, settled):
    s3, key = settled
    iam, named = aws.client("iam"), {"UserName": "settled", "AccessKeyId": key["AccessKeyId"]}
    call = {"Bucket": "pictures", "Key": "a/x y"}
    assert refused(s3.get_object, **call)[0] == "AccessDenied"
    iam.update_access_key(**named, Status="Inactive")
    assert refused(s3.get_object, **call)[0] == "InvalidAccessKeyId"
    iam.update_access_key(**named, Status="Active")
    assert refused(s3.get_object, **call)[0] == "AccessDenied"
    iam.delete_access_key(**named)
    assert refused(s3.get_object, **call)[0] == "InvalidAccessKeyId"


def test_a_role_that_is_another_now_is_another_to_its_sessions(aws, role):
    credentials = role(allow("s3:GetObject"))
    s3, iam = client(aws, "s3", credentials), aws.client("iam")
    call, name = {"Bucket": "pictures", "Key": "a/x y"}, credentials["Role"].rpartition("/")[2]
    s3.get_object(**call)
    iam.delete_role_policy(RoleName=name, PolicyName="own")
    assert refused(s3.get_object, **call)[0] == "AccessDenied"
    iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(allow("s3:GetObject")))
    s3.get_object(**call)
    lists = document(allow("s3:ListBucket"))
    bound = iam.create_policy(PolicyName="bound", PolicyDocument=lists)["Policy"]["Arn"]
    iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=bound)
    assert refused(s3.get_object, **call)[0] == "AccessDenied"
    both = document(allow("s3:ListBucket"), allow("s3:GetObject"))
    iam.create_policy_version(PolicyArn=bound, PolicyDocument=both, SetAsDefault=True)
    s3.get_object(**call)
    iam.set_default_policy_version(PolicyArn=bound, VersionId="v1")
    assert refused(s3.get_object, **call)[0] == "AccessDenied"
    # A boundary that is gone allows nothing.
    iam.delete_policy_version(PolicyArn=bound, VersionId="v2")
    iam.delete_policy(PolicyArn=bound)
    assert refused(s3.get_object, **call)[0] == "AccessDenied"
    iam.delete_role_permissions_boundary(RoleName=name)
    s3.get_object(**call)
    iam.delete_role_policy(RoleName=name, PolicyName="own")
    iam.delete_role(RoleName=name)
    assert refused(s3.get_object, **call)[0] == "AccessDenied"
    # Of the same name a role is another one, with what it is allowed itself.
    trust = document(trusting({"AWS": ACCOUNT}))
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    assert refused(s3.get_object, **call)[0] == "AccessDenied"
    iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(allow("s3:GetObject")))
    s3.get_object(**call)


def test_what_a_function_permits_is_looked_at_by_the_very_next_call(aws, role):
    admin, credentials, code = aws.client("lambda"), role(), io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", "def handler(event, context): pass")
    trust = document(trusting({"Service": "lambda.amazonaws.com"}))
    made = aws.client("iam").create_role(RoleName="functions", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    named = {"FunctionName": "permitting"}
    admin.create_function(**named, Runtime="python3.12", Handler="app.handler", Role=made,
                          Code={"ZipFile": code.getvalue()})  # fmt: skip
    described = client(aws, "lambda", credentials).get_function_configuration
    permitted = {**named, "Action": "lambda:GetFunctionConfiguration", "Principal": credentials["Role"]}
    for _ in range(2):
        assert refused(described, **named)[0] == "AccessDeniedException"
        admin.add_permission(**permitted, StatementId="one")
        described(**named)
        admin.remove_permission(**named, StatementId="one")
        assert refused(described, **named)[0] == "AccessDeniedException"
        # Of the same id a statement can say another thing.
        admin.add_permission(**permitted | {"Action": "lambda:GetPolicy"}, StatementId="one")
        assert refused(described, **named)[0] == "AccessDeniedException"
        admin.remove_permission(**named, StatementId="one")


def test_a_tag_that_is_another_now_is_another_to_the_very_next_call(aws, role):
    admin, group = aws.client("sagemaker"), {"ModelPackageGroupName": "tagged"}
    arn = admin.create_model_package_group(**group)["ModelPackageGroupArn"]
    ours = {"StringEquals": {"aws:ResourceTag/team": "ours"}}
    describe = client(aws, "sagemaker", role(allow("sagemaker:*", Condition=ours))).describe_model_package_group
    for team in ("theirs", "ours", "theirs", "ours"):
        admin.add_tags(ResourceArn=arn, Tags=[{"Key": "team", "Value": team}])
        for _ in range(2):
            if team == "ours":
                describe(**group)
            else:
                assert refused(describe, **group)[0] == "AccessDeniedException"


def test_a_session_that_ends_has_ended_for_the_next_call(tmp_path):
    settings = Settings(port=1, state=tmp_path, minute_seconds=60, jobs_python=tmp_path, iam=Mode.ENFORCE)
    iam, sts = LocalAws(settings).iam, get_backend("sts")[ACCOUNT]["aws"]
    session = sts.assume_role("us-east-1", "s", f"arn:aws:iam::{ACCOUNT}:role/none", None, 3600, None)
    key = Credentials(session.access_key_id, session.secret_access_key, session.session_token)
    signed, body = drawn(random.Random(1), "lambda", key, presigned=False)
    exchange = Exchange(signed, ACCOUNT, "us-east-1")
    exchange.service, exchange.operation, exchange.protocol = "lambda", "Invoke", "rest-json"
    exchange.received = body
    iam.authenticate(exchange)
    session.expiration = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(seconds=1)
    with pytest.raises(AwsError, match="expired"):
        iam.authenticate(exchange)
