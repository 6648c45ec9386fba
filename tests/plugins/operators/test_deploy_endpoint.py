"""Deploying an endpoint that somebody else is changing, or that an earlier try was changing."""

from __future__ import annotations

import hashlib
import itertools
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred
from musher import names
from musher.operators import endpoint
from musher.operators.endpoint import DeployEndpointOperator

from tests.local_aws.serving import MODEL, archive

# Slow to start, so that a change of the endpoint is still running when it is looked at.
SLOW = "import time\ntime.sleep(3)\n"
BROKEN = archive(code=f"{SLOW}raise ValueError('no such bird')")
_RUNS = itertools.count(1)


class Deployment:
    """One run's deployment of a model of its own: `begin` as a worker that dies once the wait has begun, and `run`."""

    def __init__(self, project, body: bytes | None = None) -> None:
        self.project, number = project, next(_RUNS)
        self.name, self.run_id = f"m{number}", f"run-{number}"
        body = archive(code=SLOW + MODEL, name=self.name) if body is None else body
        data = project.model_archive(self.name, body)
        self.digest = hashlib.sha256(body).hexdigest()
        arn = project.package(data, CustomerMetadataProperties={"sha256": self.digest})
        self.model = {"package_arn": arn, "specification": ""}

    def begin(self) -> None:
        self.project.run_as("deploy_image_classifier", self.run_id)
        with pytest.raises(TaskDeferred):
            self.project.task(DeployEndpointOperator, model=self.model).execute(self.project.context)

    def run(self) -> dict:
        self.project.run_as("deploy_image_classifier", self.run_id)
        return self.project.perform(DeployEndpointOperator, model=self.model)


@pytest.fixture(scope="module")
def served(new_project):
    """A project whose endpoint serves."""
    project = new_project()
    Deployment(project).run()
    return project


def serving(project) -> str:
    """The configuration in service; the endpoint has settled."""
    assert project.endpoint["EndpointStatus"] == "InService"
    return project.endpoint["EndpointConfigName"]


def configs(project) -> set[str]:
    found = project.sagemaker.list_endpoint_configs(NameContains=f"{project.name}-endpoint-")["EndpointConfigs"]
    return {each["EndpointConfigName"] for each in found}


def scale(project) -> None:
    """What auto-scaling does: another instance, or one less."""
    (now,) = project.endpoint["ProductionVariants"]
    project.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=names.Stack(project.name).endpoint,
        DesiredWeightsAndCapacities=[
            {"VariantName": names.VARIANT, "DesiredInstanceCount": 3 - now["CurrentInstanceCount"]}
        ],
    )
    assert project.endpoint["EndpointStatus"] == "Updating"


def test_an_endpoint_that_auto_scaling_changes_is_waited_for_and_then_updated(served):
    # GIVEN an endpoint to which auto-scaling is just adding an instance
    before = serving(served)
    scale(served)

    # WHEN another model is deployed, THEN it serves, and the configuration before is gone
    deployed = Deployment(served).run()
    assert served.waits == ["settled", "resume"]
    assert deployed["config"] != before
    assert serving(served) == deployed["config"]
    assert configs(served) == {deployed["config"]}


def test_an_update_that_aws_refuses_since_auto_scaling_was_quicker_is_repeated(served, monkeypatch):
    # GIVEN auto-scaling that acts between the look at the endpoint and the call
    update, acted = endpoint.request_parameters.update_endpoint, []

    def scaled_meanwhile(**values):
        if not acted:
            acted.append(scale(served))
        return update(**values)

    monkeypatch.setattr(endpoint.request_parameters, "update_endpoint", scaled_meanwhile)
    deployed = Deployment(served).run()

    assert acted
    assert served.waits == ["settled", "resume"]
    assert serving(served) == deployed["config"]


def test_an_endpoint_that_goes_on_changing_is_given_up_and_nothing_is_left_behind(served, monkeypatch):
    before, look = serving(served), endpoint.ServingHook.describe_endpoint
    monkeypatch.setattr(
        endpoint.ServingHook,
        "describe_endpoint",
        lambda hook, name: look(hook, name) | {"EndpointStatus": "Updating"},
    )
    monkeypatch.setattr(endpoint, "LIMIT_SECONDS", -1)
    with pytest.raises(AirflowException, match="is still being changed by somebody else after"):
        Deployment(served).run()
    assert configs(served) == {before}


def test_a_retry_attaches_to_the_update_of_the_try_before(served, monkeypatch):
    # GIVEN a try whose worker died after it had begun the update
    deployment = Deployment(served)
    deployment.begin()
    assert served.endpoint["EndpointStatus"] == "Updating"

    # WHEN it is tried again, THEN it waits for that update, and begins no other
    monkeypatch.setattr(endpoint.request_parameters, "update_endpoint", lambda **_: pytest.fail("a second update"))
    deployed = deployment.run()
    assert served.waits == ["resume"]
    assert serving(served) == deployed["config"]
    assert configs(served) == {deployed["config"]}

    # and a third try finds it done
    assert deployment.run() == deployed
    assert served.waits == []


def test_a_retry_sees_the_update_of_the_try_before_rolled_back(served, monkeypatch):
    before = serving(served)
    deployment = Deployment(served, BROKEN)
    deployment.begin()
    monkeypatch.setattr(endpoint.request_parameters, "update_endpoint", lambda **_: pytest.fail("a second update"))
    with pytest.raises(AirflowException, match=f"was rolled back; {before} still serves"):
        deployment.run()
    assert configs(served) == {before}


def test_an_update_that_an_alarm_takes_back_is_noticed_although_aws_gives_no_reason(served, monkeypatch):
    # GIVEN deployments that an alarm guards, which is on
    update, before = endpoint.request_parameters.update_endpoint, serving(served)
    guard = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "guard"}]}}
    monkeypatch.setattr(
        endpoint.request_parameters, "update_endpoint", lambda **values: update(**values) | {"DeploymentConfig": guard}
    )
    cloudwatch = served.daemon.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName="guard", Namespace="Tests", MetricName="M", Statistic="Sum", Period=60, EvaluationPeriods=1,
        Threshold=1, ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore",
    )  # fmt: skip
    cloudwatch.set_alarm_state(AlarmName="guard", StateValue="ALARM", StateReason="for the test")

    # THEN the task fails, and the configuration that did not come to serve is gone
    with pytest.raises(AirflowException, match=f"was rolled back; {before} still serves: no reason given"):
        Deployment(served).run()
    assert "FailureReason" not in served.endpoint
    assert configs(served) == {before}


def test_maintenance_and_another_ones_way_back_are_waited_for(served, monkeypatch):
    # GIVEN states in which AWS lets nobody change an endpoint; the local AWS shows them too briefly to be met at will
    look, states = endpoint.ServingHook.describe_endpoint, ["SystemUpdating", "RollingBack"]
    monkeypatch.setattr(
        endpoint.ServingHook,
        "describe_endpoint",
        lambda hook, name: look(hook, name) | ({"EndpointStatus": states.pop(0)} if states else {}),
    )
    deployed = Deployment(served).run()
    assert served.waits == ["settled", "resume"]
    assert serving(served) == deployed["config"]


def test_of_a_half_rolled_back_endpoint_nothing_is_deleted_that_may_serve(served, monkeypatch):
    # GIVEN an endpoint that serves a mix of two configurations: a rolling update failed, and so did its way back
    before, look = serving(served), endpoint.ServingHook.describe_endpoint

    def described(hook, name):
        found = look(hook, name)
        return found | {"EndpointStatus": found["EndpointStatus"].replace("InService", "UpdateRollbackFailed")}

    monkeypatch.setattr(endpoint.ServingHook, "describe_endpoint", described)

    # WHEN it is updated and stays like that
    with pytest.raises(AirflowException, match="is UpdateRollbackFailed: "):
        Deployment(served).run()

    # THEN both are still there
    assert len(configs(served)) == 2
    assert before in configs(served)


def test_a_new_endpoint_that_cannot_be_created_is_gone_afterwards(project):
    # GIVEN a try whose worker died while a broken model's endpoint was being created
    deployment = Deployment(project, BROKEN)
    deployment.begin()
    assert project.endpoint["EndpointStatus"] == "Creating"

    # WHEN it is tried again, THEN that try waits for it, and removes it
    with pytest.raises(AirflowException, match="is Failed: "):
        deployment.run()
    assert project.waits == ["resume"]
    assert configs(project) == set()

    # and the next deployment, which finds it being deleted or gone, makes it anew
    deployed = Deployment(project).run()
    assert serving(project) == deployed["config"]


def test_an_endpoint_that_somebody_elses_creation_left_failed_is_made_anew(project):
    hand_made = {"EndpointName": names.Stack(project.name).endpoint, "EndpointConfigName": f"{project.name}-by-hand"}
    package = project.package(project.model_archive("broken", BROKEN))
    project.sagemaker.create_model(
        ModelName=f"{project.name}-by-hand",
        ExecutionRoleArn=project.environment.endpoint_role_arn,
        PrimaryContainer={"ModelPackageName": package},
    )
    variant = {"VariantName": names.VARIANT, "ModelName": f"{project.name}-by-hand"}
    project.sagemaker.create_endpoint_config(
        EndpointConfigName=f"{project.name}-by-hand",
        ProductionVariants=[{**variant, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}],
    )
    project.sagemaker.create_endpoint(**hand_made)

    deployed = Deployment(project).run()
    assert serving(project) == deployed["config"]


def test_an_archive_that_was_changed_after_its_registration_is_not_deployed(project):
    # GIVEN a registered model whose archive somebody replaces
    deployment, other = Deployment(project), archive(name="another one")
    project.model_archive(deployment.name, other)

    # THEN it is refused in one sentence, and nothing is left
    with pytest.raises(AirflowFailException) as refused:
        deployment.run()
    said = str(refused.value)
    assert (
        f"was registered with the SHA-256 {deployment.digest}, and now has {hashlib.sha256(other).hexdigest()}" in said
    )
    assert deployment.model["package_arn"] in said
    assert "model_package_arn" in said
    assert configs(project) == set()
    assert project.sagemaker.list_endpoints(NameContains=f"{project.name}-")["Endpoints"] == []

    # nor one that is gone
    project.s3.delete_object(
        Bucket=project.environment.bucket, Key=f"{project.name}/jobs/{deployment.name}/output/model.tar.gz"
    )
    with pytest.raises(AirflowFailException, match="and now has nothing, since it is gone"):
        deployment.run()


def test_of_a_package_without_a_digest_it_is_said_that_it_could_not_be_checked(project, monkeypatch):
    arn = project.package(project.model_archive("by-hand"))
    operator, said = project.task(DeployEndpointOperator, model={"package_arn": arn, "specification": ""}), []
    monkeypatch.setattr(type(operator), "log", SimpleNamespace(info=print, warning=lambda *words: said.append(words)))
    with pytest.raises(TaskDeferred):
        operator.execute(project.context)
    sentence = (
        f"{arn} was registered without a SHA-256: its archive s3://{project.environment.bucket}/{project.name}/jobs/"
        "by-hand/output/model.tar.gz could not be checked"
    )
    assert sentence in [words[0] % words[1:] for words in said]
