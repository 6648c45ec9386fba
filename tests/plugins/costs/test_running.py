"""What costs money now, in a local AWS of the test's own: every kind of thing, ours and somebody else's.

Per hour: ml.m5.large 0.115 USD, m5.xlarge 0.192; a GB of provisioned concurrency 0.01500012; S3 0.023 per GB and month.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from types import SimpleNamespace

import pytest
from musher import names
from musher.config import Environment
from musher.costs import running
from musher.operators.running_costs import ReportRunningCostsOperator
from musher.report import running_costs
from musher.request_parameters.scaling import variant as variant_of

from local_aws.control import tell
from tests.local_aws.daemon import make_role, wait_for
from tests.local_aws.ec2_hosts import PARAMETER
from tests.local_aws.serving import Serving
from tests.local_aws.test_lambda import zipped
from tests.local_aws.test_tuning import Tuning, X
from tests.local_aws.training_scripts import Jobs

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("fixed_prices")]

BUCKET = "musher-bucket"
TAGS = {"project": "musher", "dag": "a_dag", "run": "a_run"}
NEVER_CALLED, CALLED, FOREIGN = "never-called", "called", "somebody-else-s"


def tags(**changes):
    return [{"Key": key, "Value": value} for key, value in {**TAGS, **changes}.items()]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory, start_daemon):
    daemon = start_daemon(tmp_path_factory.mktemp("running-costs"))
    daemon.client("s3").create_bucket(Bucket=BUCKET)
    yield daemon
    daemon.stop()


@pytest.fixture(scope="module")
def role(daemon):
    return make_role(daemon)


@pytest.fixture(scope="module")
def serving(daemon, role):
    return Serving(daemon, BUCKET, role)


@pytest.fixture(scope="module")
def endpoints(daemon, serving):
    """Three endpoints of one ml.m5.large: ours that nobody calls, ours that is called, and another project's."""
    config = serving.config(serving.model())
    owners = {NEVER_CALLED: tags(), CALLED: tags(), FOREIGN: tags(project="other")}
    for name, owner in owners.items():
        serving.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config, Tags=owner)
    for name in owners:
        assert serving.wait(name)["EndpointStatus"] == "InService"
    since = time.time() - 60
    serving.call(CALLED)
    wait_for(lambda: sum(serving.metric(CALLED, "Invocations", "Sum", since)))


@pytest.fixture(scope="module")
def function(daemon, role):
    """Ours with two provisioned environments of 1,024 MB, and one without any."""
    client = daemon.client("lambda")
    for name in ("provisioned", "plain"):
        client.create_function(
            FunctionName=name, Runtime="python3.12", Handler="app.handler", Role=role, MemorySize=1024,
            Code={"ZipFile": zipped()}, Tags=TAGS,
        )  # fmt: skip
        wait_for(lambda name=name: client.get_function_configuration(FunctionName=name)["State"] == "Active")
    version = client.publish_version(FunctionName="provisioned")["Version"]
    client.create_alias(FunctionName="provisioned", Name="live", FunctionVersion=version)
    client.put_provisioned_concurrency_config(
        FunctionName="provisioned", Qualifier="live", ProvisionedConcurrentExecutions=2
    )


@pytest.fixture(scope="module")
def instances(daemon):
    """Two of ours, one of them gone already, and somebody else's."""
    ec2, started = daemon.client("ec2"), []
    image = f"resolve:ssm:{PARAMETER}"
    for owner in (tags(), tags(), tags(project="other")):
        specification = [{"ResourceType": "instance", "Tags": owner}]
        launched = ec2.run_instances(
            ImageId=image, InstanceType="m5.xlarge", MinCount=1, MaxCount=1, TagSpecifications=specification
        )
        started.append(launched["Instances"][0]["InstanceId"])
    ec2.terminate_instances(InstanceIds=[started[1]])
    yield started[0]
    ec2.terminate_instances(InstanceIds=started)


def listed(daemon, unused_days, now=None):
    found = running.RunningCosts(
        daemon.client, project="musher", bucket=BUCKET, unused_days=unused_days, now=now or dt.datetime.now(dt.UTC)
    ).listed()
    return {(each["what"], each["name"]): each for each in found}


def test_an_endpoint_costs_by_its_instances_and_age(daemon, endpoints):
    later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=100)
    found = listed(daemon, 30, later)
    each = found["endpoint", NEVER_CALLED]

    assert ("endpoint", FOREIGN) not in found
    assert each["detail"] == "1 x ml.m5.large"
    assert (each["dag"], each["run"]) == ("a_dag", "a_run")
    # 730 x 0.115 a month; a hundred hours, and the seconds since it was created: 11.5.
    assert each["per_month_usd"] == pytest.approx(83.95)
    assert each["age_hours"] == pytest.approx(100, abs=0.1)
    assert each["so_far_usd"] == pytest.approx(11.5, abs=0.02)
    assert each["unused"] == ""  # younger than thirty days


def test_what_nobody_called_is_unused_and_what_was_called_is_not(daemon, endpoints):
    moment = 1e-6  # days: older than that everything is
    found = listed(daemon, moment)
    assert found["endpoint", NEVER_CALLED]["unused"].startswith("not called for ")
    assert found["endpoint", CALLED]["unused"] == ""

    # Nine days from now the call was long ago.
    later = listed(daemon, 7, dt.datetime.now(dt.UTC) + dt.timedelta(days=9))
    assert later["endpoint", CALLED]["unused"] == "not called for 7 days"


def test_environments_kept_ready_cost_although_nobody_calls(daemon, function):
    found = listed(daemon, 7, dt.datetime.now(dt.UTC) + dt.timedelta(days=8))

    each = found["provisioned concurrency", "provisioned:live"]
    assert each["detail"] == "2 x 1024 MB"
    # 2 GB x 3,600 s x 0.0000041667 x 730 hours.
    assert each["per_month_usd"] == pytest.approx(21.900175, abs=1e-5)
    assert each["unused"] == "not called for 7 days"
    assert [name for what, name in found if what == "provisioned concurrency"] == ["provisioned:live"]


def test_a_running_instance_is_listed_and_an_old_one_is_unused(daemon, instances):
    found = listed(daemon, 7)
    assert [name for what, name in found if what == "EC2 instance"] == [instances]
    each = found["EC2 instance", instances]
    assert each["per_month_usd"] == pytest.approx(140.16)
    assert each["run"] == "a_run"
    assert each["unused"] == ""

    later = listed(daemon, 7, dt.datetime.now(dt.UTC) + dt.timedelta(days=8))
    assert later["EC2 instance", instances]["unused"].startswith("older than 7 days")


def test_a_type_without_a_price_is_listed_without_a_figure(daemon, instances, fixed_prices, monkeypatch):
    monkeypatch.setitem(fixed_prices.entries, "ec2_per_hour", {})
    each = listed(daemon, 7)["EC2 instance", instances]
    assert each["per_month_usd"] is None
    assert "no price in prices.json" in each["detail"]


def test_a_running_training_job_is_listed_until_it_ends(daemon, role):
    jobs = Jobs(daemon, BUCKET, role, wait_for)
    name = jobs.start("stopped", changes={"Tags": tags()})
    other = jobs.start("stopped", changes={"Tags": tags(project="other")})
    try:
        for job in (name, other):
            jobs.says(job, "waiting")
        found = listed(daemon, 7)
        each = found["training job", name]
        assert each["detail"] == "1 x ml.m5.large"
        assert each["per_month_usd"] == pytest.approx(83.95)
        assert each["unused"] == ""
        assert ("training job", other) not in found
    finally:
        for job in (name, other):
            jobs.sagemaker.stop_training_job(TrainingJobName=job)
            jobs.end(job)
    assert ("training job", name) not in listed(daemon, 7)


def test_a_tuning_job_costs_what_its_trials_cost(daemon, role):
    tuning = Tuning(daemon, BUCKET, role, wait_for)
    request = tuning.tuning_request("Random", X, mode="stopped", most=1, parallel=1)
    name = request["HyperParameterTuningJobName"]
    tuning.sagemaker.create_hyper_parameter_tuning_job(**request, Tags=tags())
    try:
        wait_for(lambda: [what for what, _ in listed(daemon, 7)].count("training job") == 1)
        found = listed(daemon, 7)
        assert found["tuning job", name]["per_month_usd"] == 0
        (trial,) = [each for each in found.values() if each["what"] == "training job"]
        assert trial["name"].startswith(name)
        tuning.says(trial["name"], "waiting")
        assert trial["run"] == "a_run"
        assert trial["per_month_usd"] == pytest.approx(83.95)
    finally:
        tuning.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        tuning.tuned(name)
    assert ("tuning job", name) not in listed(daemon, 7)


def test_what_lies_in_the_bucket_costs_by_the_month(daemon):
    s3 = daemon.client("s3")
    before = listed(daemon, 7)["S3 storage", BUCKET]["per_month_usd"]
    s3.put_object(Bucket=BUCKET, Key="a-megabyte", Body=b"x" * 2**20)
    after = listed(daemon, 7)["S3 storage", BUCKET]
    # A MiB at 0.023 a GiB.
    assert after["per_month_usd"] - before == pytest.approx(0.023 / 1024)
    assert after["so_far_usd"] is None


@pytest.fixture
def report(daemon, role, monkeypatch):
    """Runs the operator against the local AWS, at a time of the test's choice; its list, and its record."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", daemon.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    environment = Environment(
        bucket=BUCKET, region="us-east-1", training_role_arn=role, endpoint_role_arn=role, lambda_role_arn=role,
        kind="local", poll_seconds=0.1,
        notifications_topic_arn=daemon.client("sns").create_topic(Name="told")["TopicArn"],
    )  # fmt: skip

    def run(days=0, **params):
        now = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
        monkeypatch.setattr("musher.operators.running_costs._now", lambda: now)
        operator = ReportRunningCostsOperator(task_id="report_running_costs", aws_conn_id=None)
        operator.__dict__["environment"] = environment
        found = operator.execute({"params": params, "dag_run": SimpleNamespace(dag_id="d", run_id="r")})
        key = f"{running_costs.PREFIX}{now.date().isoformat()}"
        bodies = [
            daemon.client("s3").get_object(Bucket=BUCKET, Key=f"{key}.{kind}")["Body"].read()
            for kind in ("json", "html")
        ]
        return found, json.loads(bodies[0]), bodies[1].decode()

    return run


def test_the_report_lists_everything_and_removes_nothing_by_itself(
    daemon, endpoints, function, instances, report, capsys
):
    found, record, page = report(days=9)

    assert record["running"] == found
    assert record["removed"] == []
    names = {each["name"] for each in found}
    assert {NEVER_CALLED, CALLED, "provisioned:live", instances, BUCKET} == names
    assert record["per_month_usd"] == pytest.approx(2 * 83.95 + 21.900175 + 140.16, abs=0.1)
    assert [each["per_month_usd"] for each in found] == sorted((e["per_month_usd"] for e in found), reverse=True)
    log = capsys.readouterr().out
    for name in (*names, "not called for 7 days", "a_run"):
        assert name in page
        assert name in log
    assert "UNUSED: not called for 7 days" in log
    assert "<script" not in page
    assert len(daemon.client("sagemaker").list_endpoints()["Endpoints"]) == 3


def test_what_is_unused_is_removed_when_that_was_asked_for(daemon, endpoints, function, instances, report):
    _, record, page = report(days=9, remove_unused=True)

    assert f"endpoint {NEVER_CALLED}" in record["removed"]
    assert f"endpoint {CALLED}" in record["removed"]
    assert "provisioned concurrency of provisioned" in record["removed"]
    assert f"EC2 instance {instances}" in record["removed"]
    assert f"<li>endpoint {CALLED}</li>" in page
    left = [each["EndpointName"] for each in daemon.client("sagemaker").list_endpoints()["Endpoints"]]
    assert left == [FOREIGN]
    # The function stays: without provisioned concurrency it costs nothing.
    client = daemon.client("lambda")
    assert {each["FunctionName"] for each in client.list_functions()["Functions"]} == {"provisioned", "plain"}
    kept = client.list_provisioned_concurrency_configs(FunctionName="provisioned")
    assert kept["ProvisionedConcurrencyConfigs"] == []
    assert [what for what, _ in listed(daemon, 7)] == ["S3 storage"]

    # The next day there is nothing left to remove.
    _, record, _ = report(days=10, remove_unused=True)
    assert record["removed"] == []


def test_what_a_rehearsal_left_is_listed_as_that_and_removed_once_it_has_expired(daemon, role, report, capsys):
    # GIVEN a rehearsal whose function was deployed and whose endpoint was not, and one that is still allowed to run
    client, now = daemon.client("lambda"), dt.datetime.now(dt.UTC)
    for name, hours in (("left", 5), ("going-on", 100)):
        expires = (now + dt.timedelta(hours=hours)).isoformat(timespec="seconds")
        client.create_function(
            FunctionName=name, Runtime="python3.12", Handler="app.handler", Role=role, MemorySize=1024,
            Code={"ZipFile": zipped()}, Tags={**TAGS, "expires": expires},
        )  # fmt: skip
        wait_for(lambda name=name: client.get_function_configuration(FunctionName=name)["State"] == "Active")
    client.publish_version(FunctionName="left")
    client.put_provisioned_concurrency_config(FunctionName="left", Qualifier="1", ProvisionedConcurrentExecutions=1)
    serving = Serving(daemon, BUCKET, role)
    config = "rehearsed"
    variant = {"VariantName": names.VARIANT, "ModelName": serving.model(), "InstanceType": "ml.m5.large"}
    serving.sagemaker.create_endpoint_config(
        EndpointConfigName=config, ProductionVariants=[{**variant, "InitialInstanceCount": 1}]
    )
    later = (now + dt.timedelta(hours=5)).isoformat(timespec="seconds")
    serving.sagemaker.create_endpoint(EndpointName="rehearsed", EndpointConfigName=config, Tags=tags(expires=later))
    assert serving.wait("rehearsed")["EndpointStatus"] == "InService"
    scaling, target = daemon.client("application-autoscaling"), variant_of("rehearsed")
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=2)
    scaling.put_scaling_policy(
        **target,
        PolicyName="p",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 600,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        },
    )

    # WHEN it has not expired yet, it is only listed
    found, record, page = report()

    each = {(each["what"], each["name"]): each for each in found}
    alarms = ("CloudWatch alarms", "rehearsed")
    assert each[alarms]["detail"] == "2 alarms"
    assert each[alarms]["per_month_usd"] == pytest.approx(0.2)
    for one in (("endpoint", "rehearsed"), alarms, ("function", "left"), ("provisioned concurrency", "left:1")):
        assert each[one]["expires"] == later
    assert record["removed"] == []
    assert f"EXPIRES {later}" in capsys.readouterr().out
    assert page.count("expires ") == 5

    # WHEN it has, without anybody's asking
    _, record, page = report(days=1)

    for one in ("endpoint rehearsed", "function left", "scalable target of rehearsed"):
        assert f"{one}, which had expired" in record["removed"]
        assert f"<li>{one}, which had expired</li>" in page
    assert "left" not in {each["FunctionName"] for each in client.list_functions()["Functions"]}
    assert "rehearsed" not in {each["EndpointName"] for each in serving.sagemaker.list_endpoints()["Endpoints"]}
    assert (
        daemon.client("cloudwatch").describe_alarms(AlarmNamePrefix="TargetTracking-endpoint/rehearsed/")[
            "MetricAlarms"
        ]
        == []
    )
    assert [each["name"] for each in report(days=1)[0] if each["expires"]] == ["going-on"]
    # AND somebody has heard of it, once
    told = tell(daemon.port, "published", {})
    assert told.count("[told] musher: what had expired was removed") == 1
    assert "- endpoint rehearsed, which had expired" in told
    assert record["not_notified"] == ""


def test_what_auto_scaling_has_left_of_an_endpoint_that_is_gone_is_removed_too(daemon, report):
    # GIVEN a policy's alarm, whose endpoint and scalable target somebody has deleted
    cloudwatch = daemon.client("cloudwatch")
    endpoint = names.Stack("musher").endpoint
    cloudwatch.put_metric_alarm(
        AlarmName=f"{names.scaling_alarms(endpoint)}AlarmHigh-0",
        Namespace="AWS/SageMaker", MetricName="InvocationsPerInstance", Statistic="Sum", Period=60,
        EvaluationPeriods=3, Threshold=1.0, ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip

    # WHEN it is listed as unused, and that is to be removed
    found, record, _ = report(remove_unused=True)

    (each,) = [each for each in found if each["what"] == "CloudWatch alarms"]
    assert (each["name"], each["unused"]) == (endpoint, "the endpoint that they watch does not exist")
    assert f"alarm {names.scaling_alarms(endpoint)}AlarmHigh-0" in record["removed"]
    assert cloudwatch.describe_alarms(AlarmNamePrefix="TargetTracking-")["MetricAlarms"] == []


@pytest.mark.parametrize(
    ("expires", "expired"),
    [
        ("2026-01-01T00:00:00+00:00", True),
        ("2027-01-01T00:00:00+00:00", False),
        ("", False),
        ("soon", False),
        ("2026-01-01", False),
    ],
)
def test_only_a_date_that_can_be_read_makes_a_thing_expire(expires, expired):
    entry = running.Running("endpoint", "e", "", expires=expires)

    assert entry.expired(dt.datetime(2026, 11, 25, tzinfo=dt.UTC)) is expired
