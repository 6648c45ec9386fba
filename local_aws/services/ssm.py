"""SSM's public parameters that name Deep Learning AMIs; moto keeps every other parameter."""

from __future__ import annotations

from typing import Any

from local_aws.ec2 import images
from local_aws.errors import AwsError
from local_aws.services.base import FORWARD, Call, Service


class Ssm(Service):
    name = "ssm"

    def get_parameter(self, call: Call) -> dict[str, Any]:
        name = call.params["Name"]
        if not name.startswith(images.TREE):
            return FORWARD
        parameter = images.parameter(name, call.region)
        if parameter is None:
            raise AwsError("ParameterNotFound", f"Parameter {name} not found.")
        images.register(call.account, call.region)
        return {"Parameter": parameter}

    def get_parameters(self, call: Call) -> dict[str, Any]:
        names = call.params["Names"]
        ours = [name for name in names if name.startswith(images.TREE)]
        if not ours:
            return FORWARD
        found = [each for name in ours if (each := images.parameter(name, call.region))]
        missing = [name for name in ours if name not in images.IMAGES]
        others = [name for name in names if name not in ours]
        if others:
            kept = self.aws.client("ssm").get_parameters(
                Names=others, WithDecryption=call.params.get("WithDecryption") or False
            )
            found, missing = found + kept["Parameters"], missing + kept["InvalidParameters"]
        images.register(call.account, call.region)
        return {"Parameters": found, "InvalidParameters": missing}
