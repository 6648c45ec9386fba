"""Searches of logs: what is not carried out is refused; and tags that EC2 and CloudWatch refuse."""

from __future__ import annotations

import re
import time

import pytest

from tests.local_aws.ec2_hosts import refusal

GROUP = "/tests/queries"


@pytest.fixture(scope="module")
def logs(local_aws):
    logs = local_aws.client("logs")
    logs.create_log_group(logGroupName=GROUP)
    now = int(time.time() * 1000)
    for number, stream in enumerate(("job-1/algo-1", "job-1/algo-2", "job-10/algo-1")):
        logs.create_log_stream(logGroupName=GROUP, logStreamName=stream)
        lines = [f"ERROR: no such dog in {stream}", "WARN that is fine"]
        events = [{"timestamp": now + number, "message": each} for each in lines]
        logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events)
    yield logs
    logs.delete_log_group(logGroupName=GROUP)


def test_a_prefix_chooses_the_streams(logs):
    def found(**asked):
        answer = logs.filter_log_events(logGroupName=GROUP, **asked)
        return [each["logStreamName"] for each in answer["events"]]

    assert set(found()) == {"job-1/algo-1", "job-1/algo-2", "job-10/algo-1"}
    assert found(logStreamNamePrefix="job-1/", filterPattern="ERROR") == ["job-1/algo-1", "job-1/algo-2"]
    assert found(logStreamNames=["job-10/algo-1"], filterPattern='"no such dog"') == ["job-10/algo-1"]
    assert found(logStreamNamePrefix="cat-") == []
    first = logs.filter_log_events(logGroupName=GROUP, logStreamNamePrefix="job-1/", limit=3)
    rest = logs.filter_log_events(logGroupName=GROUP, logStreamNamePrefix="job-1/", nextToken=first["nextToken"])
    assert (len(first["events"]), len(rest["events"]), "nextToken" in rest) == (3, 1, False)


@pytest.mark.parametrize(
    ("asked", "code", "says"),
    [
        ({"logStreamNames": ["a"], "logStreamNamePrefix": "b"}, "InvalidParameterException", "not both"),
        ({"filterPattern": '{ $.level = "ERROR" }'}, "InvalidParameterException", "words that all have to be there"),
        ({"filterPattern": "?ERROR ?WARN"}, "InvalidParameterException", "words that all have to be there"),
        ({"filterPattern": "ERROR -fine"}, "InvalidParameterException", "words that all have to be there"),
        ({"filterPattern": "404"}, "InvalidParameterException", "words that all have to be there"),
        ({"logGroupName": "/no/such"}, "ResourceNotFoundException", "does not exist"),
        ({"unmask": True}, "InvalidParameterException", "does not carry out unmask"),
    ],
)
def test_searches_that_are_refused(logs, asked, code, says):
    found, message = refusal(logs.filter_log_events, **{"logGroupName": GROUP, **asked})
    assert (found, says in message) == (code, True), message


def test_a_query_is_carried_out(logs, wait_for):
    times = {"startTime": int(time.time()) - 600, "endTime": int(time.time()) + 600}
    asked = {"logGroupName": GROUP, **times}

    def found(query, **more):
        query_id = logs.start_query(**(more or {"logGroupName": GROUP}), **times, queryString=query)["queryId"]
        answer = logs.get_query_results(queryId=query_id)
        assert answer["status"] == "Complete"
        return [{each["field"]: each["value"] for each in row} for row in answer["results"]]

    newest = found("fields @timestamp, @message | sort @timestamp desc | limit 2")
    assert len(newest) == 2
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", newest[0]["@timestamp"])
    assert newest[0]["@ptr"]
    query = "filter @message like /^ERROR/ | parse @message 'no such * in *' as animal, stream | sort stream asc"
    rows = found(f"{query} | display animal, stream")
    assert [(row["animal"], row["stream"]) for row in rows] == [
        ("dog", each) for each in ("job-1/algo-1", "job-1/algo-2", "job-10/algo-1")
    ]
    assert found("stats count(*) as lines by @logStream | sort @logStream asc | limit 1") == [
        {"@logStream": "job-1/algo-1", "lines": "2"}
    ]
    assert len(found("fields @message", limit=1, logGroupIdentifiers=[GROUP])) == 1
    code, message = refusal(logs.start_query, **asked, queryString="fields @message | unmask @message")
    assert (code, "not 'unmask'" in message) == ("MalformedQueryException", True)
    assert refusal(logs.start_query, **asked | {"logGroupName": "/no"}, queryString="fields a")[0] == (
        "ResourceNotFoundException"
    )
    assert refusal(logs.get_query_results, queryId="none-of-them")[0] == "ResourceNotFoundException"


def test_tags_that_no_resource_may_have(local_aws):
    ec2, cloudwatch = local_aws.client("ec2"), local_aws.client("cloudwatch")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    twice, reserved = [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}], [{"Key": "aws:a", "Value": "1"}]
    alarm = {"AlarmName": "tagged", "Namespace": "n", "MetricName": "m", "Statistic": "Sum", "Period": 60,
             "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold"}  # fmt: skip
    for tags, says in ((twice, ("Duplicate tag key 'a'", "there twice")), (reserved, ("reserved", "not allowed"))):
        code, message = refusal(ec2.create_tags, Resources=[vpc], Tags=tags)
        assert (code, says[0] in message) == ("InvalidParameterValue", True)
        specified = [{"ResourceType": "instance", "Tags": tags}]
        launch = {"MinCount": 1, "MaxCount": 1, "ImageId": "ami-0123456789abcdef0", "TagSpecifications": specified}
        assert says[0] in refusal(ec2.run_instances, **launch)[1]
        code, message = refusal(cloudwatch.put_metric_alarm, **alarm, Tags=tags)
        assert (code, says[1] in message) == ("ValidationError", True)
    assert cloudwatch.describe_alarms(AlarmNames=["tagged"])["MetricAlarms"] == []
