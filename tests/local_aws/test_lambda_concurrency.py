"""Reserved and provisioned concurrency: who runs where, who is refused, and exactly how many run at once."""

from __future__ import annotations

import datetime as dt
import io
import json
import threading
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from local_aws.control import tell

SOURCE = """
import os, time
def handler(event, context):
    started = time.time()
    time.sleep(event.get("sleep", 0))
    return {"kind": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "started": started,
            "ended": time.time(), "pid": os.getpid()}
"""


@pytest.fixture
def client(local_aws):
    return local_aws.client("lambda")


@pytest.fixture
def function(client, role_arn, wait_for, request):
    name = request.node.name[5:60]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", SOURCE)
    options = {
        "Runtime": "python3.12",
        "Handler": "app.handler",
        "Role": role_arn,
        "Code": {"ZipFile": buffer.getvalue()},
    }
    client.create_function(FunctionName=name, **options)
    wait_for(lambda: client.get_function_configuration(FunctionName=name)["State"] == "Active")
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    yield name
    client.delete_function(FunctionName=name)


def burst(client, name, count, sleep, qualifier="live"):
    """`count` calls at once; the answers and the reasons of the refusals."""
    barrier = threading.Barrier(count)

    def one(_):
        barrier.wait()
        try:
            answer = client.invoke(FunctionName=name, Qualifier=qualifier, Payload=json.dumps({"sleep": sleep}))
        except ClientError as error:
            return error.response.get("Reason") or error.response["Error"]["Code"]
        return json.loads(answer["Payload"].read())

    with ThreadPoolExecutor(count) as pool:
        found = list(pool.map(one, range(count)))
    return [each for each in found if isinstance(each, dict)], [each for each in found if isinstance(each, str)]


def overlap(answers):
    moments = sorted([(each["started"], 1) for each in answers] + [(each["ended"], -1) for each in answers])
    running = most = 0
    for _, step in moments:
        running += step
        most = max(most, running)
    return most


def provision(client, name, number, wait_for, qualifier="live"):
    client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=number
    )
    get = client.get_provisioned_concurrency_config
    return wait_for(lambda: get(FunctionName=name, Qualifier=qualifier)["Status"] == "READY", 120)


def invalid(call, **params):
    with pytest.raises(ClientError) as caught:
        call(**params)
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValueException"


def test_beyond_reserved_exactly_the_rest_is_refused(client, function):
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=4)
    for _ in range(3):
        answers, reasons = burst(client, function, 10, 2.5)
        assert len(answers) == 4
        assert set(reasons) == {"ReservedFunctionConcurrentInvocationLimitExceeded"}
        assert overlap(answers) == 4


def test_provisioned_first_then_the_rest_of_reserved(client, function, wait_for):
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=3)
    provision(client, function, 2, wait_for)
    answers, reasons = burst(client, function, 6, 2.5)
    assert Counter(each["kind"] for each in answers) == {"provisioned-concurrency": 2, "on-demand": 1}
    assert len(reasons) == 3
    # The provisioned ones are not for other qualifiers.
    answers, reasons = burst(client, function, 3, 2.5, "$LATEST")
    assert [each["kind"] for each in answers] == ["on-demand"]
    assert len(reasons) == 2


def test_reserved_zero_refuses_all_and_its_deletion_lets_all_pass(client, function):
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    assert len(burst(client, function, 2, 0)[1]) == 2
    client.delete_function_concurrency(FunctionName=function)
    assert len(burst(client, function, 2, 0)[0]) == 2


def test_what_is_refused(client, function, wait_for):
    put, reserve = client.put_provisioned_concurrency_config, client.put_function_concurrency
    invalid(reserve, FunctionName=function, ReservedConcurrentExecutions=901)
    invalid(put, FunctionName=function, Qualifier="$LATEST", ProvisionedConcurrentExecutions=1)
    reserve(FunctionName=function, ReservedConcurrentExecutions=2)
    invalid(put, FunctionName=function, Qualifier="live", ProvisionedConcurrentExecutions=3)
    provision(client, function, 2, wait_for)
    invalid(reserve, FunctionName=function, ReservedConcurrentExecutions=1)
    invalid(put, FunctionName=function, Qualifier="1", ProvisionedConcurrentExecutions=1)
    listed = client.list_provisioned_concurrency_configs(FunctionName=function)["ProvisionedConcurrencyConfigs"]
    assert [each["AllocatedProvisionedConcurrentExecutions"] for each in listed] == [2]
    client.delete_provisioned_concurrency_config(FunctionName=function, Qualifier="live")
    with pytest.raises(client.exceptions.ProvisionedConcurrencyConfigNotFoundException):
        client.get_provisioned_concurrency_config(FunctionName=function, Qualifier="live")


def test_what_is_deleted_takes_its_environments_along(client, function, wait_for):
    provision(client, function, 1, wait_for)
    client.delete_alias(FunctionName=function, Name="live")
    assert client.list_provisioned_concurrency_configs(FunctionName=function)["ProvisionedConcurrencyConfigs"] == []
    provision(client, function, 1, wait_for, qualifier="1")
    client.delete_function(FunctionName=function, Qualifier="1")
    assert client.list_provisioned_concurrency_configs(FunctionName=function)["ProvisionedConcurrencyConfigs"] == []
    # AND neither counts any more
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)


@pytest.fixture
def account(local_aws, client):
    """`account(limit)`: another quota of calls at once, for this test; what GetAccountSettings says of it."""

    def account(limit: int) -> tuple[int, int]:
        tell(local_aws.port, "quota", {"name": "Concurrent executions", "value": limit})
        found = client.get_account_settings()["AccountLimit"]
        return found["ConcurrentExecutions"], found["UnreservedConcurrentExecutions"]

    yield account
    account(1000)


def test_the_accounts_quota_can_be_a_small_one(client, function, account):
    reserve, put = client.put_function_concurrency, client.put_provisioned_concurrency_config
    limit, unreserved = account(1000)
    taken = limit - unreserved
    # GIVEN a quota that leaves room for three more than AWS keeps unreserved
    assert account(taken + 103) == (taken + 103, 103)
    with pytest.raises(ClientError, match=r"UnreservedConcurrentExecution below its minimum value of \[100\]"):
        reserve(FunctionName=function, ReservedConcurrentExecutions=4)
    invalid(put, FunctionName=function, Qualifier="1", ProvisionedConcurrentExecutions=4)
    reserve(FunctionName=function, ReservedConcurrentExecutions=3)
    # AND of a quota below a hundred, as a new account's is, all of it is kept
    client.delete_function_concurrency(FunctionName=function)
    assert account(10) == (10, max(0, 10 - taken))
    with pytest.raises(ClientError, match=r"minimum value of \[10\]"):
        reserve(FunctionName=function, ReservedConcurrentExecutions=1)


def publish_another(client, name, wait_for):
    def settled():
        return client.get_function_configuration(FunctionName=name)["LastUpdateStatus"] == "Successful"

    wait_for(settled)
    client.update_function_configuration(FunctionName=name, Timeout=10)
    wait_for(settled)
    return client.publish_version(FunctionName=name)["Version"]


def test_callers_of_the_alias_get_the_environments_of_the_version_it_names(client, function, wait_for, local_aws):
    provision(client, function, 2, wait_for, qualifier="1")
    answers, _ = burst(client, function, 3, 2.5)
    assert Counter(each["kind"] for each in answers) == {"provisioned-concurrency": 2, "on-demand": 1}
    # Of a version that no alias names yet they are ready all the same, and an alias that moves there has them at once.
    version = publish_another(client, function, wait_for)
    provision(client, function, 2, wait_for, qualifier=version)
    client.update_alias(FunctionName=function, Name="live", FunctionVersion=version)
    answers, _ = burst(client, function, 2, 2.5)
    assert [each["kind"] for each in answers] == ["provisioned-concurrency"] * 2
    query = {"Namespace": "AWS/Lambda", "MetricName": "ProvisionedConcurrencyInvocations", "Period": 3600}
    dimensions = {"FunctionName": function, "Resource": f"{function}:live"}
    now = dt.datetime.now(dt.UTC)
    found = local_aws.client("cloudwatch").get_metric_statistics(
        **query,
        Statistics=["Sum"],
        StartTime=now - dt.timedelta(hours=1),
        EndTime=now + dt.timedelta(hours=1),
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
    )
    assert sum(each["Sum"] for each in found["Datapoints"]) == 4


def test_no_environments_on_an_alias_and_on_the_version_that_it_names(client, function, wait_for):
    version = publish_another(client, function, wait_for)
    provision(client, function, 1, wait_for)
    provision(client, function, 1, wait_for, qualifier=version)
    invalid(client.update_alias, FunctionName=function, Name="live", FunctionVersion=version)
    assert client.get_alias(FunctionName=function, Name="live")["FunctionVersion"] == "1"
    client.delete_provisioned_concurrency_config(FunctionName=function, Qualifier="live")
    client.update_alias(FunctionName=function, Name="live", FunctionVersion=version)
    with pytest.raises(client.exceptions.ResourceConflictException):
        client.delete_function(FunctionName=function, Qualifier=version)


def test_no_environments_on_an_alias_with_weights(client, function, wait_for):
    version = publish_another(client, function, wait_for)
    routing = {"AdditionalVersionWeights": {version: 0.1}}
    client.update_alias(FunctionName=function, Name="live", RoutingConfig=routing)
    invalid(
        client.put_provisioned_concurrency_config,
        FunctionName=function,
        Qualifier="live",
        ProvisionedConcurrentExecutions=1,
    )
    provision(client, function, 1, wait_for, qualifier="1")


def test_no_weights_on_an_alias_with_environments(client, function, wait_for):
    version = publish_another(client, function, wait_for)
    provision(client, function, 1, wait_for)
    routing = {"AdditionalVersionWeights": {version: 0.1}}
    invalid(client.update_alias, FunctionName=function, Name="live", RoutingConfig=routing)
    assert "RoutingConfig" not in client.get_alias(FunctionName=function, Name="live")


def test_an_alias_that_was_changed_meanwhile_is_not_moved(client, function, wait_for):
    version = publish_another(client, function, wait_for)
    seen = client.get_alias(FunctionName=function, Name="live")["RevisionId"]
    client.update_alias(FunctionName=function, Name="live", Description="changed", RevisionId=seen)
    with pytest.raises(client.exceptions.PreconditionFailedException):
        client.update_alias(FunctionName=function, Name="live", FunctionVersion=version, RevisionId=seen)
    assert client.get_alias(FunctionName=function, Name="live")["FunctionVersion"] == "1"


def test_a_dead_provisioned_environment_is_replaced(client, function, wait_for):
    import os

    provision(client, function, 1, wait_for)
    pid = burst(client, function, 1, 0)[0][0]["pid"]
    os.kill(pid, 9)

    def replaced():
        found = burst(client, function, 1, 0)[0][0]
        # The call that meets the death is answered with Runtime.ExitError, which has neither.
        return found.get("kind") == "provisioned-concurrency" and found["pid"] != pid

    wait_for(replaced)


def test_cloudwatch_has_what_really_happened(client, function, local_aws, wait_for):
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=3)
    provision(client, function, 1, wait_for)
    answers, reasons = burst(client, function, 7, 2.5)
    now = dt.datetime.now(dt.UTC)
    watch = local_aws.client("cloudwatch")

    def total(metric, statistic="Sum", **more):
        dimensions = [{"Name": name, "Value": value} for name, value in ({"FunctionName": function} | more).items()]
        window = {"StartTime": now - dt.timedelta(hours=1), "EndTime": now + dt.timedelta(hours=1), "Period": 60}
        query = {"Namespace": "AWS/Lambda", "MetricName": metric, "Dimensions": dimensions, "Statistics": [statistic]}
        found = [each[statistic] for each in watch.get_metric_statistics(**query, **window)["Datapoints"]]
        return (max if statistic == "Maximum" else sum)(found or [0])

    assert (len(answers), len(reasons)) == (3, 4)
    assert (total("Invocations"), total("Throttles"), total("Errors")) == (3, 4, 0)
    assert total("ConcurrentExecutions", "Maximum") == 3
    assert total("ProvisionedConcurrencyInvocations") == 1
    assert total("ProvisionedConcurrencySpilloverInvocations", Resource=f"{function}:live") == 2
