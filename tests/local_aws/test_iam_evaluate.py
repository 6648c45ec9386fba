"""Whether policies allow a request: the examples of AWS's pages, and each rule of theirs by itself."""

import json

import pytest

from local_aws.iam.evaluate import Kind, Named, Policies, Principal, Verdict, evaluate
from local_aws.iam.policy import Malformed, parse, read

ACCOUNT = "123456789012"
ADA = Principal(f"arn:aws:iam::{ACCOUNT}:user/ada", ACCOUNT)
JOBS = f"arn:aws:iam::{ACCOUNT}:role/jobs"
SESSION = Principal(f"arn:aws:sts::{ACCOUNT}:assumed-role/jobs/one", ACCOUNT, JOBS)
ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def policy(*statements, version="2012-10-17"):
    return read({"Version": version, "Statement": list(statements)})


def decide(action, resource="*", *, by=ADA, context=None, identity=(), **layers):
    keys = {key.lower(): (value,) if isinstance(value, str) else value for key, value in (context or {}).items()}
    resource_policy, boundary, session = (layers.pop(name, None) for name in ("resource_policy", "boundary", "session"))
    return evaluate(action, resource, by, keys, Policies(
        identity=[Named("identity", policy(*identity))] if identity else [],
        resource=Named("resource", policy(*resource_policy)) if resource_policy else None,
        boundary=Named("boundary", policy(*boundary)) if boundary else None,
        session=[Named("session", policy(*session))] if session else None,
        **layers,
    ))  # fmt: skip


def allows(condition, context=None, **given):
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*", "Condition": condition}
    return decide("s3:GetObject", context=context, identity=[statement], **given).allowed


# ---- IAM user guide, "Policy evaluation logic", "Evaluating identity-based policies with resource-based policies"
BUCKET = "arn:aws:s3:::example-bucket"
CARLOS = {
    "Sid": "AllowS3",
    "Effect": "Allow",
    "Action": ["s3:Get*", "s3:List*", "s3:Put*"],
    "Resource": [BUCKET, f"{BUCKET}/*"],
}


def test_an_identity_policy_of_the_same_account_is_enough():
    decision = decide("s3:GetObject", f"{BUCKET}/report", identity=[CARLOS])
    assert (decision.verdict, decision.kind, decision.statement.name) == (Verdict.ALLOWED, Kind.IDENTITY, "AllowS3")


def test_so_is_a_policy_of_the_resource_that_names_the_user():
    granted = {"Effect": "Allow", "Principal": {"AWS": ADA.arn}, "Action": "s3:*", "Resource": f"{BUCKET}/*"}
    decision = decide("s3:GetObject", f"{BUCKET}/report", resource_policy=[granted])
    assert (decision.verdict, decision.kind) == (Verdict.ALLOWED, Kind.RESOURCE)


def test_one_that_names_the_account_leaves_it_to_identity_policies():
    granted = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "s3:*", "Resource": f"{BUCKET}/*"}
    assert not decide("s3:GetObject", f"{BUCKET}/report", resource_policy=[granted]).allowed
    assert decide("s3:GetObject", f"{BUCKET}/report", resource_policy=[granted], identity=[CARLOS]).allowed


def test_an_explicit_deny_overrides_whatever_allows():
    denied = {"Sid": "No", "Effect": "Deny", "Action": "s3:*", "Resource": f"{BUCKET}/secret*"}
    decision = decide("s3:GetObject", f"{BUCKET}/secret", identity=[ALL, denied])
    assert (decision.verdict, decision.kind, decision.statement.name) == (Verdict.DENIED, Kind.IDENTITY, "No")
    of_bucket = {**denied, "Principal": "*"}
    decision = decide("s3:GetObject", f"{BUCKET}/secret", identity=[ALL], resource_policy=[of_bucket])
    assert (decision.verdict, decision.kind) == (Verdict.DENIED, Kind.RESOURCE)


# ---- IAM user guide, "Permissions boundaries for IAM entities": Shirley
SHIRLEYS = {"Effect": "Allow", "Action": ["s3:*", "cloudwatch:*", "ec2:*"], "Resource": "*"}


def test_a_boundary_sets_the_most_that_identity_policies_can_grant():
    user = {"Effect": "Allow", "Action": "iam:CreateUser", "Resource": "*"}
    decision = decide("iam:CreateUser", identity=[user], boundary=[SHIRLEYS])
    assert (decision.verdict, decision.kind) == (Verdict.NOT_ALLOWED, Kind.BOUNDARY)
    assert not decide("s3:ListBucket", BUCKET, identity=[user], boundary=[SHIRLEYS]).allowed
    assert decide("s3:ListBucket", BUCKET, identity=[ALL], boundary=[SHIRLEYS]).allowed


@pytest.mark.parametrize(("named", "limited"), [(SESSION.arn, False), (JOBS, True), ("*", False)])
def test_what_a_resource_grants_to_a_session_itself_no_boundary_and_no_session_policy_limits(named, limited):
    granted = {"Effect": "Allow", "Principal": {"AWS": named}, "Action": "sqs:SendMessage", "Resource": "*"}
    for layer in ("boundary", "session"):
        given = {layer: [SHIRLEYS]}
        assert decide("sqs:SendMessage", by=SESSION, resource_policy=[granted], **given).allowed is not limited


def test_not_principal_denies_everybody_who_has_a_boundary():
    denied = {"Effect": "Deny", "NotPrincipal": {"AWS": ADA.arn}, "Action": "*", "Resource": "*"}
    assert decide("s3:ListBucket", identity=[ALL], resource_policy=[denied]).allowed
    assert not decide("s3:ListBucket", identity=[ALL], resource_policy=[denied], boundary=[ALL]).allowed
    bob = Principal(f"arn:aws:iam::{ACCOUNT}:user/bob", ACCOUNT)
    assert decide("s3:ListBucket", by=bob, identity=[ALL], resource_policy=[denied]).verdict is Verdict.DENIED


# ---- IAM user guide, "Session policies"
def test_a_session_has_what_both_its_role_and_its_session_policy_allow():
    reading = {"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}
    assert decide("s3:GetObject", by=SESSION, identity=[ALL], session=[reading]).allowed
    decision = decide("s3:PutObject", by=SESSION, identity=[ALL], session=[reading])
    assert (decision.verdict, decision.kind) == (Verdict.NOT_ALLOWED, Kind.SESSION)
    assert not decide("s3:GetObject", by=SESSION, session=[reading]).allowed


# ---- IAM user guide, "Cross-account policy evaluation logic"
def test_across_accounts_both_sides_have_to_allow():
    granted = {"Effect": "Allow", "Principal": {"AWS": ADA.arn}, "Action": "s3:*", "Resource": "*"}
    other = {"resource_account": "999988887777"}
    assert decide("s3:GetObject", identity=[ALL], resource_policy=[granted], **other).allowed
    assert decide("s3:GetObject", identity=[ALL], **other).kind is Kind.RESOURCE
    assert decide("s3:GetObject", resource_policy=[granted], **other).kind is Kind.IDENTITY


def test_a_role_is_assumed_by_whom_its_trust_policy_names():
    trusted = {"Effect": "Allow", "Principal": {"AWS": ADA.arn}, "Action": "sts:AssumeRole"}
    account = {**trusted, "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}
    given = {"resource": JOBS, "resource_must_allow": True}
    assert decide("sts:AssumeRole", resource_policy=[trusted], **given).allowed
    assert decide("sts:AssumeRole", identity=[ALL], **given).kind is Kind.TRUST
    assert not decide("sts:AssumeRole", resource_policy=[account], **given).allowed
    assert decide("sts:AssumeRole", resource_policy=[account], identity=[ALL], **given).allowed
    service = {**trusted, "Principal": {"Service": "lambda.amazonaws.com"}}
    asks = Principal(service="lambda.amazonaws.com")
    assert decide("sts:AssumeRole", by=asks, resource_policy=[service], resource=JOBS, resource_must_allow=True).allowed


def test_the_root_user_needs_no_policy():
    root = Principal(f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT)
    assert decide("iam:CreateUser", by=root).allowed
    denied = {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}
    assert not decide("s3:GetObject", by=root, resource_policy=[denied]).allowed


# ---- elements
@pytest.mark.parametrize(
    ("pattern", "resource", "on"),
    [
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b/a/b", True),
        ("arn:aws:s3:::b/?", "arn:aws:s3:::b/ab", False),
        ("arn:aws:sqs", "arn:aws:sqs:us-east-1:1:q", True),
        ("arn:aws:sqs:*:1", "arn:aws:sqs:us-east-1:1:q", True),
        ("arn:aws:sqs:*:1", "arn:aws:sqs:us-east-1:2:q", False),
        (
            "arn:aws:logs:*:*:log-group:/aws/lambda/f:*",
            "arn:aws:logs:us-east-1:1:log-group:/aws/lambda/f:log-stream:s",
            True,
        ),
        ("arn:aws:s3:::${aws:username}/*", "arn:aws:s3:::ada/x", True),
        ("arn:aws:s3:::${aws:username}/*", "arn:aws:s3:::bob/x", False),
        ("arn:aws:s3:::${aws:PrincipalTag/team}/*", "arn:aws:s3:::x/x", False),
        ("arn:aws:s3:::${aws:PrincipalTag/team, 'none'}/*", "arn:aws:s3:::none/x", True),
        ("arn:aws:s3:::b/${*}", "arn:aws:s3:::b/x", False),
        ("arn:aws:s3:::b/${*}", "arn:aws:s3:::b/*", True),
    ],
)
def test_resources(pattern, resource, on):
    statement = {"Effect": "Allow", "Action": "*", "Resource": pattern}
    assert decide("x:Y", resource, identity=[statement], context={"aws:username": "ada"}).allowed is on


def test_variables_mean_nothing_in_the_older_version():
    statement = {"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::${aws:username}"}
    older = Policies(identity=[Named("older", policy(statement, version="2008-10-17"))])
    asked = {"aws:username": ("ada",)}
    assert not evaluate("s3:ListBucket", "arn:aws:s3:::ada", ADA, asked, older).allowed
    assert evaluate("s3:ListBucket", "arn:aws:s3:::${aws:username}", ADA, asked, older).allowed


def test_a_star_in_what_the_request_brings_is_a_star():
    statement = {"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::b/${aws:username}"}
    assert not decide(
        "s3:GetObject", "arn:aws:s3:::b/other", identity=[statement], context={"aws:username": "*"}
    ).allowed


def test_not_action_and_not_resource():
    but_iam = {"Effect": "Allow", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::secret/*"}
    assert decide("s3:GetObject", "arn:aws:s3:::b/x", identity=[but_iam]).allowed
    assert not decide("iam:CreateUser", "arn:aws:iam::1:user/x", identity=[but_iam]).allowed
    assert not decide("s3:GetObject", "arn:aws:s3:::secret/x", identity=[but_iam]).allowed


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({"StringEquals": {"aws:a": "x"}}, {"aws:A": "x"}, True),
        ({"StringEquals": {"aws:a": "X"}}, {"aws:a": "x"}, False),
        ({"StringEquals": {"aws:a": "x"}}, {}, False),
        ({"StringEquals": {"aws:a": ["x", "y"], "aws:b": "z"}}, {"aws:a": "y", "aws:b": "z"}, True),
        ({"StringEquals": {"aws:a": "x*"}}, {"aws:a": "xy"}, False),
        ({"StringNotEquals": {"aws:a": "x"}}, {}, True),
        ({"StringNotEquals": {"aws:a": ["x", "y"]}}, {"aws:a": "y"}, False),
        ({"StringEqualsIgnoreCase": {"aws:a": "X"}}, {"aws:a": "x"}, True),
        ({"StringNotEqualsIgnoreCase": {"aws:a": "X"}}, {"aws:a": "x"}, False),
        (
            {"StringLike": {"s3:prefix": ["home/${aws:username}/*"]}},
            {"s3:prefix": "home/ada/x", "aws:username": "ada"},
            True,
        ),
        ({"StringNotLike": {"aws:a": "x*"}}, {"aws:a": "xy"}, False),
        ({"StringEqualsIfExists": {"aws:a": "x"}}, {}, True),
        ({"NumericLessThanEquals": {"s3:max-keys": "10"}}, {"s3:max-keys": "10"}, True),
        ({"NumericLessThan": {"s3:TlsVersion": 1.2}}, {"s3:TlsVersion": "1.3"}, False),
        ({"NumericNotEquals": {"aws:a": "1"}}, {"aws:a": "1.0"}, False),
        ({"NumericEquals": {"aws:a": "1"}}, {"aws:a": "one"}, False),
        (
            {"DateGreaterThan": {"aws:CurrentTime": "2013-08-16T12:00:00Z"}},
            {"aws:CurrentTime": "2026-01-01T00:00:00Z"},
            True,
        ),
        ({"DateLessThan": {"aws:EpochTime": "2026-01-01T00:00:01Z"}}, {"aws:EpochTime": "1767225600"}, True),
        ({"Bool": {"aws:SecureTransport": False}}, {"aws:SecureTransport": "false"}, True),
        ({"Bool": {"aws:SecureTransport": "true"}}, {}, False),
        ({"BoolIfExists": {"aws:MultiFactorAuthPresent": "true"}}, {}, True),
        ({"BinaryEquals": {"aws:a": "QmluYXJ5"}}, {"aws:a": "QmluYXJ5"}, True),
        ({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, {"aws:SourceIp": "203.0.113.9"}, True),
        (
            {"NotIpAddress": {"aws:SourceIp": ["203.0.113.0/24", "2001:db8::/32"]}},
            {"aws:SourceIp": "2001:db8::1"},
            False,
        ),
        (
            {"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:*:t*"}},
            {"aws:SourceArn": "arn:aws:sns:us-east-1:1:topic"},
            True,
        ),
        (
            {"ArnNotEquals": {"aws:SourceArn": "arn:aws:sns:*:1:t"}},
            {"aws:SourceArn": "arn:aws:sns:us-east-1:1:t"},
            False,
        ),
        ({"Null": {"aws:TokenIssueTime": "true"}}, {}, True),
        ({"Null": {"aws:TokenIssueTime": "false"}}, {}, False),
        # IAM user guide, "Multivalued context keys"
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["team", "cost"]}}, {"aws:TagKeys": ("team",)}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["team", "cost"]}}, {"aws:TagKeys": ("team", "x")}, False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}, {}, True),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["team"]}}, {"aws:TagKeys": ("x", "team")}, True),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["team"]}}, {}, False),
        ({"ForAnyValue:StringNotEquals": {"aws:TagKeys": ["team"]}}, {"aws:TagKeys": ("team", "x")}, True),
        ({"ForAllValues:StringNotEquals": {"aws:TagKeys": ["team"]}}, {"aws:TagKeys": ("team", "x")}, False),
        # without a value for the variable nothing can be said
        ({"StringNotEquals": {"aws:a": "${aws:username}"}}, {"aws:a": "x"}, False),
        ({"StringEquals": {"aws:a": "${aws:username}"}}, {"aws:a": "x"}, False),
    ],
)
def test_conditions(condition, context, holds):
    assert allows(condition, context) is holds


def test_what_came_closest_is_said():
    other = {"Sid": "Other", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/a/*"}
    unmet = {"Sid": "Prefix", "Effect": "Allow", "Action": "s3:*", "Resource": "*",
             "Condition": {"StringLike": {"s3:prefix": "a/*"}}}  # fmt: skip
    decision = decide("s3:GetObject", "arn:aws:s3:::b/x", identity=[other, unmet])
    assert [(near.statement.name, str(near.unmet)) for near in decision.near] == [
        ("Prefix", "StringLike s3:prefix: a/*"),
        ("Other", "None"),
    ]
    assert decision.kind is Kind.IDENTITY


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ("{", "The policy is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)."),
        ([], "The policy must be a JSON object with a Statement."),
        ({"Version": "2012-10-18", "Statement": [ALL]}, "Version must be 2012-10-17 or 2008-10-17, not 2012-10-18."),
        ({"Statement": []}, "Statement must be a statement or a list of them."),
        ({"Statement": {**ALL, "Effect": "allow"}}, "Effect of statement 1 must be Allow or Deny, not allow."),
        ({"Statement": {**ALL, "Actions": "*"}}, "Statement 1 has an element Actions, which IAM does not know."),
        (
            {"Statement": {"Sid": "A", "Effect": "Deny", "Resource": "*"}},
            "Statement A must have an Action or a NotAction.",
        ),
        ({"Statement": {**ALL, "Action": "s3"}}, "Action 's3' of statement 1 must be * or look like s3:GetObject."),
        ({"Statement": {**ALL, "Resource": "bucket"}}, "Resource 'bucket' of statement 1 must be an ARN or *."),
        (
            {"Statement": {**ALL, "NotAction": "a:b"}},
            "Statement 1 has both Action and NotAction: it may have one of them.",
        ),
        (
            {"Statement": {**ALL, "Principal": {"aws": "*"}}},
            "Principal of statement 1 is of a kind aws; it can be AWS, Service, Federated, CanonicalUser.",
        ),
        (
            {"Statement": {**ALL, "Condition": {"StringEqual": {"a:b": "c"}}}},
            "Condition of statement 1 has an operator StringEqual, which IAM does not have.",
        ),
        (
            {"Statement": {**ALL, "Condition": {"StringEquals": {"a:b": {}}}}},
            "a:b of StringEquals of statement 1 must be a value or a list of values.",
        ),
    ],
)
def test_a_malformed_policy_is_refused_in_one_sentence(document, sentence):
    with pytest.raises(Malformed) as refused:
        parse(document if isinstance(document, str) else json.dumps(document))
    assert str(refused.value) == sentence
