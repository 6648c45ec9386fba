"""Spot instances: requests, capacity, interruptions."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local_aws.control import Refused, tell
from tests.local_aws.ec2_hosts import SPOT, Hosts, refusal
from tests.local_aws.instance_metadata import Metadata

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def hosts(local_aws):
    hosts = Hosts(local_aws)
    yield hosts
    hosts.terminate_all()


def request_of(hosts, instance):
    filters = [{"Name": "instance-id", "Values": [instance]}]
    requests = hosts.ec2.describe_spot_instance_requests(Filters=filters)["SpotInstanceRequests"]
    assert len(requests) == 1
    return requests[0]


def status_of(hosts, instance):
    request = request_of(hosts, instance)
    return request["State"], request["Status"]["Code"]


def run_command(*arguments):
    command = [sys.executable, "-m", "local_aws", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_an_interruption_is_announced_and_then_happens(hosts):
    tags = [{"ResourceType": "spot-instances-request", "Tags": [{"Key": "run", "Value": "spot"}]}]
    instance = hosts.run_reachable(InstanceMarketOptions=SPOT, TagSpecifications=tags)
    described = hosts.describe(instance)
    request = request_of(hosts, instance)
    assert described["InstanceLifecycle"] == "spot"
    assert described["SpotInstanceRequestId"] == request["SpotInstanceRequestId"]
    assert request["Tags"] == tags[0]["Tags"]
    assert status_of(hosts, instance) == ("active", "fulfilled")
    metadata = Metadata(hosts, instance)
    assert metadata.status("meta-data/spot/instance-action") == 404
    assert metadata.status("meta-data/spot/termination-time") == 404
    assert metadata.get("meta-data/instance-life-cycle") == "spot"

    began = time.monotonic()
    done = run_command("interrupt", instance, "--port", str(hosts.daemon.port))
    assert (done.returncode, "2 s" in done.stdout) == (0, True), done.stderr
    notice = json.loads(metadata.get("meta-data/spot/instance-action"))
    assert notice["action"] == "terminate"
    assert metadata.get("meta-data/spot/termination-time") == notice["time"]
    assert hosts.state(instance) == "running"
    assert status_of(hosts, instance) == ("active", "marked-for-termination")
    described = hosts.wait(instance, "terminated")
    # Two AWS minutes, of a second each here, from the notice on.
    assert time.monotonic() - began > 1.9
    assert described["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    assert status_of(hosts, instance) == ("closed", "instance-terminated-no-capacity")


def test_what_cannot_be_interrupted_is_refused_in_a_sentence(hosts):
    on_demand = hosts.run()
    hosts.wait(on_demand, "running")
    done = run_command("interrupt", on_demand, "--port", str(hosts.daemon.port))
    assert (done.returncode, "on demand" in done.stderr) == (1, True)
    with pytest.raises(Refused, match="nothing-here"):
        hosts.interrupt("nothing-here")
    ended = hosts.run(InstanceMarketOptions=SPOT)
    hosts.ec2.terminate_instances(InstanceIds=[ended])
    hosts.wait(ended, "terminated")
    with pytest.raises(Refused, match="terminated"):
        hosts.interrupt(ended)


def test_a_terminated_spot_instance_closes_its_request(hosts):
    instance = hosts.run(InstanceMarketOptions=SPOT)
    request = request_of(hosts, instance)["SpotInstanceRequestId"]
    cancelled = hosts.ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[request])
    assert cancelled["CancelledSpotInstanceRequests"][0]["State"] == "cancelled"
    assert status_of(hosts, instance) == ("cancelled", "request-canceled-and-instance-running")
    hosts.ec2.terminate_instances(InstanceIds=[instance])
    hosts.wait(instance, "terminated")
    assert status_of(hosts, instance) == ("cancelled", "instance-terminated-by-user")


def test_a_spot_instance_that_shuts_down_ends(hosts):
    script = "#!/bin/sh\nshutdown -h now\n"
    instance = hosts.run(InstanceMarketOptions=SPOT, UserData=script, InstanceInitiatedShutdownBehavior="stop")
    hosts.wait(instance, "terminated")


def test_capacity_runs_out_and_comes_back(hosts):
    port = str(hosts.daemon.port)
    spot = {"InstanceType": "p3.2xlarge", "InstanceMarketOptions": SPOT}
    done = run_command("capacity", "p3.2xlarge", "--spot", "1", "--port", port)
    assert (done.returncode, "1 more Spot" in done.stdout) == (0, True), done.stderr
    code, message = refusal(hosts.ec2.run_instances, **hosts.request(**spot, MinCount=2, MaxCount=2))
    assert (code, "no Spot capacity" in message) == ("InsufficientInstanceCapacity", True)
    # As many as there are, from MinCount on.
    launched = hosts.ec2.run_instances(**hosts.request(**spot, MaxCount=3))["Instances"]
    assert len(launched) == 1
    assert refusal(hosts.ec2.run_instances, **hosts.request(**spot))[0] == "InsufficientInstanceCapacity"
    on_demand = hosts.run(InstanceType="p3.2xlarge")
    assert hosts.state(on_demand) in {"pending", "running"}
    hosts.ec2.terminate_instances(InstanceIds=[launched[0]["InstanceId"]])
    hosts.wait(launched[0]["InstanceId"], "terminated")
    again = hosts.run(**spot)
    hosts.wait(again, "running")
    tell(hosts.daemon.port, "capacity", {"instance_type": "p3.2xlarge", "spot": None})
    hosts.run(**spot)
    with pytest.raises(Refused, match="p99"):
        tell(hosts.daemon.port, "capacity", {"instance_type": "p99.large", "spot": 1})
    assert run_command("capacity", "p3.2xlarge", "--spot", "many", "--port", port).returncode == 2
