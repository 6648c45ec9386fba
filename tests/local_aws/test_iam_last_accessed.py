"""IAM's reports of what somebody was last used for, by what the local AWS has decided on."""

import datetime as dt

import pytest

from tests.local_aws.iam_callers import ACCOUNT, allow, client, document, refused


def report(iam, arn, **more):
    job = iam.generate_service_last_accessed_details(Arn=arn, **more)["JobId"]
    return job, iam.get_service_last_accessed_details(JobId=job)


def test_a_report_says_of_each_allowed_service_and_action_when_it_was_last_tried(aws, role):
    # GIVEN a role that may do more than it does
    began = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
    credentials = role(allow(["s3:ListBucket", "s3:GetObject", "s3:GetBucketPolicy"]), allow("sqs:ListQueues"))
    s3 = client(aws, "s3", credentials)
    s3.list_objects_v2(Bucket="pictures")
    refused(client(aws, "sns", credentials).list_topics)

    # WHEN a report of its actions is made
    job, found = report(aws.client("iam"), credentials["Role"], Granularity="ACTION_LEVEL")

    # THEN it has what is allowed, and of that what was used
    assert (found["JobStatus"], found["JobType"], found["IsTruncated"]) == ("COMPLETED", "ACTION_LEVEL", False)
    s3, sqs = found["ServicesLastAccessed"]
    assert (s3["ServiceNamespace"], s3["LastAuthenticatedEntity"]) == ("s3", credentials["Role"])
    assert began < s3["LastAuthenticated"] <= dt.datetime.now(dt.UTC)
    # (what is about an object is no management event)
    tracked = {each["ActionName"]: "LastAccessedTime" in each for each in s3["TrackedActionsLastAccessed"]}
    assert tracked == {"GetBucketPolicy": False, "ListBucket": True}
    assert (sqs["ServiceNamespace"], sqs["TotalAuthenticatedEntities"], "LastAuthenticated" in sqs) == ("sqs", 0, False)
    # and in parts, who it was.
    part = aws.client("iam").get_service_last_accessed_details(JobId=job, MaxItems=1)
    assert (len(part["ServicesLastAccessed"]), part["IsTruncated"], part["Marker"]) == (1, True, "1")
    (who,) = aws.client("iam").get_service_last_accessed_details_with_entities(
        JobId=job, ServiceNamespace="s3"
    )["EntityDetailsList"]  # fmt: skip
    assert (who["EntityInfo"]["Arn"], who["EntityInfo"]["Type"]) == (credentials["Role"], "ROLE")
    assert who["LastAuthenticated"] == s3["LastAuthenticated"]


def test_a_report_of_a_policy_is_about_those_who_have_it(aws, role):
    iam, credentials = aws.client("iam"), role()
    policy = iam.create_policy(PolicyName="lists", PolicyDocument=document(allow("sqs:ListQueues")))["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=credentials["Role"].rpartition("/")[2], PolicyArn=policy)
    iam.create_user(UserName="idle")
    iam.attach_user_policy(UserName="idle", PolicyArn=policy)
    client(aws, "sqs", credentials).list_queues()
    job, found = report(iam, policy)
    (sqs,) = found["ServicesLastAccessed"]
    assert (sqs["TotalAuthenticatedEntities"], "TrackedActionsLastAccessed" in sqs) == (1, False)
    found = iam.get_service_last_accessed_details_with_entities(JobId=job, ServiceNamespace="sqs")["EntityDetailsList"]
    used = {each["EntityInfo"]["Arn"]: "LastAuthenticated" in each for each in found}
    assert used == {credentials["Role"]: True, f"arn:aws:iam::{ACCOUNT}:user/idle": False}


@pytest.mark.parametrize(
    ("operation", "params", "code"),
    [
        ("generate_service_last_accessed_details", {"Arn": f"arn:aws:iam::{ACCOUNT}:role/nobody"}, "NoSuchEntity"),
        ("get_service_last_accessed_details", {"JobId": "0" * 36}, "NoSuchEntity"),
    ],
)
def test_what_is_not_there_has_no_report(aws, operation, params, code):
    assert refused(getattr(aws.client("iam"), operation), **params)[0] == code
