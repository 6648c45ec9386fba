"""EC2 Instance Connect: a public key that may log in for a minute."""

from __future__ import annotations

from typing import Any

from local_aws.errors import AwsError
from local_aws.services.base import Call, Service
from local_aws.services.ec2 import Ec2


class Ec2InstanceConnect(Service):
    name = "ec2-instance-connect"

    def send_ssh_public_key(self, call: Call) -> dict[str, Any]:
        import asyncssh

        identifier = call.params["InstanceId"]
        key = call.params["SSHPublicKey"]
        try:
            asyncssh.import_public_key(key)
        except asyncssh.KeyImportError:
            raise AwsError("InvalidArgsException", "Invalid SSHPublicKey") from None
        instance = self.aws.service(Ec2).instances.get(identifier)
        if instance is None:
            raise AwsError("EC2InstanceNotFoundException", f"Instance {identifier} not found")
        zone = call.params.get("AvailabilityZone")
        if zone and zone != instance.record.zone:
            raise AwsError("InvalidArgsException", f"Instance {identifier} is not in the Availability Zone {zone}")
        if instance.record.state != "running":
            raise AwsError(
                "EC2InstanceStateInvalidException",
                f"Instance {identifier} is in an invalid state: it is {instance.record.state}, not running",
            )
        instance.keys.let_in(call.params["InstanceOSUser"], key)
        return {"RequestId": call.headers.get("amz-sdk-invocation-id", ""), "Success": True}
