"""Whom a policy lets in from outside of the account."""

from __future__ import annotations

import json

import pytest
from musher.audit.openness import Opening, openings, refuses_without_tls

OURS, THEIRS = "111122223333", "444455556666"
RULE = f"arn:aws:events:us-east-1:{OURS}:rule/a"
CALL = ("lambda:InvokeFunction",)


def policy(principal="*", condition=None, **more):
    statement = {"Effect": "Allow", "Principal": principal, "Action": list(CALL), "Resource": "*", **more}
    return {"Version": "2012-10-17", "Statement": [statement | ({"Condition": condition} if condition else {})]}


@pytest.mark.parametrize(
    ("principal", "condition"),
    [
        ({"AWS": f"arn:aws:iam::{OURS}:root"}, None),
        ({"AWS": [OURS, f"arn:aws:iam::{OURS}:role/musher-airflow"]}, None),
        ("*", {"StringEquals": {"aws:SourceAccount": OURS}}),
        ({"AWS": "*"}, {"StringEquals": {"AWS:SourceOwner": [OURS]}}),  # SNS's own policy of a new topic
        ("*", {"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{OURS}:role/*"}}),
        ("*", {"StringEquals": {"aws:SourceVpce": "vpce-0a1b"}}),
        (
            {"Service": "events.amazonaws.com"},
            {"ArnLike": {"aws:SourceArn": RULE}},
        ),
        ({"AWS": THEIRS}, {"StringEquals": {"aws:PrincipalAccount": OURS}}),  # which nobody can meet
    ],
)
def test_what_stays_in_the_account_is_no_opening(principal, condition):
    assert openings(policy(principal, condition), OURS, services=True) == []


@pytest.mark.parametrize(
    ("principal", "condition"),
    [
        ("*", None),
        ({"AWS": ["*", OURS]}, None),
        # What lets a request in that has no such key, or names everybody, holds nobody.
        ("*", {"StringEqualsIfExists": {"aws:SourceAccount": OURS}}),
        ("*", {"StringNotEquals": {"aws:SourceAccount": THEIRS}}),
        ("*", {"ForAllValues:StringEquals": {"aws:PrincipalOrgPaths": ["o-0123456789/r-1/"]}}),
        ("*", {"ArnLike": {"aws:SourceArn": "arn:aws:sns:us-east-1:*:a"}}),
        ("*", {"StringLike": {"aws:PrincipalArn": ["*"]}}),
        ("*", {"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}),
        ("*", {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}}),
        ("*", {"StringEquals": {"aws:PrincipalTag/team": "a"}}),
    ],
)
def test_who_is_not_named_is_anybody(principal, condition):
    assert openings(json.dumps(policy(principal, condition)), OURS) == [Opening("anybody", CALL, anybody=True)]


def test_everybody_but_some_is_anybody():
    statement = {"Effect": "Allow", "NotPrincipal": {"AWS": OURS}, "NotAction": "s3:GetObject", "Resource": "*"}
    (found,) = openings({"Statement": statement}, OURS)
    assert (found.who, found.anybody, found.actions) == ("anybody", True, ("everything but some actions",))


@pytest.mark.parametrize(
    ("principal", "condition", "who"),
    [
        ({"AWS": f"arn:aws:iam::{THEIRS}:root"}, None, f"arn:aws:iam::{THEIRS}:root"),
        ({"AWS": [OURS, THEIRS]}, None, THEIRS),
        ({"AWS": "AIDAEXAMPLEOFADELETED"}, None, "AIDAEXAMPLEOFADELETED"),
        ({"CanonicalUser": "79a59d"}, None, "79a59d"),
        ("*", {"StringEquals": {"aws:PrincipalAccount": [OURS, THEIRS]}}, THEIRS),
        ("*", {"StringEquals": {"aws:PrincipalOrgID": "o-0123456789"}}, "the organization o-0123456789"),
    ],
)
def test_who_is_named_and_another_is_named_in_the_finding(principal, condition, who):
    assert openings(policy(principal, condition), OURS) == [Opening(who, CALL)]


def test_a_service_calls_for_whoever_uses_it_unless_it_is_told_for_whom():
    free, other = (
        policy({"Service": "s3.amazonaws.com"}, condition)
        for condition in (None, {"StringEquals": {"aws:SourceAccount": THEIRS}})
    )
    assert openings(free, OURS, services=True) == [Opening("whoever uses s3.amazonaws.com", CALL)]
    assert openings(other, OURS, services=True) == [Opening(f"{THEIRS} through s3.amazonaws.com", CALL)]
    assert openings(free, OURS) == [], "a role is taken by a service for the account that made what uses it"


@pytest.mark.parametrize(
    ("subject", "closed"),
    [
        ({"StringEquals": {"token.actions.githubusercontent.com:sub": "repo:me/dogs:ref:refs/heads/main"}}, True),
        ({"StringLike": {"token.actions.githubusercontent.com:sub": "repo:me/dogs:*"}}, True),
        ({"StringEquals": {"token.actions.githubusercontent.com:aud": "sts.amazonaws.com"}}, False),
        ({"StringLike": {"token.actions.githubusercontent.com:sub": "*"}}, False),
        (None, False),
    ],
)
def test_a_token_is_anybodys_unless_its_subject_is_named(subject, closed):
    provider = f"arn:aws:iam::{OURS}:oidc-provider/token.actions.githubusercontent.com"
    found = openings(policy({"Federated": provider}, subject), OURS)
    assert found == ([] if closed else [Opening(f"anybody whom {provider} knows", CALL, anybody=True)])


def test_a_deny_opens_nothing():
    assert openings({"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:*"}]}, OURS) == []


@pytest.mark.parametrize(
    ("effect", "principal", "condition", "refuses"),
    [
        ("Deny", "*", {"Bool": {"aws:SecureTransport": "false"}}, True),
        ("Deny", {"AWS": "*"}, {"Bool": {"AWS:SecureTransport": [False]}}, True),
        ("Allow", "*", {"Bool": {"aws:SecureTransport": "true"}}, False),
        ("Deny", "*", {"Bool": {"aws:SecureTransport": "true"}}, False),
        ("Deny", {"AWS": OURS}, {"Bool": {"aws:SecureTransport": "false"}}, False),
        ("Deny", "*", {"NumericLessThan": {"s3:TlsVersion": "1.2"}}, False),
    ],
)
def test_a_bucket_is_read_over_tls_alone_where_its_policy_says_so_to_everybody(effect, principal, condition, refuses):
    assert refuses_without_tls(json.dumps(policy(principal, condition, Effect=effect))) is refuses
