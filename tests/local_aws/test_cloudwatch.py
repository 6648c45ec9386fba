"""CloudWatch: nothing lost, nothing twice; percentiles; alarms that change state."""

from __future__ import annotations

import datetime as dt
import json
import random
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from local_aws import metric_requests
from local_aws.clock import Clock
from local_aws.control import tell
from local_aws.errors import AwsError
from local_aws.metrics import MOST_DISTINCT, Metrics, key_of


@pytest.fixture
def cloudwatch(local_aws):
    return local_aws.client("cloudwatch")


@pytest.fixture
def namespace():
    return f"Tests/{uuid.uuid4().hex[:8]}"


def get(cloudwatch, namespace, stat, start, end, *, period=60, metric="M", **more):
    answer = cloudwatch.get_metric_data(
        MetricDataQueries=[
            {
                "Id": "q",
                "MetricStat": {
                    "Metric": {"Namespace": namespace, "MetricName": metric},
                    "Period": period,
                    "Stat": stat,
                },
            }
        ],
        StartTime=start,
        EndTime=end,
        **more,
    )
    return answer["MetricDataResults"][0], answer.get("NextToken")


@pytest.mark.parametrize("period", [10, 60, 300])
def test_sums_over_an_interval_are_exact_whatever_the_period(cloudwatch, namespace, period):
    # GIVEN values put by many threads at once over several minutes
    start = time.time()

    def put(number: int) -> None:
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=[{"MetricName": "M", "Value": 1}] * (1 + number % 3))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(300)))
    # THEN every one is in the sum once
    result, _ = get(cloudwatch, namespace, "Sum", start, time.time() + 1, period=period)
    assert sum(result["Values"]) == 600
    assert result["StatusCode"] == "Complete"


def test_pages_hold_every_datapoint_once(cloudwatch, namespace, local_aws):
    base = time.time() - 60
    data = [{"MetricName": "M", "Value": 2**n, "Timestamp": base + n * local_aws.minute} for n in range(10)]
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)
    values, token = [], None
    while True:
        more = {"NextToken": token} if token else {}
        result, token = get(cloudwatch, namespace, "Sum", base - 1, time.time(), MaxDatapoints=3, **more)
        values += result["Values"]
        if token is None:
            break
    assert values == [2.0**n for n in reversed(range(10))]


def test_statistics_and_percentiles(cloudwatch, namespace):
    cloudwatch.put_metric_data(
        Namespace=namespace,
        MetricData=[{"MetricName": "M", "Values": [float(n) for n in range(1, 101)], "Unit": "Milliseconds"}],
    )
    now = time.time()
    answer = cloudwatch.get_metric_statistics(
        Namespace=namespace, MetricName="M", StartTime=now - 60, EndTime=now + 1, Period=3600,
        Statistics=["Sum", "Average", "Minimum", "Maximum", "SampleCount"],
    )  # fmt: skip
    points = answer["Datapoints"]
    assert sum(point["Sum"] for point in points) == 5050
    assert sum(point["SampleCount"] for point in points) == 100
    assert [points[0][name] for name in ("Average", "Minimum", "Maximum", "Unit")] == [50.5, 1, 100, "Milliseconds"]
    for name, value in (("p50", 50), ("p99", 99), ("p99.9", 100), ("p100", 100)):
        assert get(cloudwatch, namespace, name, now - 60, now + 1, period=3600)[0]["Values"] == [value]
    with pytest.raises(ClientError, match="statistic 'median' is not supported"):
        get(cloudwatch, namespace, "median", now - 60, now)


def test_percentiles_of_many_values_are_close_and_memory_is_bounded():
    metrics, key = Metrics(Clock(60)), key_of("N", "M", None)
    draw = random.Random(7)
    values = [draw.lognormvariate(3, 2) for _ in range(20_000)]
    for value in values:
        metrics.put(key, value, "None", 1_000_000.0)
    bucket = metrics.points(key, 60, 999_000, 1_001_000)[0].bucket
    assert bucket.statistic("Sum") == pytest.approx(sum(values))
    assert bucket.statistic("p99") == pytest.approx(sorted(values)[int(len(values) * 0.99)], rel=0.02)
    assert len(bucket.counts) < 10 * MOST_DISTINCT


def test_old_data_make_room():
    metrics, key = Metrics(Clock(60)), key_of("N", "M", {"A": "b"})
    for day in range(3):
        metrics.put(key, 1, "None", 86_400.0 * (day + 1))
    assert [point.start for point in metrics.points(key, 60, 0, 1e9)] == [86_400.0 * 3]


def test_metrics_are_listed_by_what_they_have(cloudwatch, namespace):
    for variant in ("a", "b"):
        cloudwatch.put_metric_data(
            Namespace=namespace,
            MetricData=[{"MetricName": "M", "Value": 1, "Dimensions": [{"Name": "Variant", "Value": variant}]}],
        )
    everything = cloudwatch.list_metrics(Namespace=namespace)["Metrics"]
    assert [metric["Dimensions"][0]["Value"] for metric in everything] == ["a", "b"]
    one = cloudwatch.list_metrics(Namespace=namespace, Dimensions=[{"Name": "Variant", "Value": "b"}])["Metrics"]
    assert one == [everything[1]]


def alarm(cloudwatch, namespace, **more) -> str:
    name = f"alarm-{namespace[-8:]}-{uuid.uuid4().hex[:4]}"
    settings = {
        "Namespace": namespace, "MetricName": "M", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 2,
        "Threshold": 5, "ComparisonOperator": "GreaterThanThreshold",
    }  # fmt: skip
    cloudwatch.put_metric_alarm(AlarmName=name, **(settings | more))
    return name


def state(cloudwatch, name: str) -> str:
    return cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"]


def test_an_alarm_goes_on_and_off_and_remembers(cloudwatch, namespace, wait_for):
    # GIVEN an alarm without data
    name = alarm(cloudwatch, namespace)
    assert state(cloudwatch, name) == "INSUFFICIENT_DATA"

    def put_until(wanted: str, value: float) -> None:
        def put() -> bool:
            cloudwatch.put_metric_data(Namespace=namespace, MetricData=[{"MetricName": "M", "Value": value}])
            return state(cloudwatch, name) == wanted

        wait_for(put)

    # WHEN it is too much, then little, then nothing THEN its states follow, and the history says so
    put_until("ALARM", 6)
    put_until("OK", 0)
    wait_for(lambda: state(cloudwatch, name) == "INSUFFICIENT_DATA")
    items = cloudwatch.describe_alarm_history(
        AlarmName=name, HistoryItemType="StateUpdate", ScanBy="TimestampAscending"
    )["AlarmHistoryItems"]
    # On a busy machine a minute may pass without a value, which is a state between two of them.
    states = iter([item["HistorySummary"].split(" to ")[1] for item in items])
    assert all(each in states for each in ("ALARM", "OK", "INSUFFICIENT_DATA"))
    cloudwatch.delete_alarms(AlarmNames=[name])
    assert cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"] == []


@pytest.mark.parametrize(("treatment", "expected"), [("breaching", "ALARM"), ("notBreaching", "OK")])
def test_missing_data_are_treated_as_asked(cloudwatch, namespace, wait_for, treatment, expected):
    name = alarm(cloudwatch, namespace, TreatMissingData=treatment)
    wait_for(lambda: state(cloudwatch, name) == expected)
    cloudwatch.delete_alarms(AlarmNames=[name])


def test_alarms_that_make_no_sense_are_refused(cloudwatch, namespace):
    with pytest.raises(ClientError, match="DatapointsToAlarm"):
        alarm(cloudwatch, namespace, DatapointsToAlarm=3)
    with pytest.raises(ClientError, match="statistic"):
        alarm(cloudwatch, namespace, Statistic="Median")
    with pytest.raises(ClientError, match="does not exist"):
        cloudwatch.delete_alarms(AlarmNames=["no-such-alarm"])


def test_an_alarm_tells_its_topic_of_each_new_state_once(cloudwatch, namespace, local_aws):
    # GIVEN a topic that a queue has subscribed to
    sns, sqs = local_aws.client("sns"), local_aws.client("sqs")
    topic = sns.create_topic(Name=f"told-{namespace[-8:]}")["TopicArn"]
    queue = sqs.create_queue(QueueName=f"told-{namespace[-8:]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    missing = topic.replace("told-", "untold-")
    # AND an alarm on data that never come, with an action that cannot be carried out, too
    name = alarm(cloudwatch, namespace, AlarmActions=[missing, topic], TreatMissingData="ignore")
    # WHEN it is set, twice the same
    for reason in ("one", "two"):
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason=reason)
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="over")
    # THEN there is one message, as AWS words it, and the history has both actions
    (message,) = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    received = json.loads(message["Body"])
    assert received["Subject"] == f'ALARM: "{name}" in US East (N. Virginia)'
    content = json.loads(received["Message"])
    assert (content["AlarmName"], content["NewStateValue"], content["NewStateReason"]) == (name, "ALARM", "one")
    assert content["Trigger"]["MetricName"] == "M"
    history = cloudwatch.describe_alarm_history(AlarmName=name, HistoryItemType="Action")["AlarmHistoryItems"]
    assert {each["HistorySummary"] for each in history} == {
        f"Successfully executed action {topic}",
        f"Failed to execute action {missing}",
    }
    # AND a person sees it
    shown = tell(local_aws.port, "published", {})
    assert f"[told-{namespace[-8:]}] {received['Subject']}" in shown
    assert '"NewStateReason": "one"' in shown
    cloudwatch.delete_alarms(AlarmNames=[name])


def test_an_action_that_nobody_carries_out_is_refused(cloudwatch, namespace):
    with pytest.raises(ClientError, match=r"step scaling policies only: AlarmActions has arn:aws:lambda:"):
        alarm(cloudwatch, namespace, AlarmActions=["arn:aws:lambda:us-east-1:123456789012:function:f"])


NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("datum", "code", "sentence"),
    [
        ({"Value": float("nan")}, "Value", "The value NaN for parameter MetricData.member.1.Value is invalid."),
        ({"Value": float("-inf")}, "Value", "The value -Infinity for parameter MetricData.member.1.Value is invalid."),
        ({"Values": [1.0, float("inf")]}, "Value",
         "The value Infinity for parameter MetricData.member.1.Values.member.2 is invalid."),
        ({"StatisticValues": {"SampleCount": 1.0, "Sum": float("nan"), "Minimum": 1.0, "Maximum": 1.0}}, "Value",
         "The value NaN for parameter MetricData.member.1.StatisticValues.Sum is invalid."),
        ({"Value": 2.0**361}, "Value", f"The value {2.0**361} for parameter MetricData.member.1.Value is invalid."),
        ({"Value": 0.0, "StatisticValues": {"SampleCount": 1.0, "Sum": 1.0, "Minimum": 1.0, "Maximum": 1.0}},
         "Combination", "The parameters MetricData.member.1.Value and MetricData.member.1.StatisticValues are mutually "
         "exclusive and you have specified both."),
        ({}, "Combination", "At least one of the parameters MetricData.member.1.Value and "
         "MetricData.member.1.StatisticValues must be specified."),
        ({"Values": [1.0], "Counts": [1.0, 2.0]}, "Value",
         "The parameters MetricData.member.1.Values and MetricData.member.1.Counts must be of the same size."),
        ({"Values": [1.0] * 151}, "Value",
         "The collection MetricData.member.1.Values must not have a size greater than 150."),
        ({"Value": 1.0, "Timestamp": NOW - 14 * 86400 - 1}, "Value",
         "The parameter MetricData.member.1.Timestamp must specify a time within the past two weeks."),
        ({"Value": 1.0, "Timestamp": NOW + 2 * 3600 + 1}, "Value",
         "The parameter MetricData.member.1.Timestamp must specify a time no more than two hours in the future."),
        ({"Value": 1.0, "StorageResolution": 300}, "Value",
         "The parameter MetricData.member.1.StorageResolution must be a value in the set [ 1, 60 ]."),
    ],
)  # fmt: skip
def test_data_that_aws_does_not_take(datum, code, sentence):
    if "Timestamp" in datum:
        datum = datum | {"Timestamp": dt.datetime.fromtimestamp(datum["Timestamp"], dt.UTC)}
    with pytest.raises(AwsError) as caught:
        metric_requests.check_data([{"MetricName": "M"} | datum], NOW)
    expected = {"Value": "InvalidParameterValue", "Combination": "InvalidParameterCombination"}[code]
    assert (caught.value.code, caught.value.message) == (expected, sentence)


def test_data_at_the_edges_are_taken():
    moments = [dt.datetime.fromtimestamp(NOW + shift, dt.UTC) for shift in (-14 * 86400 + 1, 2 * 3600 - 1)]
    data = [{"MetricName": "M", "Value": -(2.0**360), "Timestamp": moment} for moment in moments]
    metric_requests.check_data([*data, {"MetricName": "M", "Value": 0.0, "StorageResolution": 1}], NOW)


def test_of_data_of_which_one_is_refused_none_is_kept(cloudwatch, namespace):
    with pytest.raises(ClientError, match=r"The value NaN for parameter MetricData\.member\.2\.Value is invalid"):
        cloudwatch.put_metric_data(
            Namespace=namespace,
            MetricData=[{"MetricName": "M", "Value": 1}, {"MetricName": "M", "Value": float("nan")}],
        )
    assert cloudwatch.list_metrics(Namespace=namespace)["Metrics"] == []


def test_data_of_two_units_are_kept_apart(cloudwatch, namespace):
    # GIVEN one metric in two units
    for value, unit in ((1, "Seconds"), (10, "Seconds"), (500, "Bytes")):
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=[{"MetricName": "M", "Value": value, "Unit": unit}])
    interval = {"StartTime": time.time() - 60, "EndTime": time.time() + 60}
    metric = {"Namespace": namespace, "MetricName": "M"}

    def data(**unit):
        queries = [{"Id": "q", "MetricStat": {"Metric": metric, "Period": 86400, "Stat": "Sum"} | unit}]
        answer = cloudwatch.get_metric_data(MetricDataQueries=queries, **interval)
        return sum(answer["MetricDataResults"][0]["Values"])

    # THEN a query for one finds that, and one without finds both
    assert [data(Unit="Seconds"), data(Unit="Bytes"), data(Unit="Count"), data()] == [11, 500, 0, 511]
    points = cloudwatch.get_metric_statistics(**metric, **interval, Period=86400, Statistics=["Sum"])["Datapoints"]
    assert sorted((point["Unit"], point["Sum"]) for point in points) == [("Bytes", 500), ("Seconds", 11)]
    # AND an alarm may look at one
    assert len(cloudwatch.list_metrics(Namespace=namespace)["Metrics"]) == 1


def test_periods_and_ranges_that_aws_does_not_take(cloudwatch, namespace):
    now = time.time()

    def statistics(period=60, start=now - 600, end=now):
        cloudwatch.get_metric_statistics(
            Namespace=namespace, MetricName="M", StartTime=start, EndTime=end, Period=period, Statistics=["Sum"]
        )

    with pytest.raises(
        ClientError, match=r"InvalidParameterValue.*parameter Period must be .* a multiple of 60, not 7"
    ):
        statistics(period=7)
    with pytest.raises(ClientError, match=r"parameter MetricDataQueries.member.1.MetricStat.Period must be .* not 90"):
        get(cloudwatch, namespace, "Sum", now - 600, now, period=90)
    with pytest.raises(ClientError, match=r"The local AWS keeps data by 10 seconds: Period must be .* not 5"):
        statistics(period=5)
    with pytest.raises(ClientError, match=r"requested up to 1500 datapoints, which exceeds the limit of 1440"):
        statistics(start=now - 1500 * 60)
    with pytest.raises(ClientError, match=r"InvalidParameterCombination.*StartTime must be less than the parameter"):
        statistics(start=now + 1)
    with pytest.raises(ClientError, match=r"InvalidParameterValue.*StartTime must not equal parameter EndTime"):
        statistics(start=now)
    with pytest.raises(ClientError, match=r"ValidationError.*Period must be 10, 20, 30 or a multiple of 60"):
        alarm(cloudwatch, namespace, Period=7)
    with pytest.raises(ClientError, match=r"EvaluationPeriods \* Period must be <= 86400"):
        alarm(cloudwatch, namespace, Period=3600, EvaluationPeriods=25)
