"""IAM enforced: who has signed, what policies allow, and how each service says no."""

import contextlib
import hashlib
import io
import json
import sys
import urllib.error
import urllib.request
import zipfile

import boto3
import pytest
from botocore.exceptions import ClientError

from local_aws import __main__ as command_line
from local_aws.aws import LocalAws, Settings
from local_aws.control import Refused, tell
from local_aws.errors import AwsError
from local_aws.iam import authority
from local_aws.iam.mode import Mode
from local_aws.pipeline.exchange import Exchange
from tests.local_aws.iam_callers import ACCOUNT, TOKEN, TRUST, allow, client, document, refused, who


def test_a_role_does_what_its_policy_allows_and_nothing_else(aws, role):
    credentials = role(allow("s3:GetObject", "arn:aws:s3:::pictures/a/*"))
    s3 = client(aws, "s3", credentials)
    assert s3.get_object(Bucket="pictures", Key="a/x y")["Body"].read() == b"picture"
    for call, params, action, resource in (
        (s3.get_object, {"Key": "b"}, "s3:GetObject", "pictures/b"),
        (s3.put_object, {"Key": "a/x", "Body": b"x"}, "s3:PutObject", "pictures/a/x"),
        (s3.list_objects_v2, {}, "s3:ListBucket", "pictures"),
        (s3.copy_object, {"Key": "a/y", "CopySource": "pictures/a/x y"}, "s3:PutObject", "pictures/a/y"),
    ):
        code, message, _ = refused(call, Bucket="pictures", **params)
        assert code == "AccessDenied"
        assert message == (
            f'User: {who(credentials)} is not authorized to perform: {action} on resource: "arn:aws:s3:::{resource}" '
            f"because no identity-based policy allows the {action} action"
        )


def test_of_several_objects_those_are_deleted_that_may_be(aws, role):
    # GIVEN a role that may delete below one prefix WHEN it asks for more at once
    admin = aws.client("s3")
    for key in ("mine/1", "mine/2", "yours/1"):
        admin.put_object(Bucket="pictures", Key=key, Body=b"x")
    credentials = role(allow("s3:DeleteObject", "arn:aws:s3:::pictures/mine/*"))
    named = [{"Key": "mine/1"}, {"Key": "yours/1"}, {"Key": "mine/2", "VersionId": "null"}]
    answer = client(aws, "s3", credentials).delete_objects(Bucket="pictures", Delete={"Objects": named})
    # THEN that prefix's objects are gone, and the answer says of each other one why it is not.
    assert [each["Key"] for each in answer["Deleted"]] == ["mine/1"]
    actions = {"yours/1": "s3:DeleteObject", "mine/2": "s3:DeleteObjectVersion"}
    assert {each["Key"]: (each["Code"], each["Message"]) for each in answer["Errors"]} == {
        key: ("AccessDenied", f"User: {who(credentials)} is not authorized to perform: {action} on resource: "
              f'"arn:aws:s3:::pictures/{key}" because no identity-based policy allows the {action} action')
        for key, action in actions.items()
    }  # fmt: skip
    left = {each["Key"] for each in admin.list_objects_v2(Bucket="pictures")["Contents"]}
    assert left >= set(actions)
    assert "mine/1" not in left


def test_that_an_object_is_missing_only_those_hear_who_may_list(aws, role):
    reads = allow("s3:GetObject", "arn:aws:s3:::pictures/*")
    blind = client(aws, "s3", role(reads))
    sees = client(aws, "s3", role(reads, allow("s3:ListBucket", "arn:aws:s3:::pictures")))
    assert refused(blind.get_object, Bucket="pictures", Key="none")[:2] == ("AccessDenied", "Access Denied")
    assert refused(blind.head_object, Bucket="pictures", Key="none")[0] == "403"
    assert refused(sees.get_object, Bucket="pictures", Key="none")[0] == "NoSuchKey"


SERVICES = [
    ("sagemaker", "list_training_jobs", {}, "AccessDeniedException", "sagemaker:ListTrainingJobs", "*"),
    ("sagemaker", "describe_endpoint", {"EndpointName": "e"}, "AccessDeniedException", "sagemaker:DescribeEndpoint",
     "arn:aws:sagemaker:us-east-1:123456789012:endpoint/e"),
    ("sagemaker-runtime", "invoke_endpoint", {"EndpointName": "e", "Body": b"x"}, "AccessDeniedException",
     "sagemaker:InvokeEndpoint", "arn:aws:sagemaker:us-east-1:123456789012:endpoint/e"),
    ("lambda", "invoke", {"FunctionName": "f", "Qualifier": "live"}, "AccessDeniedException", "lambda:InvokeFunction",
     "arn:aws:lambda:us-east-1:123456789012:function:f:live"),
    ("cloudwatch", "describe_alarms", {}, "AccessDeniedException", "cloudwatch:DescribeAlarms",
     "arn:aws:cloudwatch:us-east-1:123456789012:alarm:*"),
    ("iam", "get_role", {"RoleName": "r"}, "AccessDenied", "iam:GetRole", "arn:aws:iam::123456789012:role/r"),
    ("cloudformation", "describe_stacks", {"StackName": "s"}, "AccessDenied", "cloudformation:DescribeStacks",
     "arn:aws:cloudformation:us-east-1:123456789012:stack/s/*"),
    ("sns", "create_topic", {"Name": "t"}, "AuthorizationError", "sns:CreateTopic",
     "arn:aws:sns:us-east-1:123456789012:t"),
    ("ssm", "get_parameter", {"Name": "/aws/service/x"}, "AccessDeniedException", "ssm:GetParameter",
     "arn:aws:ssm:us-east-1::parameter/aws/service/x"),
    ("logs", "delete_log_group", {"logGroupName": "g"}, "AccessDeniedException", "logs:DeleteLogGroup",
     "arn:aws:logs:us-east-1:123456789012:log-group:g"),
]  # fmt: skip


def test_each_service_says_so_in_its_own_form(aws, role):
    credentials = role()
    for service, operation, params, code, action, resource in SERVICES:
        on = "" if resource == "*" else f" on resource: {resource}"
        why = f"because no identity-based policy allows the {action} action"
        said = f"User: {who(credentials)} is not authorized to perform: {action}{on} {why}"
        found = refused(getattr(client(aws, service, credentials), operation), **params)
        assert found[:2] == (code, said), service
    code, message, _ = refused(client(aws, "ec2", credentials).describe_instances)
    assert code == "UnauthorizedOperation"
    assert message.startswith("You are not authorized to perform this operation. User: ")
    assert "Encoded authorization failure message: " in message


def test_an_operation_that_no_table_maps_is_denied_to_everybody(tmp_path):
    settings = Settings(port=1, state=tmp_path, minute_seconds=60, jobs_python=tmp_path, iam=Mode.ENFORCE)
    iam, exchange = LocalAws(settings).iam, Exchange({}, ACCOUNT, "us-east-1")
    exchange.service, exchange.operation = "cloudwatch", "DescribeAlarmContributors"
    exchange.identity = iam.identities.find("test")
    with pytest.raises(AwsError, match="IAM knows no action of DescribeAlarmContributors of cloudwatch"):
        iam.authorise(exchange)


def test_an_operation_that_nobody_answers_is_said_to_be_unsupported(aws, role):
    for credentials in ({"AccessKeyId": "AKIATESTTESTTESTTEST", "SecretAccessKey": "test"}, role()):
        alarms = client(aws, "cloudwatch", credentials)
        assert refused(alarms.describe_alarm_contributors, AlarmName="a")[0] == "UnsupportedOperation"


def test_a_role_is_passed_only_to_whom_a_policy_names(aws, role):
    passed = role(allow("iam:PassRole", "*", Condition={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}),
                  allow("sagemaker:CreateModel"))  # fmt: skip
    code, message, request_id = refused(
        client(aws, "sagemaker", passed).create_model, ModelName="m", ExecutionRoleArn=passed["Role"],
        PrimaryContainer={"Image": "x", "ModelDataUrl": "s3://pictures/a"},
    )  # fmt: skip
    assert code == "AccessDeniedException"
    assert "iam:PassRole" in message
    explained = tell(aws.port, "iam-explain", {"request_id": request_id})
    assert (
        "Close: the statement 1 of own (identity-based policy) would allow it, but for the condition StringEquals "
        "iam:PassedToService: ec2.amazonaws.com." in explained
    )
    with pytest.raises(Refused, match="No call that was denied has the request id 'other'"):
        tell(aws.port, "iam-explain", {"request_id": "other"})


def test_conditions_are_of_the_request(aws, role):
    listing = role(allow("s3:ListBucket", "arn:aws:s3:::pictures", Condition={"StringLike": {"s3:prefix": "a/*"}}),
                   allow("cloudwatch:PutMetricData", Condition={"StringEquals": {"cloudwatch:namespace": "Mine"}}),
                   allow("sns:CreateTopic", Condition={"StringEquals": {"aws:RequestTag/team": "red"}}),
                   allow("sns:TagResource"))  # fmt: skip
    s3, metrics, sns = (client(aws, each, listing) for each in ("s3", "cloudwatch", "sns"))
    assert s3.list_objects_v2(Bucket="pictures", Prefix="a/")["KeyCount"] == 1
    assert refused(s3.list_objects_v2, Bucket="pictures", Prefix="b/")[0] == "AccessDenied"
    data = [{"MetricName": "m", "Value": 1}]
    metrics.put_metric_data(Namespace="Mine", MetricData=data)
    assert refused(metrics.put_metric_data, Namespace="Other", MetricData=data)[0] == "AccessDeniedException"
    sns.create_topic(Name="red", Tags=[{"Key": "team", "Value": "red"}])
    assert refused(sns.create_topic, Name="red")[0] == "AuthorizationError"


def test_tags_of_a_resource_decide(aws, role):
    tagged = allow("sagemaker:DeleteModelPackageGroup", Condition={"StringEquals": {"aws:ResourceTag/team": "red"}})
    sagemaker, admin = client(aws, "sagemaker", role(tagged)), aws.client("sagemaker")
    for team in ("red", "blue"):
        admin.create_model_package_group(ModelPackageGroupName=team, Tags=[{"Key": "team", "Value": team}])
    assert refused(sagemaker.delete_model_package_group, ModelPackageGroupName="blue")[0] == "AccessDeniedException"
    sagemaker.delete_model_package_group(ModelPackageGroupName="red")


def test_a_boundary_and_a_session_policy_limit(aws, role):
    reading = {"Version": "2012-10-17", "Statement": [allow("s3:GetObject")]}
    limited = role(allow("s3:*"), Policy=json.dumps(reading))
    s3 = client(aws, "s3", limited)
    s3.get_object(Bucket="pictures", Key="a/x y")
    _, message, _ = refused(s3.list_objects_v2, Bucket="pictures")
    assert message.endswith("because no session policy allows the s3:ListBucket action")
    iam = aws.client("iam")
    boundary = iam.create_policy(PolicyName="boundary", PolicyDocument=json.dumps(reading))["Policy"]["Arn"]
    bounded = role(allow("s3:*"))
    iam.put_role_permissions_boundary(RoleName=bounded["Role"].rpartition("/")[2], PermissionsBoundary=boundary)
    s3 = client(aws, "s3", bounded)
    s3.get_object(Bucket="pictures", Key="a/x y")
    _, message, _ = refused(s3.list_objects_v2, Bucket="pictures")
    assert message.endswith("because no permissions boundary allows the s3:ListBucket action")


def test_buckets_and_functions_have_policies_of_their_own(aws, role):
    credentials = role()
    admin, s3 = aws.client("s3"), client(aws, "s3", credentials)
    admin.create_bucket(Bucket="opened")
    admin.put_object(Bucket="opened", Key="x", Body=b"x")
    mine = {**allow("s3:GetObject", "arn:aws:s3:::opened/*"), "Principal": {"AWS": credentials["Role"]}}
    plain = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::opened/*"],
             "Condition": {"Bool": {"aws:SecureTransport": "false"}}}  # fmt: skip
    admin.put_bucket_policy(Bucket="opened", Policy=document(mine, plain))
    assert s3.get_object(Bucket="opened", Key="x")["Body"].read() == b"x"
    agents = {**plain, "Condition": {"StringLike": {"aws:UserAgent": "Boto3*"}}}
    admin.put_bucket_policy(Bucket="opened", Policy=document(mine, agents))
    _, message, _ = refused(s3.get_object, Bucket="opened", Key="x")
    assert message.endswith("with an explicit deny in a resource-based policy")
    public = {**mine, "Principal": "*"}
    admin.put_bucket_policy(Bucket="opened", Policy=document(public))
    assert urllib.request.urlopen(f"{aws.url}/opened/x").read() == b"x"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{aws.url}/pictures/a/x%20y")


def test_who_may_assume_a_role(aws, role):
    trusting = {**TRUST, "Principal": {"Service": "lambda.amazonaws.com"}}
    code, message, _ = refused(role, trust=trusting)
    assert code == "AccessDenied"
    assert message.endswith("because no role trust policy allows the sts:AssumeRole action")
    credentials = role()
    arn = client(aws, "sts", credentials).get_caller_identity()["Arn"]
    assert arn == who(credentials)
    assert aws.client("sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/administrator"


def test_a_users_key_and_its_groups_policies(aws):
    iam = aws.client("iam")
    iam.create_user(UserName="ada")
    iam.create_group(GroupName="readers")
    iam.add_user_to_group(GroupName="readers", UserName="ada")
    key = iam.create_access_key(UserName="ada")["AccessKey"]
    s3 = client(aws, "s3", key)
    _, message, _ = refused(s3.get_object, Bucket="pictures", Key="a/x y")
    assert message.startswith(f"User: arn:aws:iam::{ACCOUNT}:user/ada is not authorized")
    iam.put_group_policy(GroupName="readers", PolicyName="p", PolicyDocument=document(allow("s3:GetObject")))
    s3.get_object(Bucket="pictures", Key="a/x y")
    iam.update_access_key(UserName="ada", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    assert refused(s3.get_object, Bucket="pictures", Key="a/x y")[0] == "InvalidAccessKeyId"


@pytest.mark.parametrize(
    ("changed", "codes"),
    [
        ({"SecretAccessKey": "other"}, ("SignatureDoesNotMatch", "InvalidSignatureException", "SignatureDoesNotMatch")),
        ({"AccessKeyId": "AKIAOTHER"}, ("InvalidAccessKeyId", "UnrecognizedClientException", "InvalidClientTokenId")),
        ({"SessionToken": "other"}, ("InvalidToken", "UnrecognizedClientException", "InvalidClientTokenId")),
    ],
)
def test_a_signature_has_to_be_the_keys(aws, role, changed, codes):
    wrong = {**role(allow("*")), **changed}
    calls = (("s3", "list_buckets"), ("sagemaker", "list_models"), ("iam", "list_roles"))
    found = [refused(getattr(client(aws, service, wrong), operation))[0] for service, operation in calls]
    assert tuple(found) == codes
    assert refused(client(aws, "ec2", wrong).describe_instances)[0] == "AuthFailure"


def test_the_body_that_comes_is_the_one_that_was_signed_whatever_a_header_says(aws):
    signed, other = b'{"NameContains": "a"}', b'{"NameContains": "b"}'
    said = {"X-Amz-Target": "SageMaker.ListModels", "Content-Type": "application/x-amz-json-1.1"}
    said["X-Amz-Content-SHA256"] = hashlib.sha256(signed).hexdigest()
    headers = aws.signed("sagemaker", "POST", "/", signed, said)
    assert urllib.request.urlopen(urllib.request.Request(aws.url, signed, headers)).status == 200
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(urllib.request.Request(aws.url, other, headers))
    assert json.load(refusal.value)["__type"] == "InvalidSignatureException"


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_presigned_addresses(aws, role, version):
    s3 = client(aws, "s3", role(allow("s3:GetObject")), signature_version=version)
    address = s3.generate_presigned_url("get_object", Params={"Bucket": "pictures", "Key": "a/x y"})
    assert urllib.request.urlopen(address).read() == b"picture"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(address.replace("a/x%20y", "a/other"))


def test_a_clock_may_be_a_quarter_of_an_hour_wrong(aws, monkeypatch):
    import datetime

    import botocore.auth
    import botocore.crt.auth

    def at(minutes):
        moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=minutes)

        def now(remove_tzinfo=True):
            return moment.replace(tzinfo=None) if remove_tzinfo else moment

        for signers in (botocore.auth, botocore.crt.auth):  # AWS's common runtime signs where it is installed
            monkeypatch.setattr(signers, "get_current_datetime", now)

    for minutes in (-14, 14):
        at(minutes)
        aws.client("sagemaker").list_models()
    for minutes in (-16, 16):
        at(minutes)
        code, message, _ = refused(aws.client("sagemaker").list_models)
        assert code == "InvalidSignatureException"
        assert message.startswith("Signature expired: " if minutes < 0 else "Signature not yet current: ")
        assert refused(aws.client("s3").list_buckets)[0] == "RequestTimeTooSkewed"


def test_who_has_not_signed_is_asked_to(aws):
    headers = {"X-Amz-Target": "SageMaker.ListModels", "Content-Type": "application/x-amz-json-1.1"}
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(urllib.request.Request(aws.url, data=b"{}", headers=headers))
    assert json.load(error.value)["__type"] == "MissingAuthenticationTokenException"


def test_a_policy_with_an_operator_or_a_key_that_aws_does_not_have_is_refused(aws, role):
    name = role()["Role"].rpartition("/")[2]
    for condition, said in (
        ({"StringEqual": {"aws:username": "x"}}, "has an operator StringEqual, which IAM does not have."),
        ({"StringEquals": {"aws:usrname": "x"}}, "has a condition key aws:usrname, which AWS does not have"),
    ):
        policy = document(allow("*", Condition=condition))
        code, message, _ = refused(
            aws.client("iam").put_role_policy, RoleName=name, PolicyName="p", PolicyDocument=policy
        )
        assert code == "MalformedPolicyDocument"
        assert said in message
    policy = document({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})
    assert refused(aws.client("s3").put_bucket_policy, Bucket="pictures", Policy=policy)[0] == "MalformedPolicy"


def test_the_stream_is_the_smallest_policy(aws, role):
    credentials = role(allow("s3:*"))
    s3 = client(aws, "s3", credentials)
    s3.get_object(Bucket="pictures", Key="a/x y")
    s3.head_object(Bucket="pictures", Key="a/x y")
    s3.list_objects_v2(Bucket="pictures")
    stream = json.loads(tell(aws.port, "iam-stream", {}))
    assert stream[credentials["Role"]]["Statement"] == [
        {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::pictures/a/x y"]},
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::pictures"]},
    ]


def test_calls_have_the_condition_keys_that_their_caller_is_asked_about(aws, role):
    prefixed = {"StringLike": {"s3:prefix": "a/*"}}
    credentials = role(allow("s3:ListBucket", Condition=prefixed), allow("s3:GetObject"))
    s3 = client(aws, "s3", credentials)
    for prefix in ("a/", "a/", "b/"):
        with contextlib.suppress(ClientError):
            s3.list_objects_v2(Bucket="pictures", Prefix=prefix)
    s3.get_object(Bucket="pictures", Key="a/x y")
    calls = json.loads(tell(aws.port, "iam-calls", {}))[credentials["Role"]]
    bucket = "arn:aws:s3:::pictures"
    assert calls == [
        {"action": "s3:GetObject", "resource": f"{bucket}/a/x y", "keys": {}, "allowed": True},
        {"action": "s3:ListBucket", "resource": bucket, "keys": {"s3:prefix": ["a/"]}, "allowed": True},
        {"action": "s3:ListBucket", "resource": bucket, "keys": {"s3:prefix": ["b/"]}, "allowed": False},
    ]


def test_the_simulator_says_what_enforcement_does(aws, role):
    iam = aws.client("iam")
    arn = role(allow("s3:GetObject", "arn:aws:s3:::pictures/*", Condition={"Bool": {"aws:SecureTransport": "true"}}))[
        "Role"
    ]
    asked = {"PolicySourceArn": arn, "ActionNames": ["s3:GetObject", "s3:PutObject"],
             "ResourceArns": ["arn:aws:s3:::pictures/a"]}  # fmt: skip
    secure = {"ContextKeyName": "aws:SecureTransport", "ContextKeyValues": ["true"], "ContextKeyType": "boolean"}
    found = iam.simulate_principal_policy(**asked, ContextEntries=[secure])["EvaluationResults"]
    assert [each["EvalDecision"] for each in found] == ["allowed", "implicitDeny"]
    assert found[0]["MatchedStatements"][0]["SourcePolicyId"] == "own"
    found = iam.simulate_principal_policy(**asked)["EvaluationResults"]
    assert found[0]["EvalDecision"] == "implicitDeny"
    assert found[0]["MissingContextValues"] == ["aws:SecureTransport"]
    denied = {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}
    found = iam.simulate_custom_policy(
        PolicyInputList=[document(allow("*"), denied)], ActionNames=["s3:GetObject", "ec2:RunInstances"],
        PermissionsBoundaryPolicyInputList=[document(allow("s3:*"))],
    )["EvaluationResults"]  # fmt: skip
    assert [each["EvalDecision"] for each in found] == ["explicitDeny", "implicitDeny"]
    assert [each["PermissionsBoundaryDecisionDetail"]["AllowedByPermissionsBoundary"] for each in found] == [
        True,
        False,
    ]
    assert refused(iam.simulate_custom_policy, PolicyInputList=["{"], ActionNames=["s3:GetObject"])[0] == "InvalidInput"


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--iam", "enforced"], "invalid choice: 'enforced'"),
        (["--administrator", "key"], "an access key and its secret, such as test:test, not key"),
        (["--offer", "role:short"], "a role's name, a service and a token of at least 16 characters"),
        (["--offer", "role:sagemaker.amazonaws.com:@/none"], "the token of role in /none: No such file or directory"),
    ],
)
def test_a_mistyped_option_is_refused(option, said, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["local_aws", "serve", *option])
    with pytest.raises(SystemExit):
        command_line.main()
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("mode", [Mode.AUDIT, Mode.ENFORCE])
def test_what_cannot_be_decided_on_is_denied_and_does_not_end_an_audit(mode, tmp_path, monkeypatch):
    settings = Settings(port=1, state=tmp_path, minute_seconds=60, jobs_python=tmp_path, iam=mode)
    iam, exchange = LocalAws(settings).iam, Exchange({}, ACCOUNT, "us-east-1")
    exchange.service, exchange.operation = "sagemaker", "ListModels"
    monkeypatch.setattr(authority, "questions", lambda call: 1 / 0)
    with contextlib.nullcontext() if mode is Mode.AUDIT else pytest.raises(ZeroDivisionError):
        iam.authorise(exchange)


def test_an_audit_carries_out_and_remembers(new_local_aws):
    audited = new_local_aws(options=["--iam", "audit", "--no-loopback-tls"])
    audited.client("s3").create_bucket(Bucket="pictures")
    said = tell(audited.port, "iam-denials", {})
    assert said == "CreateBucket: The AWS Access Key Id you provided does not exist in our records."


CODE = """
import boto3
def handler(event, context):
    arn = boto3.client("sts").get_caller_identity()["Arn"]
    try:
        boto3.client("s3").get_object(Bucket="pictures", Key=event["key"])
    except Exception as error:
        return [arn, str(error)]
    return [arn, None]
"""


def test_a_function_is_its_role(aws, wait_for):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("code.py", CODE)
    iam, functions = aws.client("iam"), aws.client("lambda")
    trust = {**TRUST, "Principal": {"Service": "lambda.amazonaws.com"}}
    arn = iam.create_role(RoleName="function", AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    reads = document(allow("s3:GetObject", "arn:aws:s3:::pictures/a/*"))
    iam.put_role_policy(RoleName="function", PolicyName="p", PolicyDocument=reads)
    functions.create_function(FunctionName="reader", Runtime="python3.12", Handler="code.handler", Role=arn,
                              Code={"ZipFile": packed.getvalue()}, Timeout=60)  # fmt: skip
    wait_for(lambda: functions.get_function_configuration(FunctionName="reader")["State"] == "Active")
    for key, denied in (("a/x y", False), ("b", True)):
        payload = json.dumps({"key": key}).encode()
        answer = json.load(functions.invoke(FunctionName="reader", Payload=payload)["Payload"])
        assert answer[0] == f"arn:aws:sts::{ACCOUNT}:assumed-role/function/reader"
        assert ("is not authorized to perform: s3:GetObject" in (answer[1] or "")) is denied, answer


def test_a_container_gets_its_roles_credentials_for_the_token_in_its_file(aws, tmp_path, monkeypatch):
    # GIVEN a role that is offered, and a container's environment
    trust = {**TRUST, "Principal": {"Service": "airflow.amazonaws.com"}}
    aws.client("iam").create_role(RoleName="offered", AssumeRolePolicyDocument=document(trust))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{aws.url}/_local_aws/credentials/offered")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
    (tmp_path / "token").write_text(TOKEN)
    # THEN AWS's SDK is that role
    sts = boto3.Session().client("sts", endpoint_url=aws.url, region_name="us-east-1")
    assert sts.get_caller_identity()["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/offered/airflow"
    # and who knows the address alone gets nothing.
    for headers in ({}, {"Authorization": "another"}):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(urllib.request.Request(f"{aws.url}/_local_aws/credentials/offered", headers=headers))
        assert error.value.code == 404
