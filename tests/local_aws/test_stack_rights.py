"""A stack does what its caller may, or the role that it was given, and fails as on AWS where that is not enough."""

import json

import pytest

from local_aws.control import tell
from local_aws.iam import table
from local_aws.stacks import made, moto_side, registry
from local_aws.stacks.ledger import Entry
from tests.local_aws.iam_callers import ACCOUNT, TRUST, allow, client, document, refused, who
from tests.local_aws.test_stacks import Stacks, alarm
from tools.iam import handlers

HERE = f"arn:aws:{{}}:us-east-1:{ACCOUNT}"
CALLS = allow("cloudformation:*")
LOG = {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/rights/log"}}
TOPIC = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "rights-topic"}}
QUEUE = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "rights-queue"}}


class Mine(Stacks):
    """Stacks of one caller."""

    def __init__(self, aws, credentials, wait_for):
        super().__init__(aws, wait_for)
        self.client = client(aws, "cloudformation", credentials)

    def reason(self, name, status="CREATE_FAILED"):
        """Why a resource failed."""
        events = self.client.describe_stack_events(StackName=self.name)["StackEvents"]
        return next(
            each["ResourceStatusReason"] for each in events
            if (each["LogicalResourceId"], each["ResourceStatus"]) == (name, status)
        )  # fmt: skip


@pytest.mark.parametrize(
    ("resource", "action", "on"),
    [
        (LOG, "logs:CreateLogGroup", f"{HERE.format('logs')}:log-group:/rights/log"),
        (
            alarm(AlarmName="rights"),
            "cloudwatch:PutMetricAlarm",
            f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:rights",
        ),
        (TOPIC, "sns:CreateTopic", f"arn:aws:sns:us-east-1:{ACCOUNT}:rights-topic"),
        (QUEUE, "sqs:CreateQueue", f"arn:aws:sqs:us-east-1:{ACCOUNT}:rights-queue"),
    ],
    ids=["by an operation", "by another", "by moto", "by moto too"],
)
def test_what_the_caller_may_not_make_fails_and_is_undone(aws, role, wait_for, resource, action, on):
    # GIVEN a caller who may make a part of a stack
    reads = allow(["logs:DescribeLogGroups", "cloudwatch:DescribeAlarms"])
    mine = Mine(aws, credentials := role(CALLS, reads, allow("ssm:*")), wait_for)
    first = {"Type": "AWS::SSM::Parameter", "Properties": {"Name": mine.name, "Type": "String", "Value": "v"}}
    # WHEN he makes it
    created = mine.create({"First": first, "Second": {**resource, "DependsOn": "First"}})
    # THEN what he may not make fails with AWS's words, and the rest is gone again.
    assert created["StackStatus"] == "ROLLBACK_COMPLETE"
    said = f"User: {who(credentials)} is not authorized to perform: {action} on resource: {on}"
    assert mine.reason("Second").startswith('Resource handler returned message: "')
    assert said in mine.reason("Second")
    assert mine.reason("Second").endswith("HandlerErrorCode: AccessDenied)")
    assert ("First", "DELETE_COMPLETE") in mine.events()
    # and the stream has what was asked for in his name.
    calls = {
        each["action"]: each["allowed"] for each in json.loads(tell(aws.port, "iam-calls", {}))[credentials["Role"]]
    }
    assert (calls["ssm:PutParameter"], calls["ssm:DeleteParameter"], calls[action]) == (True, True, False)


def test_what_may_not_be_deleted_stays_and_the_stack_says_so(aws, role, wait_for):
    mine = Mine(aws, role(CALLS, allow("sqs:CreateQueue"), allow("logs:*")), wait_for)
    mine.create({"Queue": QUEUE, "Log": LOG})
    assert mine.delete()["StackStatus"] == "DELETE_FAILED"
    assert "sqs:DeleteQueue" in mine.reason("Queue", "DELETE_FAILED")
    assert ("Log", "DELETE_COMPLETE") in mine.events()
    # WHEN an administrator deletes it, THEN it goes
    assert Stacks.delete(Mine(aws, ADMINISTRATOR, wait_for), mine.name)["StackStatus"] == "DELETE_COMPLETE"


ADMINISTRATOR = {"AccessKeyId": "AKIATESTTESTTESTTEST", "SecretAccessKey": "test"}


def test_a_stack_acts_as_the_role_that_it_was_given_from_then_on(aws, role, wait_for):
    # GIVEN a role that CloudFormation may take, and a caller who may make nothing himself
    trust = {**TRUST, "Principal": {"Service": "cloudformation.amazonaws.com"}}
    iam, given = aws.client("iam"), f"arn:aws:iam::{ACCOUNT}:role/makes-queues"
    iam.create_role(RoleName="makes-queues", AssumeRolePolicyDocument=document(trust))
    iam.put_role_policy(RoleName="makes-queues", PolicyName="p", PolicyDocument=document(allow("sqs:*")))
    passes = allow("iam:PassRole", given, Condition={
        "StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}})  # fmt: skip
    mine = Mine(aws, role(CALLS, passes), wait_for)
    body = json.dumps({"Resources": {"Queue": QUEUE}})
    # WHEN he gives it to a stack
    mine.client.create_stack(StackName=mine.name, TemplateBody=body, RoleARN=given)
    # THEN the stack can make a queue, and delete it, although the role is not named again
    assert mine.settled()["StackStatus"] == "CREATE_COMPLETE"
    assert mine.client.describe_stacks(StackName=mine.name)["Stacks"][0]["RoleARN"] == given
    assert mine.delete()["StackStatus"] == "DELETE_COMPLETE"
    calls = json.loads(tell(aws.port, "iam-calls", {}))[given]
    assert {"sqs:CreateQueue", "sqs:DeleteQueue"} <= {each["action"] for each in calls}
    # and who may not hand the role on, or hands on one that CloudFormation may not take, is refused.
    code, said, _ = refused(
        Mine(aws, role(CALLS), wait_for).client.create_stack, StackName="x", TemplateBody=body, RoleARN=given
    )
    assert (code, "iam:PassRole" in said) == ("AccessDenied", True)
    other = role()["Role"]
    client_ = Mine(aws, ADMINISTRATOR, wait_for).client
    code, said, _ = refused(client_.create_stack, StackName="x", TemplateBody=body, RoleARN=other)
    assert (code, said) == ("ValidationError", f"Role {other} is invalid or cannot be assumed")


def test_policies_see_that_cloudformation_calls_for_the_caller_and_nobody_can_say_so_himself(aws, role, wait_for):
    only_via = allow(
        "logs:*", Condition={"ForAnyValue:StringEquals": {"aws:CalledVia": "cloudformation.amazonaws.com"}}
    )
    credentials = role(CALLS, only_via)
    group = {**LOG, "Properties": {"LogGroupName": "/rights/via"}}
    assert Mine(aws, credentials, wait_for).create({"Log": group})["StackStatus"] == "CREATE_COMPLETE"
    logs = client(aws, "logs", credentials)
    logs.meta.events.register(
        "before-sign", lambda request, **_: request.headers.add_header(
            "X-Local-Aws-Called-Via", "cloudformation.amazonaws.com guessed"),
    )  # fmt: skip
    assert refused(logs.create_log_group, logGroupName="/rights/mine")[0] == "AccessDeniedException"


def test_a_policy_that_iam_would_not_read_is_refused_in_a_stack_as_well(aws, wait_for):
    mine = Mine(aws, ADMINISTRATOR, wait_for)
    never = document(allow("s3:GetObject", Condition={"Bool": {"aws:Secure": "true"}}))
    policy = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": json.loads(never)}}
    mine.client.create_stack(StackName=mine.name, TemplateBody=json.dumps({"Resources": {"Policy": policy}}),
                             Capabilities=["CAPABILITY_IAM"])  # fmt: skip
    assert mine.settled()["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "has a condition key aws:Secure, which AWS does not have" in mine.reason("Policy")


def by_moto():
    from moto.cloudformation import parsing

    found = [each for each in sorted(parsing.get_model_map()) if each.count("::") == 2]
    return [
        each for each in found
        if moto_side.makes(each) and not registry.kind(each) and not registry.refused(each)
        and each in handlers.handlers()
    ]  # fmt: skip


def test_the_operations_of_each_kind_are_those_of_its_handler():
    """AWS's own schemas say what a handler may call; what is asked here for moto's kinds is among it."""
    wrong = []
    for kind in by_moto():
        of = {"UserName": "u", "Roles": ["r"], "Users": ["u"], "Groups": ["g"], "PolicyName": "p"}
        entry = Entry("Logical", kind, properties=of, id="arn:aws:iam::1:policy/p", name="n")
        for verb in ("create", "update", "delete"):
            listed = {each.lower() for each in handlers.handlers()[kind][verb]}
            for service, operation, _ in made.operations(entry, verb):
                actions = {each.lower() for each in table.actions(service, operation)}
                anew = verb == "update" and operation == made.named(kind, "create")
                # API Gateway's actions are HTTP's methods, and moto's are none of an operation's.
                if not anew and not actions & listed and not kind.startswith("AWS::ApiGateway::"):
                    wrong.append((kind, verb, operation))
    assert wrong == []


def test_the_table_of_permissions_is_as_the_registry_has_it():
    assert json.loads(handlers.FILE.read_text()) == json.loads(handlers.text())
