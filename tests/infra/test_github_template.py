"""The role that GitHub's workflow deploys with: who may take it, and that it may do what a deployment does, no more."""

from __future__ import annotations

import copy
import json
import re
from fnmatch import fnmatchcase
from typing import Any

import pytest

from tests.infra import calls, policy_rules
from tests.tools.test_workflows import workflow
from tools.cloudformation import FOLDER, load

PATH = FOLDER / "github.yaml"
TEMPLATE = load(PATH.read_text())
POLICIES = [name for name, each in TEMPLATE["Resources"].items() if each["Type"] == "AWS::IAM::ManagedPolicy"]
DEPLOYED = [load((FOLDER / name).read_text())["Resources"] for name in ("musher.yaml", "mwaa.yaml")]

# What CloudFormation calls for each type of resource, as far as our templates use its properties: to make it, to look
# at it, to change it, and to take it back when the rest fails.
# Source: the types' schemas of CloudFormation (handlers, permissions), as of November 2026.
CALLED = {
    "AWS::Budgets::Budget": {
        "budgets:ListTagsForResource", "budgets:ModifyBudget", "budgets:TagResource", "budgets:UntagResource",
        "budgets:ViewBudget",
    },
    "AWS::EC2::SecurityGroup": {
        "ec2:AuthorizeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupIngress", "ec2:CreateSecurityGroup",
        "ec2:CreateTags", "ec2:DeleteSecurityGroup", "ec2:DeleteTags", "ec2:DescribeInstances",
        "ec2:DescribeSecurityGroups", "ec2:RevokeSecurityGroupEgress", "ec2:RevokeSecurityGroupIngress",
    },
    "AWS::EC2::SecurityGroupIngress": {
        "ec2:AuthorizeSecurityGroupIngress", "ec2:DescribeSecurityGroupRules", "ec2:DescribeSecurityGroups",
        "ec2:RevokeSecurityGroupIngress", "ec2:UpdateSecurityGroupRuleDescriptionsIngress",
    },
    "AWS::IAM::InstanceProfile": {
        "iam:AddRoleToInstanceProfile", "iam:CreateInstanceProfile", "iam:DeleteInstanceProfile",
        "iam:GetInstanceProfile", "iam:PassRole", "iam:RemoveRoleFromInstanceProfile",
    },
    "AWS::IAM::ManagedPolicy": {
        "iam:AttachRolePolicy", "iam:CreatePolicy", "iam:CreatePolicyVersion", "iam:DeletePolicy",
        "iam:DeletePolicyVersion", "iam:DetachRolePolicy", "iam:GetPolicy", "iam:GetPolicyVersion",
        "iam:ListEntitiesForPolicy", "iam:ListPolicyVersions",
    },
    "AWS::Events::Rule": {
        "events:DeleteRule", "events:DescribeRule", "events:ListTagsForResource", "events:ListTargetsByRule",
        "events:PutRule", "events:PutTargets", "events:RemoveTargets", "events:TagResource", "events:UntagResource",
    },
    "AWS::IAM::Policy": {"iam:DeleteRolePolicy", "iam:GetRolePolicy", "iam:PutRolePolicy"},
    "AWS::IAM::Role": {
        "iam:CreateRole", "iam:DeleteRole", "iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies",
        "iam:ListRolePolicies", "iam:ListRoleTags", "iam:PutRolePermissionsBoundary", "iam:TagRole", "iam:UntagRole",
        "iam:UpdateAssumeRolePolicy", "iam:UpdateRole", "iam:UpdateRoleDescription",
    },
    "AWS::Logs::LogGroup": {
        "logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:DeleteRetentionPolicy", "logs:DescribeLogGroups",
        "logs:GetDataProtectionPolicy", "logs:ListTagsForResource", "logs:PutRetentionPolicy", "logs:TagResource",
        "logs:UntagResource",
    },
    # What MWAA asks of whoever calls it. Source: its user guide, "Accessing an Amazon MWAA environment".
    "AWS::MWAA::Environment": {
        "airflow:CreateEnvironment", "airflow:DeleteEnvironment", "airflow:GetEnvironment", "airflow:TagResource",
        "airflow:UntagResource", "airflow:UpdateEnvironment", "ec2:CreateNetworkInterface", "ec2:CreateVpcEndpoint",
        "ec2:DescribeRouteTables", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets",
        "ec2:DescribeVpcs", "iam:CreateServiceLinkedRole", "iam:PassRole",
        "s3:GetEncryptionConfiguration",
    },
    "AWS::S3::Bucket": {
        "s3:CreateBucket", "s3:DeleteBucket", "s3:GetAccelerateConfiguration", "s3:GetAnalyticsConfiguration",
        "s3:GetBucketCORS", "s3:GetBucketLogging", "s3:GetBucketNotification", "s3:GetBucketObjectLockConfiguration",
        "s3:GetBucketOwnershipControls", "s3:GetBucketPublicAccessBlock", "s3:GetBucketTagging",
        "s3:GetBucketVersioning", "s3:GetBucketWebsite", "s3:GetEncryptionConfiguration",
        "s3:GetIntelligentTieringConfiguration", "s3:GetInventoryConfiguration", "s3:GetLifecycleConfiguration",
        "s3:GetMetricsConfiguration", "s3:GetReplicationConfiguration", "s3:ListBucket", "s3:ListTagsForResource",
        "s3:PutBucketOwnershipControls", "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging",
        "s3:PutBucketVersioning", "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration", "s3:TagResource",
        "s3:UntagResource",
    },
    "AWS::S3::BucketPolicy": {"s3:DeleteBucketPolicy", "s3:GetBucketPolicy", "s3:PutBucketPolicy"},
    "AWS::SNS::Topic": {
        "sns:CreateTopic", "sns:DeleteTopic", "sns:GetDataProtectionPolicy", "sns:GetTopicAttributes",
        "sns:ListSubscriptionsByTopic", "sns:ListTagsForResource", "sns:SetTopicAttributes", "sns:Subscribe",
        "sns:TagResource", "sns:Unsubscribe", "sns:UntagResource",
    },
    "AWS::SNS::TopicPolicy": {"sns:GetTopicAttributes", "sns:SetTopicAttributes"},
    "AWS::SecretsManager::Secret": {
        "secretsmanager:CreateSecret", "secretsmanager:DeleteSecret", "secretsmanager:DescribeSecret",
        "secretsmanager:GetSecretValue", "secretsmanager:TagResource", "secretsmanager:UntagResource",
        "secretsmanager:UpdateSecret",
    },
}  # fmt: skip
# What schemas name as permissions and IAM does not know: taking a bucket's tags away is s3:PutBucketTagging.
# Source: Service Authorization Reference, Amazon S3.
NO_ACTIONS = {"s3:DeleteBucketTagging"}
# Tags of a stack, which its creation and its updates carry. Source: CloudFormation user guide, on controlling access.
TAGS = {"cloudformation:TagResource"}
# What of the code a deployment runs; nothing of it deletes a stack of AWS's.
CODE = [calls.ROOT / "tools/cloudformation.py"] + [
    calls.ROOT / f"tools/deployment/{name}.py" for name in ("account", "deploy", "environment", "upload")
]
NOT_DEPLOY = {"delete_stack"}


def allowed() -> set[str]:
    return {action for each in policy_rules.statements(TEMPLATE) for action in each.actions}


def called() -> set[str]:
    return {action for resources in DEPLOYED for each in resources.values() for action in CALLED[each["Type"]]}


def test_every_rule_is_kept():
    assert policy_rules.broken(TEMPLATE) == []
    assert len(list(policy_rules.statements(TEMPLATE))) > 20, "the rules looked at nothing"


@pytest.mark.parametrize("policy", POLICIES)
def test_each_policy_fits(policy):
    """IAM quotas: a managed policy has at most 6,144 characters, and a role at most 10 of them."""
    document = TEMPLATE["Resources"][policy]["Properties"]["PolicyDocument"]
    assert len(json.dumps(document, separators=(",", ":"))) < 6_144


@pytest.mark.parametrize(
    "change",
    [
        lambda trust: trust["Condition"]["StringEquals"].pop("token.actions.githubusercontent.com:sub"),
        lambda trust: trust["Condition"]["StringEquals"].pop("token.actions.githubusercontent.com:aud"),
        lambda trust: trust["Condition"]["StringEquals"].update(
            {"token.actions.githubusercontent.com:sub": {"Fn::Sub": "repo:${Repository}:*"}}
        ),
        lambda trust: trust.update(Condition={"StringLike": trust["Condition"]["StringEquals"]}),
        lambda trust: trust.update(Action="sts:AssumeRole"),
    ],
)
def test_a_role_that_any_token_may_take_is_found(change):
    template = copy.deepcopy(TEMPLATE)
    (trust,) = template["Resources"]["DeployRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    change(trust)
    assert "DeployRole may be taken by anybody" in policy_rules.broken(template)


BOUNDARY = TEMPLATE["Resources"]["Boundary"]


@pytest.mark.parametrize("action", ["*", "iam:*", "iam:PutRolePolicy", "sts:AssumeRole"])
def test_a_boundary_that_leaves_too_much_is_found(action):
    template = copy.deepcopy(TEMPLATE)
    template["Resources"]["Boundary"]["Properties"]["PolicyDocument"]["Statement"][0]["Action"].append(action)
    assert policy_rules.broken(template) == [f"Boundary bounds nothing: {action}"]


def bounded(action: str, arn: str) -> bool:
    """Whether the boundary leaves an action on a resource; both as the templates write them."""
    for each in BOUNDARY["Properties"]["PolicyDocument"]["Statement"]:
        actions, resources = policy_rules.as_list(each["Action"]), policy_rules.arns(each["Resource"])
        if any(fnmatchcase(action, one) for one in actions) and any(fnmatchcase(arn, one) for one in resources):
            return True
    return False


def test_the_boundary_leaves_the_roles_what_the_templates_give_them():
    asked = 0
    for name in ("musher.yaml", "mwaa.yaml"):
        for each in policy_rules.statements(load((FOLDER / name).read_text())):
            for arn in policy_rules.arns(each.text["Resource"]):
                filled = re.sub(
                    r"\$\{(\w+)Role\.Arn\}", "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${ProjectName}-r", arn
                )
                filled = filled.replace("${Bucket.Arn}", "arn:${AWS::Partition}:s3:::${ProjectName}-${AWS::AccountId}")
                assert [action for action in each.actions if not bounded(action, filled)] == [], each.name
                asked += 1
    assert asked > 100


def test_the_boundary_leaves_no_more_of_other_buckets_roles_and_secrets():
    assert not bounded("s3:GetObject", "arn:${AWS::Partition}:s3:::another/key")
    assert not bounded("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:us-east-1:111122223333:secret:another")
    assert not bounded("iam:PassRole", "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/admin")
    assert not bounded("iam:CreateUser", "*")


def test_what_gives_a_role_rights_is_done_within_the_boundary_only():
    """And the boundary itself is not among the policies that the role may change."""
    giving = {
        "iam:AttachRolePolicy", "iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy",
        "iam:UpdateAssumeRolePolicy",
    }  # fmt: skip
    found = [each for each in policy_rules.statements(TEMPLATE) if giving & set(each.actions)]
    assert set().union(*(each.actions for each in found)) >= giving
    for each in found:
        assert each.text["Condition"]["StringEquals"]["iam:PermissionsBoundary"] == {"Ref": "Boundary"}
    assert "iam:DeleteRolePermissionsBoundary" not in allowed()
    name = BOUNDARY["Properties"]["ManagedPolicyName"]["Fn::Sub"]
    changed = [
        arn.partition(":policy/")[2]
        for each in policy_rules.statements(TEMPLATE)
        if "iam:CreatePolicyVersion" in each.actions
        for arn in policy_rules.arns(each.text["Resource"])
    ]
    assert changed
    assert not [each for each in changed if fnmatchcase(name, each)]
    for each in DEPLOYED[0].values():
        if each["Type"] == "AWS::IAM::Role":
            assert each["Properties"]["PermissionsBoundary"]["Fn::If"][1] == {"Ref": "PermissionsBoundary"}


def test_only_the_environment_of_one_repository_may_take_the_role():
    (trust,) = TEMPLATE["Resources"]["DeployRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    subject = trust["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"]
    assert subject == {"Fn::Sub": "repo:${Repository}:environment:${GitHubEnvironment}"}


def test_the_credentials_last_as_long_as_a_deployment():
    """The first one waits for the environment's creation: an hour, the default, may not be enough."""
    steps = workflow("deploy")["jobs"]["deploy"]["steps"]
    (given,) = [each["with"] for each in steps if "configure-aws-credentials" in each.get("uses", "")]
    assert given["role-duration-seconds"] == TEMPLATE["Resources"]["DeployRole"]["Properties"]["MaxSessionDuration"]


def test_every_call_of_a_deployment_has_its_action():
    needed = calls.needed(CODE, no_calls=calls.NO_CALLS - calls.DEPLOYMENT_CALLS)
    missing = {call: sets for call, sets in needed.items() if not any(each <= allowed() for each in sets)}
    assert missing.keys() <= NOT_DEPLOY, "add the action to infra/github.yaml"
    assert {"create_stack", "get_template", "get_environment", "put_object", "update_stack"} <= needed.keys()


def test_what_cloudformation_does_for_a_caller_has_its_action():
    types = {each["Type"] for resources in DEPLOYED for each in resources.values()}
    assert types == CALLED.keys(), "say in CALLED what CloudFormation calls for a new type, and allow it"
    assert called() - allowed() == set()


@pytest.mark.slow  # the linter's schemas take seconds to be read
def test_the_tags_of_a_stack_reach_each_resource():
    """CloudFormation gives a stack's tags, and its own, to whatever can have any, in the caller's name."""
    from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER as types

    tagging = {kind: types.get_resource_schema("us-east-1", kind).schema.get("tagging") or {} for kind in CALLED}
    asked = {action for each in tagging.values() if each.get("taggable") for action in each["permissions"]}
    assert len(asked) > 15, "the schemas say nothing of tags"
    assert asked - allowed() <= NO_ACTIONS


def test_the_role_may_do_nothing_that_a_deployment_does_not():
    needed = calls.needed(CODE, no_calls=calls.NO_CALLS - calls.DEPLOYMENT_CALLS)
    used = set().union(*(actions for sets in needed.values() for actions in sets))
    assert allowed() - used - called() - TAGS == set()


def test_the_role_cannot_change_itself_nor_attach_policies_of_others():
    roles: dict[str, set[str]] = {}
    for each in policy_rules.statements(TEMPLATE):
        if any(action.startswith("iam:") for action in each.actions):
            for arn in policy_rules.arns(each.text["Resource"]):
                roles.setdefault(arn.partition(":role/")[2], set()).update(each.actions)
    assert {role for role in roles if role.startswith("${ProjectName}")} == {
        f"${{ProjectName}}-{each}" for each in ("airflow", "training", "endpoint", "lambda", "lambda-rehearsal", "ec2")
    }
    statement = next(each for each in policy_rules.statements(TEMPLATE) if "iam:AttachRolePolicy" in each.actions)
    (only,) = statement.text["Condition"]["ArnLike"].values()
    assert [each["Fn::Sub"].partition(":policy/")[2] for each in only] == [
        "${ProjectName}-airflow-*", "${ProjectName}-mwaa-ExecutionPolicy-*",
    ]  # fmt: skip


def names(resources: dict[str, Any], kind: str, field: str) -> set[str]:
    return {each["Properties"][field]["Fn::Sub"] for each in resources.values() if each["Type"] == kind}


def test_names_are_those_of_the_templates():
    text = json.dumps(TEMPLATE["Resources"])
    main, mwaa = DEPLOYED
    for name in names(main, "AWS::IAM::Role", "RoleName"):
        assert f":role/{name}" in text
    for name in names(main, "AWS::IAM::ManagedPolicy", "ManagedPolicyName"):
        assert name.startswith("${ProjectName}-airflow-")
    for name in names(main, "AWS::Logs::LogGroup", "LogGroupName"):
        assert f":log-group:{name}" in text
    for name in names(main, "AWS::IAM::InstanceProfile", "InstanceProfileName"):
        assert f":instance-profile/{name}" in text
    for name in names(main, "AWS::SNS::Topic", "TopicName"):
        assert f":{name}" in text
    for name in names(main, "AWS::Events::Rule", "Name"):
        assert f":rule/{name}" in text
    for name in names(mwaa, "AWS::SecretsManager::Secret", "Name"):
        assert f":secret:{name}-??????" in text
    assert f":budget/{main['Budget']['Properties']['Budget']['BudgetName']['Fn::Sub']}" in text
    assert "ExecutionPolicy" in mwaa
