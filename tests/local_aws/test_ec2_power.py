"""EC2: instances that are stopped, started and rebooted, and what Spot capacity costs."""

from __future__ import annotations

import datetime as dt

import pytest

from tests.local_aws.ec2_hosts import SPOT, Hosts, processes, refusal


@pytest.fixture(scope="module")
def hosts(local_aws):
    hosts = Hosts(local_aws)
    yield hosts
    hosts.terminate_all()


def host_key(hosts, instance):
    with hosts.logged_in(instance) as client:
        return client.get_transport().get_remote_server_key().asbytes()


def test_a_stopped_instance_keeps_its_disk_and_its_private_address(hosts):
    # GIVEN an instance with a file, a key of its own and user data that counts its boots
    script = "#!/bin/sh\necho boot >> $HOME/boots\n"
    instance = hosts.run_reachable(UserData=script)
    before, key = hosts.describe(instance), host_key(hosts, instance)
    hosts.until(lambda: "Cloud-init finished" in hosts.console(instance))
    hosts.execute(instance, "echo kept > notes")

    # WHEN it is rebooted
    hosts.ec2.reboot_instances(InstanceIds=[instance])
    hosts.until(lambda: hosts.console(instance).count("Cloud-init finished") == 2)
    # THEN it is running as before, and has executed no user data again
    hosts.until(lambda: hosts.status(instance) == "ok")
    rebooted = hosts.describe(instance)
    assert rebooted["PublicIpAddress"] == before["PublicIpAddress"]
    assert rebooted["LaunchTime"] == before["LaunchTime"]
    assert hosts.execute(instance, "cat notes boots")[1].split() == ["kept", "boot"]

    # WHEN it is stopped
    (change,) = hosts.ec2.stop_instances(InstanceIds=[instance])["StoppingInstances"]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("running", "stopping")
    stopped = hosts.wait(instance, "stopped")
    # THEN nothing of it runs, its public address is gone, and it can be stopped again
    hosts.until(lambda: not processes(instance))
    assert "PublicIpAddress" not in stopped
    assert stopped["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    (change,) = hosts.ec2.stop_instances(InstanceIds=[instance])["StoppingInstances"]
    assert change["CurrentState"] == change["PreviousState"] == {"Name": "stopped", "Code": 80}
    assert refusal(hosts.ec2.reboot_instances, InstanceIds=[instance])[0] == "IncorrectInstanceState"
    assert refusal(hosts.ec2.start_instances, InstanceIds=[instance], DryRun=True)[0] == "DryRunOperation"

    # WHEN it is started
    (change,) = hosts.ec2.start_instances(InstanceIds=[instance])["StartingInstances"]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("stopped", "pending")
    hosts.until(lambda: hosts.status(instance) == "ok")
    # THEN its disk, its key and its private address are as before, and its public address is another
    again = hosts.describe(instance)
    assert again["PrivateIpAddress"] == before["PrivateIpAddress"]
    assert again["PublicIpAddress"] not in {before["PublicIpAddress"], before["PrivateIpAddress"]}
    assert again["LaunchTime"] > before["LaunchTime"]
    assert hosts.execute(instance, "cat notes boots")[1].split() == ["kept", "boot"]
    assert host_key(hosts, instance) == key

    # WHEN it is stopped at once and then terminated THEN its disk is gone
    hosts.ec2.stop_instances(InstanceIds=[instance], Force=True)
    hosts.wait(instance, "stopped")
    assert (hosts.daemon.state / "volumes" / instance).exists()
    hosts.ec2.terminate_instances(InstanceIds=[instance])
    assert hosts.state(instance) == "terminated"
    assert not (hosts.daemon.state / "volumes" / instance).exists()
    code, message = refusal(hosts.ec2.start_instances, InstanceIds=[instance])
    assert (code, message) == (
        "IncorrectInstanceState", f"The instance '{instance}' is not in a state from which it can be started.",
    )  # fmt: skip
    assert refusal(hosts.ec2.stop_instances, InstanceIds=[instance])[0] == "IncorrectInstanceState"
    hosts.ec2.reboot_instances(InstanceIds=[instance])  # AWS ignores it


def test_what_cannot_be_stopped(hosts):
    spot = hosts.run(InstanceMarketOptions=SPOT)
    hosts.wait(spot, "running")
    code, message = refusal(hosts.ec2.stop_instances, InstanceIds=[spot])
    assert code == "UnsupportedOperation"
    assert f"You can't stop the Spot Instance '{spot}'" in message
    assert hosts.state(spot) == "running"
    assert refusal(hosts.ec2.stop_instances, InstanceIds=[spot], Hibernate=True)[0] == "UnsupportedOperation"
    for call in (hosts.ec2.stop_instances, hosts.ec2.start_instances, hosts.ec2.reboot_instances):
        assert refusal(call, InstanceIds=["i-0123456789abcdef0"])[0] == "InvalidInstanceID.NotFound"
        assert refusal(call, InstanceIds=["nothing"])[0] == "InvalidInstanceID.Malformed"


def test_a_spot_price_is_a_share_of_the_price_on_demand(hosts):
    now = dt.datetime.now(dt.UTC)
    request = {"InstanceTypes": ["m5.xlarge"], "ProductDescriptions": ["Linux/UNIX"], "StartTime": now, "EndTime": now}
    found = hosts.ec2.describe_spot_price_history(**request)["SpotPriceHistory"]
    assert {each["SpotPrice"] for each in found} == {"0.057600"}
    zones = [each["AvailabilityZone"] for each in found]
    assert len(set(zones)) == len(zones) > 1
    one = hosts.ec2.describe_spot_price_history(**request, AvailabilityZone=zones[0])["SpotPriceHistory"]
    assert [each["AvailabilityZone"] for each in one] == zones[:1]
    families = [{"Name": "instance-type", "Values": ["g*.xlarge"]}, {"Name": "availability-zone", "Values": zones[:1]}]
    found = hosts.ec2.describe_spot_price_history(Filters=families)["SpotPriceHistory"]
    assert [each["InstanceType"] for each in found] == ["g4dn.xlarge", "g5.xlarge"]
    assert hosts.ec2.describe_spot_price_history(ProductDescriptions=["Windows"])["SpotPriceHistory"] == []
    code, message = refusal(hosts.ec2.describe_spot_price_history, InstanceTypes=["p5.48xlarge"])
    assert (code, "no price of p5.48xlarge" in message) == ("UnsupportedOperation", True)
    assert refusal(hosts.ec2.describe_spot_price_history, InstanceTypes=["m5.dog"])[0] == "InvalidParameterValue"
    unknown = [{"Name": "colour", "Values": ["red"]}]
    assert refusal(hosts.ec2.describe_spot_price_history, Filters=unknown)[0] == "InvalidParameterValue"
