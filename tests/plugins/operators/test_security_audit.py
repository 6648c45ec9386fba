"""The weekly audit on a local AWS: what is wrong is found, what is sound is not, and nothing is changed."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from airflow.sdk.exceptions import AirflowFailException
from musher.operators import security_audit
from musher.operators.base import MusherOperator
from musher.operators.security_audit import AuditSecurityOperator

from tests.local_aws.test_lambda import zipped
from tests.plugins.operators.listening import Listener

pytestmark = pytest.mark.timeout(240)

OTHER = "444455556666"
BLOCKED = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)


def document(principal, action="sts:AssumeRole", effect="Allow", **more):
    statement = {"Effect": effect, "Principal": principal, "Action": action, **more}
    return {"Version": "2012-10-17", "Statement": [statement]}


def public(bucket):
    return json.dumps(document("*", "s3:*", Resource=[f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]))


def only_over_tls(bucket):
    """Of one folder, which nothing here is read from: the local AWS has no TLS."""
    condition = {"Bool": {"aws:SecureTransport": "false"}}
    return json.dumps(document("*", "s3:*", "Deny", Resource=f"arn:aws:s3:::{bucket}/jobs/*", Condition=condition))


@pytest.fixture
def audited(new_project):
    """A project with a bucket, a role and a topic of its own, all of them as they should be."""
    project = new_project()
    project.run_as("audit_security", "weekly")
    heard, name = Listener(project), f"{project.name}-bucket"
    project.s3.create_bucket(Bucket=name)
    project.s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=BLOCKED)
    project.s3.put_bucket_policy(Bucket=name, Policy=only_over_tls(name))
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    project.s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]})
    project.daemon.client("iam").create_role(
        RoleName=f"{project.name}-lambda",
        AssumeRolePolicyDocument=json.dumps(document({"Service": "lambda.amazonaws.com"})),
        Tags=[{"Key": "project", "Value": project.name}],
    )
    project.environment = project.environment.model_copy(update={"bucket": name})
    project.heard = heard
    return project


def found(project):
    part = project.read_part("security_audit")
    listed = part["findings"]
    return part, [(each["severity"], each["check"], each["where"].removeprefix("arn:aws:")) for each in listed]


def page(project):
    key = f"runs/{project.run.key}/security_audit.html"
    return project.s3.get_object(Bucket=project.environment.bucket, Key=key)["Body"].read().decode()


@pytest.fixture
def calls(monkeypatch):
    """Every operation that a task calls."""
    made, client_factory = [], MusherOperator.client_factory

    def factory(self, service, config):
        client = client_factory(self, service, config)
        client.meta.events.register("before-call", lambda model, **_: made.append(model.name))
        return client

    monkeypatch.setattr(MusherOperator, "client_factory", factory)
    return made


def test_what_is_sound_is_not_found_and_what_was_not_seen_is_not_called_fine(audited, calls):
    makes = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sqs:CreateQueue", "Resource": "*"}}
    audited.daemon.client("iam").put_role_policy(
        RoleName=f"{audited.name}-lambda", PolicyName="makes", PolicyDocument=json.dumps(makes)
    )
    result = audited.perform(AuditSecurityOperator)

    part, findings = found(audited)
    # The one image for inference is no longer patched, and there is no newer one.
    assert findings == [("medium", "image", "image of the next endpoint")]
    assert (part["passed"], result["medium"], result["critical"]) == (True, 1, 0)
    assert [each["name"] for each in part["roles"]][-1] == f"{audited.name}-lambda"
    # What roles may call, and when they last did, is known as well; all are too young to be judged by it.
    assert part["roles"][-1]["services"] == [{"service": "sqs", "last_used": None, "actions": {"CreateQueue": None}}]
    assert part["not_looked_at"] == []
    assert result["not_looked_at"] == 0
    shown = page(audited)
    assert "1 medium</p>" in shown
    assert result["page"].endswith("security_audit.html")
    assert audited.heard.messages() == []
    # It reads, and writes its two files.
    writing = [each for each in calls if not each.startswith(("Get", "List", "Describe", "Generate"))]
    assert writing == ["PutObject", "PutObject"]


def test_what_was_accepted_is_shown_and_fails_no_run_until_its_day_has_passed(audited, monkeypatch):
    # GIVEN two severe findings, both of them accepted, and an acceptance of something that is mended
    audited.s3.delete_public_access_block(Bucket=audited.environment.bucket)
    audited.s3.delete_bucket_encryption(Bucket=audited.environment.bucket)
    where, today = f"arn:aws:s3:::{audited.environment.bucket}", dt.datetime.now(dt.UTC)
    agreed = [
        {"check": check, "where": where, "severity": "high", "reason": f"{check} is looked after",
         "until": f"{until:%F}"}
        for check, until in (
            ("bucket", today), ("encryption", today + dt.timedelta(days=9)), ("topic", today + dt.timedelta(days=9)),
        )
    ]  # fmt: skip
    audited.environment = audited.environment.model_copy(update={"accepted_findings": agreed})

    # WHEN it is looked at on the last day of the one, THEN no run fails, nobody is told, and the page shows both
    result = audited.perform(AuditSecurityOperator)
    part, _ = found(audited)
    kept = {each["check"]: each["accepted"] for each in part["findings"] if each["accepted_until"]}
    assert (part["passed"], result["high"], kept) == (True, 0, {"bucket": True, "encryption": True})
    assert audited.heard.messages() == []
    shown = page(audited)
    assert "1 medium; 2 accepted" in shown
    assert "bucket is looked after" in shown
    assert f"Not found any more: topic at {where} (high)" in shown

    # and the day after, that one counts again.
    monkeypatch.setattr(security_audit, "_now", lambda: today + dt.timedelta(days=1))
    with pytest.raises(AirflowFailException, match="1 of the findings at"):
        audited.perform(AuditSecurityOperator)
    assert f"It was accepted until {today:%F}: bucket is looked after" in page(audited)
    assert audited.heard.messages()[0]["Message"].count("\n") == 1


def test_an_acceptance_of_what_nobody_checks_is_refused(audited):
    wrong = {"check": "buckets", "where": "x", "severity": "low", "reason": "r", "until": "2027-01-31"}
    audited.environment = audited.environment.model_copy(update={"accepted_findings": [wrong]})
    with pytest.raises(AirflowFailException, match="check is 'buckets'; it has to be one of trust, unused role, "):
        audited.perform(AuditSecurityOperator)


def test_what_is_wrong_is_found_told_and_fails_the_run(audited, monkeypatch):
    name, env, iam = audited.name, audited.environment, audited.daemon.client("iam")
    bucket, functions = env.bucket, audited.daemon.client("lambda")
    # GIVEN a public bucket without a default encryption, a role that anybody may take and one for another account
    audited.s3.delete_public_access_block(Bucket=bucket)
    audited.s3.put_bucket_policy(Bucket=bucket, Policy=public(bucket))
    audited.s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    audited.s3.delete_bucket_encryption(Bucket=bucket)
    for role, principal in (("open", "*"), ("shared", OTHER)):
        policy = json.dumps(document({"AWS": principal}))
        iam.create_role(RoleName=f"{name}-{role}", AssumeRolePolicyDocument=policy)
    # a policy of nobody's, a function whose alias anybody may call, a topic that another account may publish to
    allowed = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}}
    iam.create_policy(PolicyName=f"{name}-idle", PolicyDocument=json.dumps(allowed))
    function = functions.create_function(
        FunctionName=f"{name}-classifier", Runtime="python3.12", Handler="app.handler", Role=env.lambda_role_arn,
        Code={"ZipFile": zipped()}, Publish=True, Tags={"project": name},
    )["FunctionArn"].removesuffix(":1").removeprefix("arn:aws:")  # fmt: skip
    functions.create_alias(FunctionName=f"{name}-classifier", Name="live", FunctionVersion="1")
    functions.add_permission(
        FunctionName=f"{name}-classifier", Qualifier="live", StatementId="all", Action="lambda:InvokeFunction",
        Principal="*",
    )  # fmt: skip
    topic = env.notifications_topic_arn
    policy = json.dumps(document({"AWS": OTHER}, "sns:Publish", Resource=topic))
    audited.daemon.client("sns").set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    # and a key
    iam.create_user(UserName=f"{name}-ann")
    iam.create_access_key(UserName=f"{name}-ann")
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=100)
    monkeypatch.setattr(security_audit, "_now", lambda: later)

    # WHEN it is looked at a hundred days later
    with pytest.raises(AirflowFailException) as failed:
        audited.perform(AuditSecurityOperator)

    part, findings = found(audited)
    mine = [each for each in findings if name in each[2]]
    assert mine == [
        ("critical", "bucket", f"s3:::{bucket}"),
        ("critical", "bucket", f"s3:::{bucket}"),
        ("critical", "function", f"{function}:live"),
        ("critical", "trust", f"iam::{part['account']}:role/{name}-open"),
        ("high", "bucket", f"s3:::{bucket}"),
        ("high", "encryption", f"s3:::{bucket}"),
        ("medium", "access key", f"iam::{part['account']}:user/{name}-ann"),
        ("medium", "bucket", f"s3:::{bucket}"),
        ("medium", "topic", topic.removeprefix("arn:aws:")),
        ("medium", "trust", f"iam::{part['account']}:role/{name}-shared"),
        ("low", "unattached policy", f"iam::{part['account']}:policy/{name}-idle"),
        ("low", "unused role", f"iam::{part['account']}:role/{name}-lambda"),
        ("low", "unused role", f"iam::{part['account']}:role/{name}-open"),
        ("low", "unused role", f"iam::{part['account']}:role/{name}-shared"),
    ]
    said = {each["what"] for each in part["findings"]}
    assert "The bucket's access control list gives anybody READ." in said
    assert "The function's policy allows lambda:InvokeFunction to anybody." in said
    assert f"The topic's policy allows sns:Publish to {OTHER}." in said
    # THEN the run has failed after the page was written and the topic told
    assert part["passed"] is False
    assert "6 of the findings at s3://" in str(failed.value)
    assert "the first is arn:aws:s3:::" in str(failed.value)
    (message,) = audited.heard.messages()
    assert message["Subject"] == f"{name}: the security audit found something severe"
    assert message["Message"].count("\n") == 6
    assert "CRITICAL" in message["Message"]
    assert page(audited).count("<tr><td") == len(findings) + len(part["roles"])
