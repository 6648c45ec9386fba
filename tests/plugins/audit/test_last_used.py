"""What roles last did, in IAM's own words: the local AWS keeps no record of it."""

from __future__ import annotations

import datetime as dt
import json

import boto3
import pytest
from botocore.stub import Stubber
from musher.audit import keys, roles
from musher.audit.looking import Looking

NOW = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
ACCOUNT = "111122223333"
IDLE = ", and has not done so for 90 days."
LAMBDA = {"Service": "lambda.amazonaws.com"}
TRUST = {"Statement": [{"Effect": "Allow", "Principal": LAMBDA, "Action": "sts:AssumeRole"}]}


def ago(days):
    return NOW - dt.timedelta(days=days)


@pytest.fixture
def iam():
    client = boto3.client("iam", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(client) as stub:
        yield stub
        stub.assert_no_pending_responses()


def looking(iam, **settings):
    return Looking(lambda service: iam.client, project="musher", account=ACCOUNT, now=NOW, **settings)


def role(name, made=200, **more):
    return {
        "Path": "/", "RoleName": name, "RoleId": "AROAEXAMPLEEXAMPLE", "CreateDate": ago(made),
        "Arn": f"arn:aws:iam::{ACCOUNT}:role/{name}", "AssumeRolePolicyDocument": json.dumps(TRUST), **more,
    }  # fmt: skip


def expect_roles(iam, *made):
    roles = [dict(each) for each in (*made, role("somebody-else"))]  # botocore reads the documents in place
    iam.add_response("list_roles", {"Roles": roles, "IsTruncated": False})
    for number, each in enumerate(made):
        iam.add_response("get_role", {"Role": dict(each)}, {"RoleName": each["RoleName"]})
        expected = {"Arn": each["Arn"], "Granularity": "ACTION_LEVEL"}
        iam.add_response("generate_service_last_accessed_details", {"JobId": f"{number}" * 36}, expected)


def report(iam, services, status="COMPLETED", **more):
    answer = {"JobStatus": status, "JobCreationDate": NOW, "JobCompletionDate": NOW, "ServicesLastAccessed": services}
    iam.add_response("get_service_last_accessed_details", {**answer, **more})


def service(name, last=None, **actions):
    found = {"ServiceName": name, "ServiceNamespace": name}
    tracked = [
        {"ActionName": action, **({"LastAccessedTime": ago(days)} if days is not None else {})}
        for action, days in actions.items()
    ]
    return found | ({"LastAuthenticated": ago(last)} if last is not None else {}) | (
        {"TrackedActionsLastAccessed": tracked} if tracked else {}
    )  # fmt: skip


def no_policies(iam):
    iam.add_response("list_policies", {"Policies": [], "IsTruncated": False})


def test_a_service_or_an_action_that_nobody_called_is_named(iam):
    expect_roles(iam, role("musher-airflow", RoleLastUsed={"LastUsedDate": ago(1), "Region": "us-east-1"}))
    # GIVEN a report that is not made at once, and comes in two parts
    report(iam, [], "IN_PROGRESS")
    more = {"IsTruncated": True, "Marker": "next"}
    report(iam, [service("s3", 1, GetObject=1, DeleteObject=91, PutObject=None), service("sns")], **more)
    report(iam, [service("ec2", 89), service("budgets", 90)])
    no_policies(iam)
    at, waited = looking(iam), []

    (audited,) = roles.look(at, sleep=waited.append)

    assert waited == [0.5]
    assert [(each.severity, each.check, each.what) for each in at.findings] == [
        (
            "low",
            "unused permission",
            f"The role may call s3:DeleteObject and s3:PutObject{IDLE}",
        ),
        ("low", "unused permission", f"The role may call sns{IDLE}"),
        ("low", "unused permission", f"The role may call budgets{IDLE}"),
    ]
    assert (audited.last_used, audited.region) == ("2026-11-30T00:00:00+00:00", "us-east-1")
    assert [each.service for each in audited.services] == ["s3", "sns", "ec2", "budgets"]
    assert at.not_looked_at == []


def test_a_young_role_is_not_judged_and_an_idle_one_is(iam):
    expect_roles(iam, role("musher-ec2", made=91), role("musher-lambda", made=89))
    for _ in range(2):
        report(iam, [service("s3")])
    no_policies(iam)
    at = looking(iam)
    roles.look(at)
    assert [(each.where.rpartition("/")[2], each.check) for each in at.findings] == [
        ("musher-ec2", "unused role"), ("musher-ec2", "unused permission"),
    ]  # fmt: skip
    assert at.findings[0].what == "Nobody has used the role since it was made on 2026-09-01."


def test_a_report_that_is_not_made_or_failed_or_denied_is_not_looked_at(iam):
    expect_roles(iam, role("musher-a"), role("musher-b"))
    report(iam, [], "IN_PROGRESS")
    report(iam, [], "FAILED", Error={"Message": "no luck", "Code": "InternalError"})
    iam.add_client_error("list_policies", "AccessDenied", "User me is not authorized to perform: iam:ListPolicies")
    at = looking(iam)
    audited = roles.look(at, sleep=lambda seconds: None, limit_seconds=0)
    assert [(each.what, each.why) for each in at.not_looked_at] == [
        ("what the role musher-a last did", "IAM has not made its report in time."),
        ("what the role musher-b last did", "IAM could not make its report: no luck"),
        (
            "policies that are attached to nothing",
            "AccessDenied: User me is not authorized to perform: iam:ListPolicies",
        ),
    ]
    assert [each.services for each in audited] == [None, None]
    assert {each.check for each in at.findings} == {"unused role"}


def test_another_projects_role_is_not_ours_although_its_name_begins_like_one(iam):
    iam.add_response("list_roles", {"Roles": [role("musher-two-lambda")], "IsTruncated": False})
    iam.add_response("get_role", {"Role": role("musher-two-lambda", Tags=[{"Key": "project", "Value": "musher-two"}])})
    no_policies(iam)
    at = looking(iam)
    assert roles.look(at) == []
    assert at.findings == []


def test_keys_by_age_use_and_user(iam):
    def user(name):
        made = {"Path": "/", "UserName": name, "UserId": "AIDAEXAMPLEEXAMPLE", "CreateDate": ago(500)}
        return {**made, "Arn": f"arn:aws:iam::{ACCOUNT}:user/{name}"}

    def expect_keys(name, *listed):
        found = [
            {"UserName": name, "AccessKeyId": key, "Status": status, "CreateDate": ago(age)}
            for key, status, age in listed
        ]
        iam.add_response("list_access_keys", {"AccessKeyMetadata": found, "IsTruncated": False}, {"UserName": name})

    def expect_use(days):
        last = {"LastUsedDate": ago(days)} if days is not None else {}
        last |= {"ServiceName": "s3", "Region": "us-east-1"}
        iam.add_response("get_access_key_last_used", {"UserName": "a", "AccessKeyLastUsed": last})

    iam.add_response("get_account_summary", {"SummaryMap": {"AccountAccessKeysPresent": 1}})
    iam.add_response("list_users", {"Users": [user("airflow"), user("ann"), user("bob")], "IsTruncated": False})
    expect_keys("airflow", ("AKIAAAAAAAAAAAAAAAA1", "Active", 100), ("AKIAAAAAAAAAAAAAAAA2", "Inactive", 900))
    expect_use(0)
    expect_keys("ann", ("AKIAAAAAAAAAAAAAAAA3", "Active", 90), ("AKIAAAAAAAAAAAAAAAA4", "Active", 89))
    expect_use(None)
    iam.add_client_error("list_access_keys", "AccessDenied", "not you")
    at = looking(iam)

    keys.look(at, caller=f"arn:aws:iam::{ACCOUNT}:user/airflow")

    ours = "The key ending in AAA1 of airflow is 100 days old, and Airflow calls AWS with that user."
    assert [(each.severity, each.where.rpartition(":")[2], each.what) for each in at.findings] == [
        ("critical", "root", "The account's root user has access keys."),
        ("high", "user/airflow", ours),
        ("medium", "user/ann", "The key ending in AAA3 of ann is 90 days old; it was never used."),
    ]
    assert [each.what for each in at.not_looked_at] == ["the access keys of the user bob"]
