"""What the tests of EC2 do over and over: launch, wait, log in, look at what is left."""

from __future__ import annotations

import io
import json
import socket
import time
import urllib.request
from contextlib import contextmanager, suppress

import paramiko
import psutil
import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from local_aws.control import tell

PARAMETER = "/aws/service/deeplearning/ami/x86_64/oss-nvidia-driver-gpu-pytorch-2.7-ubuntu-22.04/latest/ami-id"
FROM_HERE = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "127.0.0.1/32"}]}
SPOT = {"MarketType": "spot"}


def new_key() -> tuple[paramiko.Ed25519Key, str]:
    """A key pair: the private half, and the public half in OpenSSH's form."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return paramiko.Ed25519Key.from_private_key(io.StringIO(private)), public


def refusal(call, **params) -> tuple[str, str]:
    """The code and the message with which a call is refused."""
    with pytest.raises(ClientError) as caught:
        call(**params)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


class Hosts:
    """EC2 of one local AWS."""

    def __init__(self, daemon) -> None:
        self.daemon = daemon
        self.ec2 = daemon.client("ec2")
        self.image = daemon.client("ssm").get_parameter(Name=PARAMETER)["Parameter"]["Value"]
        self.group = self.new_group(FROM_HERE)
        with urllib.request.urlopen(f"{daemon.url}/_local_aws/health", timeout=5) as answer:
            self.ssh_port = json.load(answer)["ssh_port"]
        self.launched: list[str] = []

    def new_group(self, *rules) -> str:
        group = self.ec2.create_security_group(GroupName=f"tests-{time.time_ns()}", Description="tests")["GroupId"]
        if rules:
            self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=list(rules))
        return group

    def request(self, **options) -> dict:
        return {
            "ImageId": self.image, "InstanceType": "g5.xlarge", "MinCount": 1, "MaxCount": 1,
            "SecurityGroupIds": [self.group], "InstanceInitiatedShutdownBehavior": "terminate", **options,
        }  # fmt: skip

    def run(self, **options) -> str:
        """Launch an instance; its id."""
        instance = self.ec2.run_instances(**self.request(**options))["Instances"][0]
        self.launched.append(instance["InstanceId"])
        return instance["InstanceId"]

    def describe(self, instance: str) -> dict:
        return self.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]

    def state(self, instance: str) -> str:
        return self.describe(instance)["State"]["Name"]

    def wait(self, instance: str, state: str, seconds: float = 90) -> dict:
        return self.until(lambda: self.state(instance) == state, seconds) and self.describe(instance)

    def until(self, condition, seconds: float = 90):
        deadline = time.monotonic() + seconds
        while not (answer := condition()):
            assert time.monotonic() < deadline, "\n".join(self.console(each) for each in self.launched)
            time.sleep(0.05)
        return answer

    def run_reachable(self, **options) -> str:
        """Launch an instance and wait until it answers SSH."""
        instance = self.run(**options)
        self.until(lambda: self.status(instance) == "ok")
        return instance

    def status(self, instance: str) -> str:
        found = self.ec2.describe_instance_status(InstanceIds=[instance], IncludeAllInstances=True)
        return found["InstanceStatuses"][0]["InstanceStatus"]["Status"]

    def console(self, instance: str) -> str:
        answer = self.ec2.get_console_output(InstanceId=instance)
        return answer["Output"]

    def address(self, instance: str) -> tuple[str, int]:
        return self.describe(instance)["PublicIpAddress"], self.ssh_port

    def send_key(self, instance: str, user: str = "ubuntu") -> paramiko.Ed25519Key:
        private, public = new_key()
        connect = self.daemon.client("ec2-instance-connect")
        assert connect.send_ssh_public_key(InstanceId=instance, InstanceOSUser=user, SSHPublicKey=public)["Success"]
        return private

    @contextmanager
    def logged_in(self, instance: str, key: paramiko.PKey | None = None, user: str = "ubuntu"):
        """A connection to an instance, with a key that EC2 Instance Connect was sent unless one is given."""
        address, port = self.address(instance)
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        try:
            client.connect(
                address, port, user, pkey=key or self.send_key(instance, user), timeout=30,
                allow_agent=False, look_for_keys=False,
            )  # fmt: skip
            yield client
        finally:
            client.close()

    def execute(self, instance: str, command: str, **options) -> tuple[int, str, str]:
        """Log in and run a command: its exit status, its output and its errors."""
        with self.logged_in(instance, **options) as client:
            return execute(client, command)

    def interrupt(self, name: str) -> str:
        return tell(self.daemon.port, "interrupt", {"name": name})

    def terminate_all(self) -> None:
        if self.launched:
            self.ec2.terminate_instances(InstanceIds=self.launched)
            for each in self.launched:
                self.wait(each, "terminated")
        self.launched.clear()


def execute(client: paramiko.SSHClient, command: str, data: bytes = b"") -> tuple[int, str, str]:
    stdin, stdout, stderr = client.exec_command(command, timeout=60)
    # A command may end before it has read everything.
    with suppress(OSError):
        stdin.write(data)
        stdin.channel.shutdown_write()
    output, errors = stdout.read().decode(), stderr.read().decode()
    return stdout.channel.recv_exit_status(), output, errors


def processes(marker: str) -> list[psutil.Process]:
    """The live processes whose command line or working folder holds a marker."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status"]):
        words = " ".join([*(process.info["cmdline"] or ()), process.info["cwd"] or ""])
        if marker in words and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def greeting(address: tuple[str, int]) -> bytes:
    """What a server says first; nothing when it refuses."""
    with socket.create_connection(address, timeout=30) as connection:
        try:
            return connection.recv(100)
        except ConnectionError:
            return b""
