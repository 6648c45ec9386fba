"""EC2: states, records, refusals, user data, what is left."""

from __future__ import annotations

import os
import signal
import threading
import time

import boto3
import psutil
import pytest

from tests.local_aws.ec2_hosts import PARAMETER, SPOT, Hosts, processes, refusal


@pytest.fixture(scope="module")
def hosts(local_aws):
    hosts = Hosts(local_aws)
    yield hosts
    hosts.terminate_all()


def test_two_instances_live_and_end(hosts):
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "run", "Value": "two"}]}]
    launched = hosts.ec2.run_instances(**hosts.request(MinCount=2, MaxCount=2, TagSpecifications=tags))
    ids = [each["InstanceId"] for each in launched["Instances"]]
    assert [each["State"]["Name"] for each in launched["Instances"]] == ["pending", "pending"]
    for each in ids:
        hosts.wait(each, "running")
    filters = [{"Name": "tag:run", "Values": ["two"]}, {"Name": "instance-state-name", "Values": ["running"]}]
    found = hosts.ec2.describe_instances(Filters=filters)["Reservations"]
    assert [each["InstanceId"] for each in found[0]["Instances"]] == ids
    addresses = {each["PrivateIpAddress"] for each in found[0]["Instances"]}
    assert addresses == {each["PublicIpAddress"] for each in found[0]["Instances"]}
    assert len(addresses) == 2
    assert all(address.startswith("127.") for address in addresses)

    ended = hosts.ec2.terminate_instances(InstanceIds=ids)["TerminatingInstances"]
    assert [each["PreviousState"]["Name"] for each in ended] == ["running", "running"]
    assert [each["CurrentState"]["Name"] for each in ended] == ["shutting-down", "shutting-down"]
    for each in ids:
        described = hosts.wait(each, "terminated")
        assert described["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
        assert described["StateTransitionReason"].startswith("User initiated (20")
        assert not (hosts.daemon.state / "instances" / "ec2" / each).exists()
        hosts.until(lambda each=each: not processes(each))
    assert hosts.ec2.describe_instances(Filters=filters)["Reservations"] == []
    again = hosts.ec2.terminate_instances(InstanceIds=ids[:1])["TerminatingInstances"][0]
    assert again["CurrentState"]["Name"] == again["PreviousState"]["Name"] == "terminated"


def test_nobody_sees_half_a_change_of_state(hosts):
    # GIVEN three who look all the time, while instances come and are taken away again: each keeps a record of its own,
    # since an answer may come to one before an earlier one comes to another
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "run", "Value": "watched"}]}]
    records: list[dict[str, list[tuple[str, str]]]] = [{} for _ in range(3)]
    over = threading.Event()

    def look(seen):
        while not over.is_set():
            found = hosts.ec2.describe_instances(Filters=[{"Name": "tag:run", "Values": ["watched"]}])["Reservations"]
            for each in (instance for reservation in found for instance in reservation["Instances"]):
                now = each["State"]["Name"], each.get("StateReason", {}).get("Code", "")
                states = seen.setdefault(each["InstanceId"], [])
                if now not in states[-1:]:
                    states.append(now)

    watchers = [threading.Thread(target=look, args=(seen,)) for seen in records]
    for each in watchers:
        each.start()
    try:
        ids = [hosts.run(TagSpecifications=tags, InstanceMarketOptions=SPOT) for _ in range(4)]
        for each in ids:
            hosts.wait(each, "running")
            hosts.interrupt(each)
        for each in ids:
            hosts.wait(each, "terminated")
    finally:
        over.set()
        for each in watchers:
            each.join()

    # THEN no instance runs before it is pending, and one that ends has its reason from the first
    taken = "Server.SpotInstanceTermination"
    life = [("pending", ""), ("running", ""), ("shutting-down", taken), ("terminated", taken)]
    for seen in records:
        assert set(seen) == set(ids)
        for states in seen.values():
            assert states == [each for each in life if each in states]


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ({"InstanceType": "g99.xlarge"}, "InvalidParameterValue", "Invalid value 'g99.xlarge' for InstanceType."),
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound", "ami-0123456789abcdef0"),
        ({"ImageId": "ubuntu"}, "InvalidAMIID.Malformed", "ubuntu"),
        ({"ImageId": "resolve:ssm:/no/such"}, "ParameterNotFound", "/no/such"),
        ({"SecurityGroupIds": ["sg-0123456789abcdef0"]}, "InvalidGroup.NotFound", "sg-0123456789abcdef0"),
        ({"SubnetId": "subnet-0123456789abcdef0"}, "InvalidSubnetID.NotFound", "subnet-0123456789abcdef0"),
        ({"KeyName": "nobody"}, "InvalidKeyPair.NotFound", "nobody"),
        ({"IamInstanceProfile": {"Name": "nobody"}}, "InvalidParameterValue", "Invalid IAM Instance Profile name"),
        ({"MinCount": 2}, "InvalidParameterValue", "minCount"),
        ({"UserData": "#" * 16_385}, "InvalidParameterValue", "16384"),
        ({"DryRun": True}, "DryRunOperation", "would have succeeded"),
        ({"LaunchTemplate": {"LaunchTemplateName": "x"}}, "UnsupportedOperation", "launch template"),
        (
            {"InstanceMarketOptions": SPOT | {"SpotOptions": {"SpotInstanceType": "persistent"}}},
            "UnsupportedOperation",
            "persistent",
        ),
    ],
)
def test_what_aws_refuses_is_refused(hosts, options, code, says):
    found, message = refusal(hosts.ec2.run_instances, **hosts.request(**options))
    assert (found, says in message) == (code, True), message


def test_what_does_not_exist_is_refused_by_name(hosts):
    unknown = "i-0123456789abcdef0"
    for call, params in (
        (hosts.ec2.terminate_instances, {"InstanceIds": [unknown]}),
        (hosts.ec2.get_console_output, {"InstanceId": unknown}),
        (hosts.ec2.describe_instances, {"InstanceIds": [unknown]}),
    ):
        code, message = refusal(call, **params)
        assert (code, unknown in message) == ("InvalidInstanceID.NotFound", True), message
    code, _ = refusal(hosts.ec2.describe_spot_instance_requests, SpotInstanceRequestIds=["sir-00000000"])
    assert code == "InvalidSpotInstanceRequestID.NotFound"


def test_deep_learning_images_are_public_parameters(hosts):
    ssm = hosts.daemon.client("ssm")
    tree = "/aws/service/deeplearning/ami/x86_64"
    names = [PARAMETER, f"{tree}/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"]
    ssm.put_parameter(Name="/tests/own", Value="kept by moto", Type="String", Overwrite=True)
    answer = ssm.get_parameters(Names=[*names, "/tests/own", f"{tree}/windows/latest/ami-id", "/tests/none"])
    values = {each["Name"]: each["Value"] for each in answer["Parameters"]}
    assert values["/tests/own"] == "kept by moto"
    assert set(answer["InvalidParameters"]) == {f"{tree}/windows/latest/ami-id", "/tests/none"}
    images = hosts.ec2.describe_images(ImageIds=[values[name] for name in names])["Images"]
    assert sorted(each["Name"].rsplit(" ", 1)[0] for each in images) == [
        "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 22.04)",
        "Deep Learning OSS Nvidia Driver AMI GPU PyTorch 2.7 (Ubuntu 22.04)",
    ]
    assert refusal(ssm.get_parameter, Name=f"{tree}/windows/latest/ami-id")[0] == "ParameterNotFound"
    assert ssm.get_parameter(Name="/tests/own")["Parameter"]["Value"] == "kept by moto"


def test_a_client_token_makes_one_launch_of_two_calls(hosts):
    request = hosts.request(ClientToken="tests-token", ImageId=f"resolve:ssm:{PARAMETER}")
    first, second = (hosts.ec2.run_instances(**request) for _ in range(2))
    hosts.launched.append(first["Instances"][0]["InstanceId"])
    assert second["Instances"][0]["InstanceId"] == first["Instances"][0]["InstanceId"]
    assert second["Instances"][0]["ImageId"] == hosts.image
    code, _ = refusal(hosts.ec2.run_instances, **request | {"InstanceType": "g5.2xlarge"})
    assert code == "IdempotentParameterMismatch"


def test_user_data_runs_once_and_may_shut_the_instance_down(hosts):
    script = (
        "#!/bin/bash\necho user data as $USER in $HOME\nsetsid nohup sleep 86399 &>/dev/null &\nsudo shutdown -h now\n"
    )
    instance = hosts.run(UserData=script)
    described = hosts.wait(instance, "terminated")
    assert described["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    assert hosts.console(instance).count("user data as root in") == 1
    assert not processes("sleep 86399")


def test_an_instance_that_shuts_down_is_stopped_by_default(hosts):
    instance = hosts.run(UserData="#!/bin/sh\npoweroff\n", InstanceInitiatedShutdownBehavior="stop")
    described = hosts.wait(instance, "stopped")
    assert described["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    hosts.until(lambda: not processes(instance))
    hosts.ec2.terminate_instances(InstanceIds=[instance])
    hosts.wait(instance, "terminated", 1)


def test_user_data_that_fails_is_seen_on_the_console(hosts):
    failing = hosts.run(UserData="#!/bin/sh\nexit 3\n")
    no_script = hosts.run(UserData="#cloud-config\npackages: [jq]\n")
    hosts.until(lambda: "Failed to run module scripts_user" in hosts.console(failing))
    hosts.until(lambda: "executes scripts only" in hosts.console(no_script))
    hosts.until(lambda: "Cloud-init finished" in hosts.console(failing))


def test_a_host_that_breaks_is_not_running_for_ever(hosts):
    instance = hosts.run_reachable()
    # Its supervisor, who goes on, has not gone to its home.
    (host,) = [each for each in processes(instance) if each.cwd().endswith("/home")]
    # It was forked from one that had imported what it imports.
    assert "forkserver.py" in " ".join(host.cmdline())
    host.kill()
    assert hosts.wait(instance, "terminated")["StateReason"]["Code"] == "Server.InternalError"


def test_nothing_outlives_a_killed_daemon(new_local_aws):
    daemon = new_local_aws()
    hosts = Hosts(daemon)
    instance = hosts.run(UserData="#!/bin/sh\nsetsid nohup sleep 86398 >/dev/null 2>&1 &\n")
    hosts.until(lambda: processes("sleep 86398"))
    # Its supervisor, too, is no child of the daemon: both were forked elsewhere.
    supervised = processes(instance)
    os.kill(daemon.pid, signal.SIGKILL)
    gone, alive = psutil.wait_procs(supervised, timeout=30)
    assert len(gone) >= 2
    assert not alive
    deadline = time.monotonic() + 30
    while processes("sleep 86398") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not processes("sleep 86398")


def test_what_is_no_id_is_told_from_what_is_not_there(hosts):
    code, message = refusal(hosts.ec2.describe_instances, InstanceIds=["i-nothing"])
    assert (code, message) == ("InvalidInstanceID.Malformed", 'Invalid id: "i-nothing"')
    assert refusal(hosts.ec2.terminate_instances, InstanceIds=["abc"])[0] == "InvalidInstanceID.Malformed"
    unknown = "i-0123456789abcdef0"
    assert refusal(hosts.ec2.describe_instances, InstanceIds=[unknown])[0] == "InvalidInstanceID.NotFound"


def test_a_volume_without_a_size_is_as_large_as_the_image(hosts):
    mapping = [{"DeviceName": "/dev/sdb", "Ebs": {"VolumeType": "gp3", "DeleteOnTermination": True}}]
    (made,) = hosts.ec2.run_instances(**hosts.request(BlockDeviceMappings=mapping))["Instances"]
    hosts.launched.append(made["InstanceId"])
    (image,) = hosts.ec2.describe_images(ImageIds=[hosts.image])["Images"]
    attached = [{"Name": "attachment.instance-id", "Values": [made["InstanceId"]]}]
    sizes = {each["Size"] for each in hosts.ec2.describe_volumes(Filters=attached)["Volumes"]}
    assert image["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] in sizes


def test_another_region_has_none_of_these_instances(local_aws, hosts):
    elsewhere = boto3.client(
        "ec2", endpoint_url=local_aws.url, region_name="eu-west-1", aws_access_key_id="AKIATESTTESTTESTTEST",
        aws_secret_access_key="test",
    )  # fmt: skip
    assert elsewhere.describe_instances()["Reservations"] == []
    code, message = refusal(elsewhere.run_instances, MinCount=1, MaxCount=1, ImageId=hosts.image)
    assert (code, "they live in us-east-1 alone" in message) == ("UnsupportedOperation", True)
