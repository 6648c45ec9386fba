"""Whether Airflow's workers can reach a training instance, as far as the account says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from musher.config import Environment


def profile(iam: Any, name: str) -> dict[str, Any]:
    """An instance profile; one without roles where there is none."""
    try:
        return iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchEntity":
            raise
        return {"Roles": []}


def problems(ec2: Any, env: Environment) -> Iterator[str]:
    """What is wrong with the security group and the subnet of the Variable, each as a sentence."""
    named = env.ec2_security_group
    try:
        group = ec2.describe_security_groups(GroupIds=[named])["SecurityGroups"][0]
    except ClientError as error:
        if not error.response["Error"]["Code"].startswith("InvalidGroup"):
            raise
        yield f"Airflow Variable musher: ec2_security_group is {named!r}, which does not exist in {env.region}."
        return
    if not _lets_in(group, env.ssh_port):
        yield (
            f"Airflow Variable musher: ec2_security_group is {named!r}, which lets nobody in to port {env.ssh_port}; "
            "it needs an inbound rule for the address of Airflow's workers."
        )
    yield from _subnet(ec2, env, group["VpcId"])


def _lets_in(group: dict[str, Any], port: int) -> bool:
    return any(
        rule["IpProtocol"] == "-1" or rule.get("FromPort", 0) <= port <= rule.get("ToPort", 65_535)
        for rule in group["IpPermissions"]
    )


def _subnet(ec2: Any, env: Environment, vpc: str) -> Iterator[str]:
    """The subnet has to be in the group's network, and to give out the address by which it is reached."""
    if not env.ec2_subnet:
        filters = [{"Name": "default-for-az", "Values": ["true"]}, {"Name": "vpc-id", "Values": [vpc]}]
        if not ec2.describe_subnets(Filters=filters)["Subnets"]:
            yield (
                f"Airflow Variable musher: ec2_subnet is empty, and the network {vpc} of ec2_security_group has no "
                "default subnet: name one of its subnets."
            )
        return
    said = f"Airflow Variable musher: ec2_subnet is {env.ec2_subnet!r}, "
    try:
        subnet = ec2.describe_subnets(SubnetIds=[env.ec2_subnet])["Subnets"][0]
    except ClientError as error:
        if not error.response["Error"]["Code"].lower().startswith("invalidsubnetid"):
            raise
        yield f"{said}which does not exist in {env.region}."
        return
    if subnet["VpcId"] != vpc:
        yield f"{said}which is in {subnet['VpcId']}, and ec2_security_group is in {vpc}: it has to be in the same one."
    if env.ec2_address == "public" and not subnet.get("MapPublicIpOnLaunch"):
        yield f"{said}which gives out no public addresses, and ec2_address is 'public': name another subnet."
