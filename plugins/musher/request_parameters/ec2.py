"""RunInstances for a training instance."""

from __future__ import annotations

from typing import Any

from musher.config import Ec2TrainingConfig, Environment
from musher.names import Run


def user_data(max_life_minutes: int) -> str:
    """What the instance runs as it boots: its own end, which no crash of Airflow can prevent.

    `shutdown` terminates the instance, because it is launched with InstanceInitiatedShutdownBehavior `terminate`.
    """
    return f"#!/bin/sh\nshutdown -h +{max_life_minutes}\n"


def run_instance(
    config: Ec2TrainingConfig,
    env: Environment,
    *,
    ami: str,
    root_device: str,
    instance_type: str,
    spot: bool,
    token: str,
    name: str,
    run: Run,
) -> dict[str, Any]:
    """RunInstances request for one training instance, with metadata by version 2 only and an encrypted disk.

    Parameters: `token` makes the call idempotent: a retry with the same one gets the same instance. botocore encodes
    the user data.
    Source: EC2 API reference, RunInstances.
    """
    tags = [{"Key": key, "Value": value} for key, value in {"Name": name, **run.tags(env.project)}.items()]
    request: dict[str, Any] = {
        "ImageId": ami,
        "InstanceType": instance_type,
        "MinCount": 1,
        "MaxCount": 1,
        "ClientToken": token,
        "IamInstanceProfile": {"Name": env.ec2_instance_profile},
        "SecurityGroupIds": [env.ec2_security_group],
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled", "HttpPutResponseHopLimit": 1},
        "BlockDeviceMappings": [
            {
                "DeviceName": root_device,
                "Ebs": {
                    "VolumeSize": config.volume_gb,
                    "VolumeType": "gp3",
                    "Encrypted": True,
                    "DeleteOnTermination": True,
                },
            }
        ],
        "UserData": user_data(config.max_life_minutes),
        "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")],
    }
    if env.ec2_subnet:
        request["SubnetId"] = env.ec2_subnet
    if spot:
        request["InstanceMarketOptions"] = {
            "MarketType": "spot",
            "SpotOptions": {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"},
        }
    return request
