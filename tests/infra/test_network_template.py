"""The network for those who have none: AWS's own checks, and that it is what Amazon MWAA asks for, in the local AWS."""

from __future__ import annotations

from typing import Any

import pytest

from tests.infra import policy_rules
from tools.cloudformation import FOLDER, InfrastructureError, Stack, checked, load

PATH = FOLDER / "network.yaml"
BODY = PATH.read_text()
TEMPLATE = load(BODY)


@pytest.fixture(scope="module")
def made(aws: Any) -> dict[str, str]:
    stack = Stack(aws.client, "net-network")
    parameters = checked({"ProjectName": "net"}, TEMPLATE)
    assert stack.deploy(BODY, parameters, "net")
    assert stack.not_made(TEMPLATE, parameters) == []
    assert not stack.deploy(BODY, parameters, "net")
    return stack.outputs()


def ways_out(aws: Any, table: str) -> set[str]:
    """Where a route table of the stack sends what is not for the network itself, by the kind of target."""
    name = Stack(aws.client, "net-network").resources()[table]
    (found,) = aws.client("ec2").describe_route_tables(RouteTableIds=[name])["RouteTables"]
    targets = [each.get("NatGatewayId") or each.get("GatewayId") for each in found["Routes"]]
    return {each.split("-")[0] for each in targets if each != "local"}


def test_every_rule_is_kept():
    assert policy_rules.broken(TEMPLATE) == []


def test_two_private_subnets_in_two_zones(aws, made):
    subnets = made["SubnetIds"].split(",")
    found = aws.client("ec2").describe_subnets(SubnetIds=subnets)["Subnets"]
    assert {each["VpcId"] for each in found} == {made["VpcId"]}
    assert len({each["AvailabilityZone"] for each in found}) == 2
    assert {each["CidrBlock"] for each in found} == {"10.0.1.0/24", "10.0.2.0/24"}
    assert not any(each["MapPublicIpOnLaunch"] for each in found)


def test_the_private_subnets_go_out_through_the_nat_gateway_and_to_s3_without_it(aws, made):
    assert ways_out(aws, "PrivateRoutes") == {"nat", "vpce"}
    assert ways_out(aws, "PublicRoutes") == {"igw"}
    filters = [{"Name": "vpc-id", "Values": [made["VpcId"]]}]
    (nat,) = aws.client("ec2").describe_nat_gateways(Filter=filters)["NatGateways"]
    assert nat["SubnetId"] not in made["SubnetIds"].split(",")
    (endpoint,) = aws.client("ec2").describe_vpc_endpoints(Filters=filters)["VpcEndpoints"]
    assert (endpoint["VpcEndpointType"], endpoint["ServiceName"]) == ("Gateway", "com.amazonaws.us-east-1.s3")


def test_every_subnet_has_its_routes():
    """By the template: the local AWS makes the associations, and does not show them with the route tables."""
    associations = {
        each["Properties"]["SubnetId"]["Ref"]: each["Properties"]["RouteTableId"]["Ref"]
        for each in TEMPLATE["Resources"].values()
        if each["Type"] == "AWS::EC2::SubnetRouteTableAssociation"
    }
    assert associations == {
        "PublicSubnet": "PublicRoutes", "PrivateSubnetOne": "PrivateRoutes", "PrivateSubnetTwo": "PrivateRoutes",
    }  # fmt: skip
    assert TEMPLATE["Outputs"]["SubnetIds"]["Value"]["Fn::Join"][1] == [
        {"Ref": "PrivateSubnetOne"}, {"Ref": "PrivateSubnetTwo"},
    ]  # fmt: skip


def test_a_range_that_is_none_is_refused():
    with pytest.raises(
        InfrastructureError, match=r"VpcCidr is '10\.0\.0\.0/8', and it is accepted only if it is a range"
    ):
        checked({"ProjectName": "net", "VpcCidr": "10.0.0.0/8"}, TEMPLATE)
