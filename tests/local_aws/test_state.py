"""The local AWS remembers: what was there before a stop, or before a SIGKILL, is there again."""

from __future__ import annotations

import datetime as dt
import json
import signal

import pytest

from tests.local_aws.daemon import wait_for
from tests.local_aws.ec2_hosts import refusal
from tests.local_aws.remembering import BUCKET, FUNCTION, RESTARTED, SOON, fill, state_of, wait_until_saved
from tests.local_aws.serving import Serving
from tests.local_aws.training_scripts import Jobs


@pytest.fixture(scope="module", params=[signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def world(request, tmp_path_factory, start_daemon):
    """A world that went through a restart.

    The one that is stopped is of processes that are started anew, in which nothing is imported but what they need.
    """
    anew = request.param == signal.SIGTERM
    folder = tmp_path_factory.mktemp("state")
    daemon = start_daemon(folder / "first", state=folder / "state", options=SOON, anew=anew)
    try:
        world = fill(daemon)
        if request.param == signal.SIGKILL:
            wait_until_saved(daemon)
    finally:
        daemon.stop(request.param)
    # What jobs and hosts have on their disks goes with them, unless nobody is left to delete it.
    assert (folder / "state" / "instances").exists() is (request.param == signal.SIGKILL)
    world.restarted_at = dt.datetime.now(dt.UTC)
    # Another port, and another folder above the same state: neither is anything that a state may depend on.
    (folder / "state").rename(folder / "moved")
    world.daemon = start_daemon(folder / "second", state=folder / "moved", options=SOON, anew=anew)
    yield world
    world.daemon.stop()


def test_what_was_described_is_described_the_same(world):
    now = world.described()
    for name, before in world.before.items():
        assert now[name] == before, name


def test_the_endpoint_serves_with_as_many_instances(world):
    serving = Serving(world.daemon, BUCKET, world.role)
    described = serving.wait(world.endpoint, "Creating", "SystemUpdating")
    assert described["EndpointStatus"] == "InService", described
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    assert serving.call(world.endpoint, {"a": 1})["echo"] == {"a": 1}
    config = serving.config(serving.model())
    serving.sagemaker.update_endpoint(EndpointName=world.endpoint, EndpointConfigName=config)
    assert serving.wait(world.endpoint)["EndpointConfigName"] == config


def test_the_function_answers_from_provisioned_environments(world):
    functions = world.client("lambda")

    def provisioned():
        return functions.get_provisioned_concurrency_config(FunctionName=FUNCTION, Qualifier="live")

    wait_for(lambda: provisioned()["Status"] == "READY", 120)
    assert provisioned()["AvailableProvisionedConcurrentExecutions"] == 2
    answer = functions.invoke(FunctionName=FUNCTION, Qualifier="live", Payload=b"{}")
    assert json.load(answer["Payload"]) == {"version": "1", "kind": "provisioned-concurrency"}
    latest = functions.invoke(FunctionName=FUNCTION, Payload=b"{}")
    assert json.load(latest["Payload"])["version"] == "$LATEST"


def test_jobs_in_flight_have_failed_as_of_the_save(world):
    described = world.training_job(world.running)
    assert (described["TrainingJobStatus"], described["FailureReason"]) == ("Failed", RESTARTED)
    assert described["SecondaryStatus"] == "Failed"
    assert described["TrainingEndTime"] <= world.restarted_at
    ran = (described["TrainingEndTime"] - described["TrainingStartTime"]).total_seconds()
    assert ran <= described["BillableTimeInSeconds"] <= ran + 1
    last = described["SecondaryStatusTransitions"][-1]
    assert (last["Status"], last["EndTime"]) == ("Failed", described["TrainingEndTime"])
    listed = world.client("sagemaker").list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"]
    assert listed == []


def test_a_tuning_job_in_flight_has_failed_with_its_trial(world):
    described = world.tuning_job(world.tuning)
    assert (described["HyperParameterTuningJobStatus"], described["FailureReason"]) == ("Failed", RESTARTED)
    (trial,) = world.trials(world.tuning)
    assert (trial["TrainingJobStatus"], trial["FailureReason"]) == ("Failed", RESTARTED)
    assert described["TrainingJobStatusCounters"]["InProgress"] == 0


def test_a_host_has_ended_and_its_spot_request_is_closed(world):
    ec2 = world.client("ec2")
    (host,) = ec2.describe_instances(InstanceIds=[world.host])["Reservations"][0]["Instances"]
    assert host["State"]["Name"] == "terminated"
    assert host["StateReason"] == {"Code": "Server.InternalError", "Message": f"Server.InternalError: {RESTARTED}"}
    (request,) = ec2.describe_spot_instance_requests(SpotInstanceRequestIds=[world.spot_request])[
        "SpotInstanceRequests"
    ]
    assert request["State"] == "closed"
    again = ec2.terminate_instances(InstanceIds=[world.host])["TerminatingInstances"][0]
    assert again["CurrentState"]["Name"] == "terminated"


def test_a_stopped_host_has_its_disk(world):
    ec2 = world.client("ec2")
    (change,) = ec2.start_instances(InstanceIds=[world.stopped_host])["StartingInstances"]
    assert change["PreviousState"]["Name"] == "stopped"
    wait_for(lambda: "Cloud-init finished" in ec2.get_console_output(InstanceId=world.stopped_host)["Output"])
    disk = world.daemon.state / "instances" / "ec2" / world.stopped_host
    assert (disk / "home" / "notes").read_text() == "kept\n"
    ec2.terminate_instances(InstanceIds=[world.stopped_host])


def test_names_that_were_taken_are_taken(world):
    sagemaker = world.client("sagemaker")
    request = Jobs(world.daemon, BUCKET, world.role, wait_for).request()
    for name in (world.finished, world.running):
        assert refusal(sagemaker.create_training_job, **request | {"TrainingJobName": name})[0] == "ResourceInUse"
    assert [each["EndpointName"] for each in sagemaker.list_endpoints()["Endpoints"]] == [world.endpoint]


def test_the_state_goes_on_being_saved(world):
    saves = state_of(world.daemon)["saves"]
    world.client("ssm").put_parameter(Name="/tests/after", Value="the restart", Type="String")
    wait_for(lambda: state_of(world.daemon)["saves"] > saves)
    wait_until_saved(world.daemon)
    assert state_of(world.daemon)["problem"] is None
