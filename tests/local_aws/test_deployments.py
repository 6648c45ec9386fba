"""Updates of an endpoint under guard: shares, bakes, alarms, the way back, and what is said of them meanwhile."""

from __future__ import annotations

import os
import signal
import time
import uuid

import pytest
from botocore.exceptions import ClientError

from tests.local_aws.daemon import make_role
from tests.local_aws.event_rules import Listening
from tests.local_aws.remembering import BUCKET, RESTARTED, SOON, wait_until_saved
from tests.local_aws.serving import MODEL, Serving, archive

PER_CENT = {"Type": "CAPACITY_PERCENT", "Value": 50}
ONE = {"Type": "INSTANCE_COUNT", "Value": 1}


@pytest.fixture(scope="module")
def serving(local_aws, bucket, role_arn):
    return Serving(local_aws, bucket, role_arn)


@pytest.fixture(scope="module")
def models(serving):
    """An old, a new and a broken model."""
    broken = archive(MODEL + "\nraise RuntimeError('half a model')\n")
    return [serving.model(archive(name="old")), serving.model(archive(name="new")), serving.model(broken)]


@pytest.fixture(scope="module")
def endpoint(serving, models):
    """An endpoint in service with two instances, whatever model an earlier test has left in it."""
    name = serving.create(serving.config(models[0], count=2))
    described = serving.wait(name)
    assert described["EndpointStatus"] == "InService", described
    yield name
    serving.delete(name)


@pytest.fixture
def old(serving, endpoint, models):
    """The endpoint's configuration, which is the old model's."""
    config = serving.config(models[0], count=2)
    serving.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config)
    assert serving.wait(endpoint)["EndpointConfigName"] == config
    return config


@pytest.fixture
def alarm(serving):
    """An alarm that stays as SetAlarmState puts it."""
    name = f"guard-{uuid.uuid4().hex[:8]}"
    serving.cloudwatch.put_metric_alarm(
        AlarmName=name, Namespace="Tests", MetricName="Slowness", Statistic="Sum", Period=60, EvaluationPeriods=1,
        Threshold=1, ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore",
    )  # fmt: skip
    yield name
    serving.cloudwatch.delete_alarms(AlarmNames=[name])


def blue_green(routing: dict, last: int, *alarms: str) -> dict:
    policy = {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": last}
    return {"BlueGreenUpdatePolicy": policy, **guarded(*alarms)}


def guarded(*alarms: str) -> dict:
    return {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": each} for each in alarms]}} if alarms else {}


def all_at_once(last: int, *alarms: str) -> dict:
    return blue_green({"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}, last, *alarms)


def update(serving, endpoint: str, config: str, deployment: dict | None = None, **more) -> None:
    more |= {} if deployment is None else {"DeploymentConfig": deployment}
    serving.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config, **more)


def pending(described: dict) -> dict:
    """The one variant of the pending deployment, with its status; empty when nothing is pending."""
    found = described.get("PendingDeploymentSummary")
    return {} if found is None else found["ProductionVariants"][0]


def message(described: dict) -> str:
    statuses = pending(described).get("VariantStatus") or [{}]
    return statuses[0].get("StatusMessage", "")


def until(serving, endpoint: str, part: str, wait_for) -> dict:
    """The description in which the pending deployment says something."""

    def look() -> dict | None:
        described = serving.sagemaker.describe_endpoint(EndpointName=endpoint)
        assert described["EndpointStatus"] == "Updating", described
        return described if part in message(described) else None

    return wait_for(look)


def invocations(serving, endpoint: str, since: float, config: str | None = None) -> float:
    dimensions = {"EndpointName": endpoint, "VariantName": "v0"} | ({"EndpointConfigName": config} if config else {})
    answer = serving.cloudwatch.get_metric_statistics(
        Namespace="AWS/SageMaker", MetricName="Invocations", StartTime=since, EndTime=time.time() + 1, Period=3600,
        Statistics=["Sum"], Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
    )  # fmt: skip
    return sum(point["Sum"] for point in answer["Datapoints"])


def test_a_canary_tells_its_story_and_is_measured_by_itself(
    serving, endpoint, old, models, alarm, wait_for, local_aws
):  # fmt: skip
    listening = Listening(local_aws, wait_for, {"detail": {"EndpointName": [endpoint]}})
    # GIVEN a canary of one of two instances, which bakes for ten minutes (ten seconds here), and then for five
    new, since = serving.config(models[1], count=2), time.time() - 1
    routing = {"Type": "CANARY", "CanarySize": ONE, "WaitIntervalInSeconds": 600}
    asked = blue_green(routing, 300, alarm)
    update(serving, endpoint, new, asked)
    # WHEN it bakes
    described = until(serving, endpoint, "Baking for", wait_for)
    # THEN it is said of the new fleet, in AWS's words, and the old one is still what the endpoint has
    assert message(described) == (
        "Baking for 600 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity of 1 instance(s)."
    )
    summary, variant = described["PendingDeploymentSummary"], pending(described)
    assert (summary["EndpointConfigName"], described["EndpointConfigName"]) == (new, old)
    assert (variant["VariantName"], variant["InstanceType"]) == ("v0", "ml.m5.large")
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (1, 2)
    assert variant["VariantStatus"][0]["Status"] == "Baking"
    assert variant["VariantStatus"][0]["StartTime"] >= summary["StartTime"]
    (still,) = described["ProductionVariants"]
    assert (still["CurrentInstanceCount"], still["DesiredInstanceCount"]) == (2, 2)
    # both answer, the new model from its one instance, and each has metrics of its own
    answers = [serving.call(endpoint) for _ in range(60)]
    shares = {name: [each for each in answers if each["model"] == name] for name in ("old", "new")}
    assert len(shares["old"]) + len(shares["new"]) == 60
    assert shares["old"]
    assert len({each["pid"] for each in shares["new"]}) == 1
    assert invocations(serving, endpoint, since, new) == len(shares["new"])
    assert invocations(serving, endpoint, since, old) == len(shares["old"])
    assert invocations(serving, endpoint, since) == 60
    # AND in the last bake all of it is the new one's, on both instances
    described = until(serving, endpoint, "(TerminationWaitInSeconds)", wait_for)
    assert message(described) == (
        "Baking for 300 seconds (TerminationWaitInSeconds) with traffic enabled on full capacity of 2 instance(s)."
    )
    assert described["EndpointConfigName"] == old
    assert {serving.call(endpoint)["model"] for _ in range(10)} == {"new"}
    os.kill(shares["old"][0]["pid"], 0)
    # until that is over: nothing is pending, the old instances are gone, and the deployment's configuration stays
    described = serving.wait(endpoint)
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", new)
    assert "PendingDeploymentSummary" not in described
    assert "VariantStatus" not in described["ProductionVariants"][0]
    assert "FailureReason" not in described
    assert described["LastDeploymentConfig"] == asked
    with pytest.raises(ProcessLookupError):
        os.kill(shares["old"][0]["pid"], 0)
    # AND EventBridge was told of the endpoint's states and of each step
    events = listening.until(lambda heard: heard[-1]["detail"]["EndpointStatus"] == "IN_SERVICE")
    listening.close()
    state, step = (f"SageMaker Endpoint {each}State Change" for each in ("", "Deployment "))
    states = [each["detail"] for each in events if each["detail-type"] == state]
    assert [each["EndpointStatus"] for each in states] == ["UPDATING", "IN_SERVICE"]
    assert [each["EndpointConfigName"] for each in states] == [old, new]
    said = [message(each["detail"]) for each in events if each["detail-type"] == step]
    assert list(dict.fromkeys(each.split(" (")[0] for each in said if each)) == [
        "Launching 2 instance(s).",
        "Activating traffic on canary capacity of 1 instance(s).",
        "Baking for 600 seconds",
        "Activating traffic on full capacity of 2 instance(s).",
        "Baking for 300 seconds",
    ]


@pytest.mark.parametrize("last", [0, 3600])
def test_an_alarm_that_is_on_sends_everything_back(serving, endpoint, old, models, alarm, last):
    # GIVEN an alarm that is on before the update begins, also where there is no wait to look at it in
    serving.cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="for the test")
    update(serving, endpoint, serving.config(models[1], count=2), all_at_once(last, alarm))
    # THEN the endpoint is in service as it was, and gives no reason
    described = serving.wait(endpoint)
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", old)
    assert "FailureReason" not in described
    assert {serving.call(endpoint)["model"] for _ in range(10)} == {"old"}


def test_an_alarm_in_the_last_bake_sends_everything_back(
    serving, endpoint, old, models, alarm, wait_for, local_aws
):  # fmt: skip
    pattern = {"detail-type": ["SageMaker Endpoint State Change"], "detail": {"EndpointName": [endpoint]}}
    listening = Listening(local_aws, wait_for, pattern)
    # GIVEN all of the traffic on the new fleet, which is on trial
    update(serving, endpoint, serving.config(models[1], count=2), all_at_once(3600, alarm))
    until(serving, endpoint, "Baking for", wait_for)
    new = serving.call(endpoint)
    assert new["model"] == "new"
    # WHEN the alarm goes off
    with serving.load(endpoint) as (answers, errors):
        serving.cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="for the test")
        described = serving.wait(endpoint)
        wait_for(lambda: {each["model"] for each in answers[-20:]} == {"old"})
    # THEN no call was lost, and the new fleet is gone
    assert errors == []
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", old)
    with pytest.raises(ProcessLookupError):
        os.kill(new["pid"], 0)
    events = listening.until(lambda heard: heard[-1]["detail"]["EndpointStatus"] == "IN_SERVICE")
    assert [each["detail"]["EndpointStatus"] for each in events] == ["UPDATING", "ROLLING_BACK", "IN_SERVICE"]
    listening.close()


def test_an_alarm_on_the_new_fleet_alone_sees_it_fail(serving, endpoint, old, models, wait_for):
    # GIVEN an alarm on the errors of one configuration, which has no data before its first call
    new, name = serving.config(models[1], count=2), f"errors-{uuid.uuid4().hex[:8]}"
    dimensions = {"EndpointName": endpoint, "VariantName": "v0", "EndpointConfigName": new}
    serving.cloudwatch.put_metric_alarm(
        AlarmName=name, Namespace="AWS/SageMaker", MetricName="Invocation5XXErrors", Statistic="Average", Period=60,
        EvaluationPeriods=1, Threshold=0.5, ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching",
        Dimensions=[{"Name": each, "Value": value} for each, value in dimensions.items()],
    )  # fmt: skip
    with pytest.raises(ClientError):
        serving.call(endpoint, {"fail": True})
    # WHEN it is on trial and fails
    update(serving, endpoint, new, all_at_once(3600, name))
    until(serving, endpoint, "Baking for", wait_for)

    def back() -> bool:
        if serving.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"] != "Updating":
            return True
        with pytest.raises(ClientError):
            serving.call(endpoint, {"fail": True})
        return False

    wait_for(back)
    # THEN it is taken back
    described = serving.wait(endpoint)
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", old)
    serving.cloudwatch.delete_alarms(AlarmNames=[name])


def test_a_rolling_update_replaces_one_batch_after_another(serving, endpoint, old, models, wait_for):
    new = serving.config(models[1], count=2)
    policy = {"MaximumBatchSize": ONE, "WaitIntervalInSeconds": 300}
    update(serving, endpoint, new, {"RollingUpdatePolicy": policy})
    # WHEN the first batch bakes THEN one instance is new, and after it one old one is gone
    described = until(serving, endpoint, "Baking for 300 seconds", wait_for)
    assert (pending(described)["CurrentInstanceCount"], pending(described)["DesiredInstanceCount"]) == (1, 2)
    assert described["ProductionVariants"][0]["DesiredInstanceCount"] == 2
    assert {serving.call(endpoint)["model"] for _ in range(40)} == {"old", "new"}
    described = until(serving, endpoint, "full capacity of 2 instance(s)", wait_for)
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 1
    described = serving.wait(endpoint)
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", new)
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 2


def test_a_rolling_update_brings_back_what_it_had_replaced(serving, endpoint, old, models, alarm, wait_for):
    policy = {"MaximumBatchSize": PER_CENT, "WaitIntervalInSeconds": 300}
    update(serving, endpoint, serving.config(models[1], count=2), {"RollingUpdatePolicy": policy, **guarded(alarm)})
    until(serving, endpoint, "full capacity of 2 instance(s)", wait_for)
    with serving.load(endpoint, clients=2) as (_, errors):
        serving.cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="for the test")
        described = serving.wait(endpoint)
    assert errors == []
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", old)
    (variant,) = described["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (2, 2)
    assert {serving.call(endpoint)["model"] for _ in range(10)} == {"old"}


def test_a_way_back_that_fails_leaves_both_serving_until_the_next_update(
    serving, endpoint, old, models, alarm, wait_for, tmp_path
):
    # GIVEN a rolling update that is at its last bake, and an old model that can't be started any more
    broken, new = tmp_path / "broken", serving.config(models[1], count=2)
    code = f"{MODEL}\nif os.path.exists({str(broken)!r}): raise RuntimeError('no more')\n"
    update(serving, endpoint, serving.config(serving.model(archive(code, name="old")), count=2))
    before = serving.wait(endpoint)["EndpointConfigName"]
    policy = {"MaximumBatchSize": ONE, "WaitIntervalInSeconds": 300}
    update(serving, endpoint, new, {"RollingUpdatePolicy": policy, **guarded(alarm)})
    until(serving, endpoint, "full capacity of 2 instance(s)", wait_for)
    broken.touch()
    # WHEN it has to go back
    serving.cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="for the test")
    described = serving.wait(endpoint)
    # THEN AWS's state for that, with both reasons, and instances of both answer
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("UpdateRollbackFailed", before)
    assert f"The update failed (alarm {alarm} is in ALARM), and so did its way back: " in described["FailureReason"]
    assert "no more" in described["FailureReason"]
    assert {serving.call(endpoint)["model"] for _ in range(60)} == {"old", "new"}
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        serving.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=endpoint, DesiredWeightsAndCapacities=[{"VariantName": "v0", "DesiredInstanceCount": 3}]
        )
    # AND the next update begins by ending the mix
    broken.unlink()
    update(serving, endpoint, new, all_at_once(0))
    described = serving.wait(endpoint)
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", new)
    assert {serving.call(endpoint)["model"] for _ in range(10)} == {"new"}


def test_a_restart_in_the_middle_of_a_rolling_update_undoes_it(new_local_aws, tmp_path, wait_for):
    # GIVEN a rolling update that has replaced one of two instances already
    daemon = new_local_aws(state=tmp_path / "state", options=SOON)
    role = make_role(daemon)
    daemon.client("s3").create_bucket(Bucket=BUCKET)
    serving = Serving(daemon, BUCKET, role)
    endpoint = serving.create(serving.config(serving.model(archive(name="old")), count=2))
    before = serving.wait(endpoint)["EndpointConfigName"]
    new = serving.config(serving.model(archive(name="new")), count=2)
    policy = {"MaximumBatchSize": ONE, "WaitIntervalInSeconds": 600}  # ten seconds here
    update(serving, endpoint, new, {"RollingUpdatePolicy": policy})
    described = until(serving, endpoint, "full capacity of 2 instance(s)", wait_for)
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 1
    wait_until_saved(daemon)
    # WHEN the daemon is killed and started again
    daemon.stop(signal.SIGKILL)
    serving = Serving(new_local_aws(state=tmp_path / "state"), BUCKET, role)
    # THEN it is as it was before the update, whole, and says why
    described = serving.wait(endpoint, "SystemUpdating")
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", before)
    assert RESTARTED in described["FailureReason"]
    (variant,) = described["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (2, 2)
    assert "PendingDeploymentSummary" not in described
    assert {serving.call(endpoint)["model"] for _ in range(10)} == {"old"}


def test_the_last_deployment_config_is_used_again_when_it_is_asked_for(serving, endpoint, old, models, alarm):
    # GIVEN a deployment that was guarded, and says why its new fleet did not come up
    last = all_at_once(0, alarm)
    update(serving, endpoint, serving.config(models[2], count=1), last)
    described = serving.wait(endpoint)
    assert "half a model" in described["FailureReason"]
    assert described["EndpointConfigName"] == old
    assert described["LastDeploymentConfig"] == last
    # WHEN another retains its configuration THEN the alarm guards that, too
    serving.cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="for the test")
    update(serving, endpoint, serving.config(models[1], count=1), RetainDeploymentConfig=True)
    assert serving.wait(endpoint)["EndpointConfigName"] == old
    with pytest.raises(ClientError, match="RetainDeploymentConfig is true, so that no DeploymentConfig can be given"):
        update(serving, endpoint, old, last, RetainDeploymentConfig=True)
    # and one that retains the variants' counts has two instances, though its configuration asks for one
    new = serving.config(models[1], count=1)
    update(serving, endpoint, new, RetainAllVariantProperties=True)
    (variant,) = serving.wait(endpoint)["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (2, 2)


def test_what_cannot_be_carried_out_is_refused_and_changes_nothing(serving, endpoint, models):
    before = serving.sagemaker.describe_endpoint(EndpointName=endpoint)
    new = serving.config(models[1], count=2)
    routing = {"Type": "CANARY", "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 60}, "WaitIntervalInSeconds": 0}
    with pytest.raises(ClientError, match="has a CanarySize of 60 %, which must be at most 50 %"):
        update(serving, endpoint, new, blue_green(routing, 0))
    with pytest.raises(ClientError, match=r"names the alarm no-such-alarm .* which does not exist"):
        update(serving, endpoint, new, all_at_once(0, "no-such-alarm"))
    with pytest.raises(ClientError, match="length less than or equal to 10"):
        update(serving, endpoint, new, all_at_once(0, *[f"a{number}" for number in range(11)]))
    with pytest.raises(ClientError, match="needs an endpoint configuration with the same variant names as before, v0"):
        update(serving, endpoint, serving.config(models[0], models[1]), all_at_once(0))
    excluded = [{"VariantPropertyType": "DataCaptureConfig"}]
    with pytest.raises(ClientError, match="ExcludeRetainedVariantProperties names DataCaptureConfig"):
        update(serving, endpoint, new, RetainAllVariantProperties=True, ExcludeRetainedVariantProperties=excluded)
    with pytest.raises(ClientError, match="has a CanarySize of 60 %"):
        serving.create(new, DeploymentConfig=blue_green(routing, 0))
    assert serving.sagemaker.describe_endpoint(EndpointName=endpoint) | {"ResponseMetadata": 0} == before | {
        "ResponseMetadata": 0
    }


def test_configurations_with_what_would_be_ignored_are_refused(serving, models):
    def create(**more) -> None:
        variant = {"VariantName": "v0", "ModelName": models[0], "InstanceType": "ml.m5.large"}
        serving.sagemaker.create_endpoint_config(
            EndpointConfigName=f"config-{uuid.uuid4().hex[:8]}",
            ProductionVariants=[variant | {"InitialInstanceCount": 1}],
            **more,
        )

    shadow = {"VariantName": "s", "ModelName": models[1], "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    with pytest.raises(ClientError, match="ShadowProductionVariants"):
        create(ShadowProductionVariants=[shadow])
    capture = {"InitialSamplingPercentage": 100, "DestinationS3Uri": "s3://bucket/x"}
    capture |= {"CaptureOptions": [{"CaptureMode": "Input"}]}
    with pytest.raises(
        ClientError, match=r"DataCaptureConfig\.DestinationS3Uri cannot be used: 'https://bucket/x' is no"
    ):
        create(DataCaptureConfig=capture | {"DestinationS3Uri": "https://bucket/x"})
    with pytest.raises(ClientError, match=r"does not carry out DataCaptureConfig\.KmsKeyId"):
        create(DataCaptureConfig=capture | {"KmsKeyId": "a-key"})
