"""Composite alarms: their rules, their states by those of others, and their operations."""

from __future__ import annotations

import json

import pytest

from local_aws import alarm_rules
from local_aws.alarm_suppression import Suppression
from local_aws.alarms import NO_METRIC, Alarm, Composite
from local_aws.errors import AwsError
from tests.local_aws.ec2_hosts import refusal

METRIC = {
    "Namespace": "kennel", "MetricName": "barks", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1,
    "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "ignore",
}  # fmt: skip
ARN = "arn:aws:cloudwatch:us-east-1:123456789012:alarm"


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("TRUE", True),
        ("FALSE OR NOT FALSE", True),
        ("ALARM(on)", True),
        ("ALARM(off)", False),
        ('OK("off")', True),
        (f"ALARM({ARN}:on)", True),
        ('INSUFFICIENT_DATA("with space")', True),
        ("NOT ALARM(off) AND OK(off)", True),
        ("NOT (ALARM(on) AND OK(off))", False),
        # NOT binds closer than AND, and AND closer than OR
        ("TRUE OR TRUE AND FALSE", True),
        ("(TRUE OR TRUE) AND FALSE", False),
        ("NOT FALSE AND FALSE", False),
        ("\n ALARM( on )\tAND(NOT(NOT(ALARM(on))))", True),
        # One of three is in ALARM, and one is not OK and not in ALARM
        ('AT_LEAST(1, ALARM, (on, off, "with space"))', True),
        ('AT_LEAST(2, ALARM, (on, off, "with space"))', False),
        ('AT_LEAST(2, NOT OK, (on, off, "with space"))', True),
        ('AT_LEAST(33%, ALARM, (on, off, "with space"))', True),
        ('AT_LEAST(34%, ALARM, (on, off, "with space"))', False),
        (f"AT_LEAST( 100% ,OK,({ARN}:off)) AND ALARM(on)", True),
    ],
)
def test_a_rule_says_whether_it_holds(rule, holds):
    states = {"on": "ALARM", "off": "OK", "with space": "INSUFFICIENT_DATA"}
    assert alarm_rules.parse(rule).holds(lambda name: states[name]) is holds


def test_a_rule_names_its_children_once():
    assert alarm_rules.parse(f'ALARM(a) OR OK({ARN}:a) OR ALARM("b c")').children == ("a", "b c")
    assert alarm_rules.parse("AT_LEAST(1, ALARM, (a, b)) OR OK(a)").children == ("a", "b")


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("()", "Unsupported token ')' at char 1"),
        ("ALARM(a", "Unsupported token 'end of rule' at char 7"),
        ("ALARM(a) ALARM(b)", "Unsupported token 'ALARM' at char 9"),
        ("ALARM(a) XOR ALARM(b)", "Unsupported token 'XOR' at char 9"),
        ("AT_LEAST(0, ALARM, (a, b))", "Unsupported token '0' at char 9"),
        ("AT_LEAST(1, LOUD, (a, b))", "Unsupported token 'LOUD' at char 12"),
        ("AT_LEAST(1, ALARM, ())", "Unsupported token ')' at char 20"),
        ("AT_LEAST(3, ALARM, (a, b))", "AT_LEAST(3, ...) in AlarmRule must ask for at most 2 of its alarms"),
        ("AT_LEAST(101%, ALARM, (a, b))", "must ask for at most 100% of its alarms"),
        ("ALARM()", "Unsupported token ')' at char 6"),
        ('ALARM("a)', "Unsupported token '\"' at char 6"),
        ("NOT", "Unsupported token 'end of rule' at char 3"),
        (" OR ".join(f"ALARM(a{number})" for number in range(101)), "names 101 alarms, and may name 100"),
        ("NOT " * 3000 + "TRUE", "12004 characters, and may have 10240"),
        ("NOT " * 2400 + "TRUE", "more than 500 elements"),
    ],
)
def test_what_is_no_rule(rule, says):
    with pytest.raises(AwsError) as caught:
        alarm_rules.parse(rule)
    assert says in caught.value.message


def test_a_state_that_was_set_stays_until_another_alarm_changes():
    child = Alarm("a", f"{ARN}:a", {}, NO_METRIC)
    alarm = Composite("c", f"{ARN}:c", {"AlarmRule": "ALARM(a)"}, NO_METRIC)
    alarm.judge({"a": child})
    assert alarm.state == "OK"
    alarm.become("ALARM", "by hand")
    alarm.judge({"a": child})
    assert alarm.state == "ALARM"
    child.become("OK", "measured")
    alarm.judge({"a": child})
    assert (alarm.state, f"{ARN}:a transitioned to OK at" in alarm.reason) == ("OK", True)
    assert [item["AlarmType"] for item in alarm.history] == ["CompositeAlarm"] * len(alarm.history)


def test_actions_wait_for_their_suppressor():
    settings = {"ActionsSuppressor": "s", "ActionsSuppressorWaitPeriod": 60, "ActionsSuppressorExtensionPeriod": 120}

    def told(*moments):
        """What is due at (second, the alarm's state, the suppressor's), and by what it is suppressed afterwards."""
        found = Suppression(told="OK", seen="OK", suppressor="OK")
        return [(found.due(state, settings, suppressor, at, lambda each: each), found.by)
                for at, state, suppressor in moments]  # fmt: skip

    # The suppressor does not follow: after the wait the actions are taken, once.
    assert told((0, "ALARM", "OK"), (59, "ALARM", "OK"), (60, "ALARM", "OK"), (61, "ALARM", "OK")) == [
        (None, "WaitPeriod"), (None, "WaitPeriod"), ("OK", ""), (None, ""),
    ]  # fmt: skip
    # It follows, and ends: after the extension they are taken.
    assert told((0, "ALARM", "OK"), (30, "ALARM", "ALARM"), (90, "ALARM", "OK"), (209, "ALARM", "OK"),
                (210, "ALARM", "OK")) == [
        (None, "WaitPeriod"), (None, "Alarm"), (None, "ExtensionPeriod"), (None, "ExtensionPeriod"), ("OK", ""),
    ]  # fmt: skip
    # What is over before anybody was told is told nobody.
    assert told((0, "ALARM", "OK"), (30, "OK", "OK"), (90, "OK", "OK")) == [
        (None, "WaitPeriod"), (None, "WaitPeriod"), (None, ""),
    ]  # fmt: skip


def test_composite_alarms_follow_their_children(local_aws):
    # GIVEN two alarms that only a hand changes, a composite one over both, one over that, and a topic
    cloudwatch, sns, sqs = (local_aws.client(name) for name in ("cloudwatch", "sns", "sqs"))
    topic = sns.create_topic(Name="composites")["TopicArn"]
    queue = sqs.create_queue(QueueName="composites")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    for name in ("child-one", "child-two"):
        cloudwatch.put_metric_alarm(AlarmName=name, **METRIC)
    both = "ALARM(child-one) AND ALARM(child-two)"
    cloudwatch.put_composite_alarm(AlarmName="both", AlarmRule=both, AlarmActions=[topic],
                                   Tags=[{"Key": "of", "Value": "me"}])  # fmt: skip
    cloudwatch.put_composite_alarm(AlarmName="neither", AlarmRule="NOT ALARM(both)", AlarmDescription="calm")

    def states():
        found = cloudwatch.describe_alarms(AlarmTypes=["CompositeAlarm"], AlarmNames=["both", "neither"])
        assert found["MetricAlarms"] == []
        return {each["AlarmName"]: each["StateValue"] for each in found["CompositeAlarms"]}

    assert states() == {"both": "OK", "neither": "ALARM"}
    # WHEN both are in alarm THEN so is the one over them, and the other is not any more
    for name in ("child-one", "child-two"):
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
    assert states() == {"both": "ALARM", "neither": "OK"}
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    told = json.loads(json.loads(message["Body"])["Message"])
    assert (told["AlarmName"], told["NewStateValue"], told["AlarmRule"]) == ("both", "ALARM", both)
    assert "Trigger" not in told

    # THEN lists tell them apart, and who names whom
    assert "both" not in {each["AlarmName"] for each in cloudwatch.describe_alarms()["MetricAlarms"]}
    children = cloudwatch.describe_alarms(ChildrenOfAlarmName="both")
    assert [each["AlarmName"] for each in children["MetricAlarms"]] == ["child-one", "child-two"]
    assert "Threshold" not in children["MetricAlarms"][0]
    parents = cloudwatch.describe_alarms(ParentsOfAlarmName="both")
    assert [each["AlarmName"] for each in parents["CompositeAlarms"]] == ["neither"]
    history = cloudwatch.describe_alarm_history(AlarmName="both", AlarmTypes=["CompositeAlarm"])["AlarmHistoryItems"]
    assert {each["HistoryItemType"] for each in history} == {"ConfigurationUpdate", "StateUpdate", "Action"}
    assert cloudwatch.describe_alarm_history(AlarmName="both")["AlarmHistoryItems"] == []
    assert cloudwatch.list_tags_for_resource(ResourceARN=f"{ARN}:both")["Tags"] == [{"Key": "of", "Value": "me"}]

    # WHEN something is deleted that another names THEN AWS refuses it
    code, message = refusal(cloudwatch.delete_alarms, AlarmNames=["child-one"])
    assert (code, message) == (
        "ValidationError", "Cannot delete child-one as there are composite alarm(s) depending on it.",
    )  # fmt: skip
    assert "one composite alarm" in refusal(cloudwatch.delete_alarms, AlarmNames=["both", "neither"])[1]
    code, message = refusal(cloudwatch.put_composite_alarm, AlarmName="no", AlarmRule="ALARM(nothing) OR ALARM(both)")
    assert (code, "as alarms [nothing] in the alarm rule do not exist" in message) == ("ValidationError", True)
    assert "metric alarm" in refusal(cloudwatch.put_composite_alarm, AlarmName="child-one", AlarmRule="TRUE")[1]
    assert "composite alarm" in refusal(cloudwatch.put_metric_alarm, AlarmName="both", **METRIC)[1]
    suppressor = {"ActionsSuppressor": "child-one", "ActionsSuppressorWaitPeriod": 60}
    code, message = refusal(cloudwatch.put_composite_alarm, AlarmName="no", AlarmRule="TRUE", **suppressor)
    assert (code, "without ActionsSuppressorExtensionPeriod" in message) == ("ValidationError", True)
    suppressor |= {"ActionsSuppressor": f"{ARN}:nobody", "ActionsSuppressorExtensionPeriod": 60}
    assert "nobody does not exist" in refusal(
        cloudwatch.put_composite_alarm, AlarmName="no", AlarmRule="TRUE", **suppressor
    )[1]  # fmt: skip
    # WHEN another alarm suppresses THEN no topic is told, until that one has ended
    suppressor = {"ActionsSuppressor": "child-two", "ActionsSuppressorWaitPeriod": 0}
    suppressor["ActionsSuppressorExtensionPeriod"] = 0
    cloudwatch.put_composite_alarm(AlarmName="both", AlarmRule="ALARM(child-one)", OKActions=[topic], **suppressor)
    cloudwatch.set_alarm_state(AlarmName="child-one", StateValue="OK", StateReason="a test")
    (shown,) = cloudwatch.describe_alarms(AlarmTypes=["CompositeAlarm"], AlarmNames=["both"])["CompositeAlarms"]
    assert (shown["StateValue"], shown["ActionsSuppressedBy"]) == ("OK", "Alarm")
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)
    cloudwatch.set_alarm_state(AlarmName="child-two", StateValue="OK", StateReason="a test")
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    told = json.loads(json.loads(message["Body"])["Message"])
    assert (told["NewStateValue"], told["OldStateValue"]) == ("OK", "ALARM")
    for name in ("neither", "both"):
        cloudwatch.delete_alarms(AlarmNames=[name])
    cloudwatch.delete_alarms(AlarmNames=["child-one", "child-two"])
    assert states() == {}
