"""EventBridge: patterns, what targets get, and delivery."""

from __future__ import annotations

import io
import json
import uuid
import zipfile

import pytest
from botocore.exceptions import ClientError

from local_aws.events import inputs, patterns
from tests.local_aws.event_rules import queue, received

EVENT = {
    "version": "0", "id": "1", "detail-type": "Job State Change", "source": "aws.sagemaker", "account": "123456789012",
    "time": "2026-11-25T20:00:00Z", "region": "us-east-1", "resources": ["arn:aws:sagemaker:job/one"],
    "detail": {
        "Name": "train-one-7", "Status": "Failed", "Seconds": 61,
        "FailureReason": 'AlgorithmError: "loss"\nexploded', "Empty": None,
        "Rules": [{"Name": "Overfit", "Status": "IssuesFound"}, {"Name": "AllZero", "Status": "NoIssuesFound"}],
    },
}  # fmt: skip
MATCHES = [
    ({"source": ["aws.sagemaker", "aws.ec2"]}, True),
    ({"source": ["aws.ec2"]}, False),
    ({"resources": [{"suffix": "job/one"}]}, True),
    ({"detail": {"Status": [{"prefix": "Fail"}]}}, True),
    ({"detail": {"Status": [{"prefix": {"equals-ignore-case": "fail"}}]}}, True),
    ({"detail": {"Name": [{"suffix": "-8"}]}}, False),
    ({"detail": {"Status": [{"anything-but": ["Completed", "Stopped"]}]}}, True),
    ({"detail": {"Status": [{"anything-but": {"prefix": "Fail"}}]}}, False),
    ({"detail": {"FailureReason": [{"wildcard": "AlgorithmError: *loss*exploded"}]}}, True),  # over two lines
    ({"detail": {"Name": [{"wildcard": "train-*-7"}]}}, True),
    ({"detail": {"FailureReason": [{"exists": True}]}}, True),
    ({"detail": {"Missing": [{"exists": False}]}}, True),
    ({"detail": {"Missing": {"Inner": [{"exists": False}]}}}, True),
    ({"detail": {"Missing": [{"anything-but": "x"}]}}, False),
    ({"detail": {"Seconds": [{"numeric": [">", 60, "<=", 61]}]}}, True),
    ({"detail": {"Seconds": [{"numeric": ["<", 60]}]}}, False),
    ({"detail": {"Empty": [None]}}, True),
    ({"detail": {"$or": [{"Status": ["Stopped"]}, {"Seconds": [61]}]}}, True),
    ({"$or": [{"source": ["aws.ec2"]}, {"detail": {"Status": ["Stopped"]}}]}, False),
    # one object of a list has to have all
    ({"detail": {"Rules": {"Name": ["Overfit"], "Status": ["IssuesFound"]}}}, True),
    ({"detail": {"Rules": {"Name": ["AllZero"], "Status": ["IssuesFound"]}}}, False),
]


@pytest.mark.parametrize(("pattern", "expected"), MATCHES, ids=[json.dumps(pattern) for pattern, _ in MATCHES])
def test_a_pattern_matches_what_aws_would(pattern, expected):
    assert patterns.fault(pattern) is None
    assert patterns.matches(pattern, EVENT) is expected


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ({"source": [{"starts-with": "aws"}]}, "Unrecognized match type starts-with"),
        ({"detail": {"a": [{"prefix": "a", "suffix": "b"}]}}, "Only one key allowed"),
        ({"$or": [{"source": ["a"]}]}, "at least two"),
        ({"detail": {"a": [["b"]]}}, "Match value must be"),
        ({"detail": {"a": [{"exists": "yes"}]}}, "either true or false"),
    ],
)
def test_a_pattern_that_aws_refuses_is_refused(local_aws, pattern, reason):
    with pytest.raises(ClientError, match=f"Event pattern is not valid. Reason: .*{reason}") as refused:
        local_aws.client("events").put_rule(Name="refused", EventPattern=json.dumps(pattern))
    assert refused.value.response["Error"]["Code"] == "InvalidEventPatternException"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ({}, json.dumps(EVENT)),
        ({"Input": '{"fixed": 1}'}, '{"fixed": 1}'),
        ({"InputPath": "$.detail.Rules[0]"}, '{"Name": "Overfit", "Status": "IssuesFound"}'),
        (
            {"InputPathsMap": {"job": "$.detail.Name", "why": "$.detail.FailureReason", "s": "$.detail.Seconds"},
             "InputTemplate": '"<job> has failed after <s> s: <why><none>"'},
            r'"train-one-7 has failed after 61 s: AlgorithmError: \"loss\"\nexploded"',
        ),
        (
            {"InputPathsMap": {"job": "$.detail.Name", "s": "$.detail.Seconds", "type": "$.detail-type"},
             "InputTemplate": '{"job": <job>, "s": <s>, "text": "say \\"<type>\\"", "rule": "<aws.events.rule-name>"}'},
            '{"job": "train-one-7", "s": 61, "text": "say \\"Job State Change\\"", "rule": "mine"}',
        ),
    ],
)  # fmt: skip
def test_a_target_gets_what_it_asks_for(target, text):
    target = {"InputTransformer": target} if "InputTemplate" in target else target
    rule = {"arn": "arn:aws:events:us-east-1:123456789012:rule/mine", "name": "mine"}
    assert inputs.text_of(target, EVENT | {"ingestion-time": EVENT["time"]}, rule) == text


def test_what_nobody_would_carry_out_is_refused(local_aws):
    events = local_aws.client("events")
    with pytest.raises(ClientError, match=r"carries out rate\(\.\.\.\), in its own minutes, and not cron"):
        events.put_rule(Name="refused", ScheduleExpression="cron(0 12 * * ? *)")
    events.put_rule(Name="targets", EventPattern='{"source": ["nobody"]}')
    machine = "arn:aws:states:us-east-1:123456789012:stateMachine:m"
    with pytest.raises(ClientError, match="the target one is arn:aws:states:"):
        events.put_targets(Rule="targets", Targets=[{"Id": "one", "Arn": machine}])
    events.delete_rule(Name="targets")


def test_a_pattern_can_be_tried(local_aws):
    events, event = local_aws.client("events"), json.dumps(EVENT)
    tried = events.test_event_pattern(EventPattern='{"detail": {"Status": ["Failed"]}}', Event=event)
    assert tried["Result"] is True
    assert events.test_event_pattern(EventPattern='{"region": ["eu-west-1"]}', Event=event)["Result"] is False
    with pytest.raises(ClientError, match="lacks id"):
        events.test_event_pattern(EventPattern='{"region": ["eu-west-1"]}', Event="{}")


HANDLER = """
def handler(event, context):
    print("told of", event["detail"]["Name"])
"""


@pytest.mark.slow
def test_an_event_reaches_the_targets_of_a_stacks_rule(local_aws, wait_for, role_arn):
    # GIVEN a topic with a queue behind it, a queue, a function, and a queue for what cannot be delivered
    name = f"told-{uuid.uuid4().hex[:8]}"
    sns, sqs, functions = (local_aws.client(each) for each in ("sns", "sqs", "lambda"))
    topic = sns.create_topic(Name=name)["TopicArn"]
    urls = {}
    for each in ("topic", "direct", "dead"):
        urls[each], arn = queue(local_aws, f"{name}-{each}")
        urls[f"{each}-arn"] = arn
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=urls["topic-arn"])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("handler.py", HANDLER)
    function = functions.create_function(
        FunctionName=name, Runtime="python3.12", Role=role_arn, Handler="handler.handler",
        Code={"ZipFile": buffer.getvalue()},
    )["FunctionArn"]  # fmt: skip
    functions.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    # AND a stack with a rule for all of them, and for a topic that is not there
    targets = [
        {"Id": "topic", "Arn": topic, "InputTransformer": {
            "InputPathsMap": {"job": "$.detail.Name"}, "InputTemplate": '"<job> has failed"'}},
        {"Id": "direct", "Arn": urls["direct-arn"]},
        {"Id": "function", "Arn": function},
        {"Id": "gone", "Arn": topic.replace("told-", "gone-"), "DeadLetterConfig": {"Arn": urls["dead-arn"]}},
    ]  # fmt: skip
    pattern = {"source": [name], "detail": {"Status": ["Failed"]}}
    properties = {"Name": name, "EventPattern": pattern, "State": "ENABLED", "Targets": targets}
    template = {"Resources": {"Rule": {"Type": "AWS::Events::Rule", "Properties": properties}}}
    stacks, events = local_aws.client("cloudformation"), local_aws.client("events")
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template))
    # WHEN three events come, of which the rule is for one
    send = [{"Source": name, "DetailType": "Job", "Detail": json.dumps({"Name": each, "Status": status})}
            for each, status in (("one", "Completed"), ("two", "Failed"))]  # fmt: skip
    assert events.put_events(Entries=send)["FailedEntryCount"] == 0
    events.disable_rule(Name=name)
    # THEN each target has it once, in the form that it asked for
    heard = {each: [] for each in ("topic", "direct", "dead")}

    def all_there():
        for each, found in heard.items():
            found += received(sqs, urls[each])
        return all(heard.values())

    wait_for(all_there)
    assert [json.loads(body)["Message"] for body in heard["topic"]] == ['"two has failed"']
    (direct,) = (json.loads(body) for body in heard["direct"])
    assert direct["detail"] == {"Name": "two", "Status": "Failed"}
    assert direct["time"].endswith("Z")
    assert "ingestion-time" not in direct
    assert [json.loads(body)["detail"]["Name"] for body in heard["dead"]] == ["two"]
    logs = local_aws.client("logs")
    wait_for(
        lambda: (
            any(
                "told of two" in each["message"]
                for each in logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
            )
            if any(each["logGroupName"] == f"/aws/lambda/{name}" for each in logs.describe_log_groups()["logGroups"])
            else False
        )
    )
    # AND a disabled rule gets nothing more
    events.put_events(Entries=send)
    events.enable_rule(Name=name)
    events.put_events(Entries=[send[1] | {"Detail": json.dumps({"Name": "three", "Status": "Failed"})}])
    heard["direct"].clear()
    wait_for(lambda: heard["direct"].extend(received(sqs, urls["direct"])) or heard["direct"])
    assert [json.loads(body)["detail"]["Name"] for body in heard["direct"]] == ["three"]
    stacks.delete_stack(StackName=name)
    functions.delete_function(FunctionName=name)


def test_a_scheduled_rule_fires_in_the_local_aws_minutes(local_aws, wait_for):
    events, sqs, name = local_aws.client("events"), local_aws.client("sqs"), f"often-{uuid.uuid4().hex[:8]}"
    url, arn = queue(local_aws, name)
    events.put_rule(Name=name, ScheduleExpression="rate(1 minute)")
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
    (first, *_) = wait_for(lambda: received(sqs, url), 30)
    events.remove_targets(Rule=name, Ids=["queue"])
    events.delete_rule(Name=name)
    assert json.loads(first)["detail-type"] == "Scheduled Event"
