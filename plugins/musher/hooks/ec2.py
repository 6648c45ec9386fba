"""EC2 instances of a run: found by their tags, launched once, reached with a key that nobody keeps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from musher.costs import prices
from musher.errors import UserError
from musher.hooks.aws import AwsHook

ALIVE = ("pending", "running")
INTERRUPTED = "Server.SpotInstanceTermination"

# Source: EC2 API reference, "Error codes": what AWS answers when it has no such instance to give right now.
_NO_CAPACITY = {
    "InsufficientInstanceCapacity",
    "SpotMaxPriceTooLow",
    "InsufficientHostCapacity",
    "InsufficientCapacity",
}
_OURS = {
    "Unsupported", "InvalidInstanceType", "InvalidParameterValue", "InvalidParameterCombination",
    "InvalidAMIID.NotFound", "InvalidAMIID.Malformed", "InvalidGroup.NotFound", "InvalidSubnetID.NotFound",
    "InvalidSubnetId.NotFound", "VcpuLimitExceeded", "MaxSpotInstanceCountExceeded", "UnauthorizedOperation",
}  # fmt: skip

# cloud-init writes the host keys' fingerprints between these lines of the console.
_FINGERPRINTS = re.compile(
    r"-----BEGIN SSH HOST KEY FINGERPRINTS-----(.*?)-----END SSH HOST KEY FINGERPRINTS-----", re.DOTALL
)
_FINGERPRINT = re.compile(r"\bSHA256:([A-Za-z0-9+/]{43})")


class NoCapacity(Exception):
    """AWS has no instance of this type to give at the moment."""


class Ec2Hook(AwsHook):
    """Launches, finds, reaches and terminates the instances of one run."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["client_type"] = "ec2"
        super().__init__(*args, **kwargs)

    def image(self, parameter: str) -> tuple[str, str]:
        """The AMI that a public SSM parameter names, and its root device. Raises UserError when there is none."""
        ssm = self.get_session(region_name=self.region_name).client("ssm", config=self.config)
        try:
            ami = ssm.get_parameter(Name=parameter)["Parameter"]["Value"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ParameterNotFound":
                raise
            raise UserError(
                f"ami_parameter is {parameter!r}, which does not exist in {self.region_name}; "
                "`aws ssm get-parameters-by-path --path /aws/service/deeplearning/ami --recursive` lists those that do."
            ) from None
        images = self.conn.describe_images(ImageIds=[ami])["Images"]
        if not images:
            raise UserError(f"ami_parameter {parameter} names {ami}, which does not exist in {self.region_name}.")
        return ami, images[0].get("RootDeviceName") or "/dev/sda1"

    def launch(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Launch one instance; its description. The same ClientToken gives the same instance.

        Raises NoCapacity, and UserError for what AWS will never launch as it was asked for.
        """
        try:
            return self.conn.run_instances(**request)["Instances"][0]
        except ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
            if code in _NO_CAPACITY:
                raise NoCapacity(message) from None
            if code in _OURS:
                raise UserError(
                    f"EC2 does not launch instance_type {request['InstanceType']} as asked for ({code}): {message}"
                ) from None
            raise

    def of_run(self, tags: Mapping[str, str], states: tuple[str, ...] = ALIVE) -> list[dict[str, Any]]:
        """The instances that carry a run's tags and are in one of the states, oldest first."""
        filters = [{"Name": f"tag:{name}", "Values": [value]} for name, value in tags.items()]
        filters.append({"Name": "instance-state-name", "Values": list(states)})
        pages = self.conn.get_paginator("describe_instances").paginate(Filters=filters)
        found = [each for page in pages for reservation in page["Reservations"] for each in reservation["Instances"]]
        return sorted(found, key=lambda each: each["LaunchTime"])

    def describe(self, instance: str) -> dict[str, Any] | None:
        """One instance's description; None when AWS does not know it (any more)."""
        try:
            reservations = self.conn.describe_instances(InstanceIds=[instance])["Reservations"]
        except ClientError as error:
            if error.response["Error"]["Code"].startswith("InvalidInstanceID"):
                return None
            raise
        return next((each for reservation in reservations for each in reservation["Instances"]), None)

    def host_key_fingerprints(self, instance: str) -> list[str]:
        """SHA-256 fingerprints of the instance's host keys, as its console shows them; none before it has booted."""
        try:
            answer = self.conn.get_console_output(InstanceId=instance, Latest=True)
        except ClientError as error:
            if error.response["Error"]["Code"] != "UnsupportedOperation":
                raise
            answer = self.conn.get_console_output(InstanceId=instance)  # types without Nitro have no latest output
        blocks = _FINGERPRINTS.findall(answer.get("Output") or "")
        return [found for block in blocks for found in _FINGERPRINT.findall(block)]

    def admit(self, instance: str, zone: str, user: str, public_key: str) -> None:
        """Let a public key in to an instance for 60 seconds.

        Source: EC2 Instance Connect API reference, SendSSHPublicKey.
        """
        client = self.get_session(region_name=self.region_name).client("ec2-instance-connect", config=self.config)
        client.send_ssh_public_key(
            InstanceId=instance, InstanceOSUser=user, SSHPublicKey=public_key, AvailabilityZone=zone
        )

    def terminate(self, instances: list[str]) -> None:
        """Terminate instances; those already gone are none of our business."""
        for instance in instances:
            try:
                self.conn.terminate_instances(InstanceIds=[instance])
                self.log.info("Terminated the instance %s", instance)
            except ClientError as error:
                if not error.response["Error"]["Code"].startswith("InvalidInstanceID"):
                    raise


def state_of(instance: Mapping[str, Any] | None) -> str:
    """An instance's state; `terminated` when AWS does not know it any more."""
    return instance["State"]["Name"] if instance else "terminated"


def ended_by(instance: Mapping[str, Any] | None) -> str:
    """Why an instance ended: prices.INTERRUPTION, or AWS's own words."""
    reason = (instance or {}).get("StateReason") or {}
    if reason.get("Code") == INTERRUPTED:
        return prices.INTERRUPTION
    return reason.get("Message") or reason.get("Code") or "AWS names no reason"
