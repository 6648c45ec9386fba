"""What a network of EC2's consists of. Moto's CloudFormation makes most of these, and deletes none of them."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from botocore import xform_name

from local_aws.stacks.kinds import Kind, Steps, Work, gone, until


class _Part(Kind):
    """One that an operation makes, that another one deletes, and that cannot be changed but for its tags."""

    service = "ec2"
    found: ClassVar[tuple[str, ...]] = ()
    """Where in the operation's answer its id is; () for one without."""
    tagged: ClassVar[str] = ""
    """The type of what is tagged, where it is."""
    removes: ClassVar[str]
    by: ClassVar[str] = ""
    """The member of the deleting operation that its id is."""
    idents: ClassVar[tuple[str, ...]] = ()
    """Properties that name it there, besides."""

    def create(self, work: Work) -> Steps:
        members = self.prepared(work)
        if self.tagged and (tags := work.tag_list()):
            members["TagSpecifications"] = [{"ResourceType": self.tagged, "Tags": tags}]
        made: Any = work.call(self.service, self.creates, members)
        for name in self.found:
            made = made[name]
        work.entry.id = made if self.found else "|".join(str(work.given[each]) for each in self.idents)
        yield from self.made(work)

    def prepared(self, work: Work) -> dict[str, Any]:
        """The members of the creating operation."""
        return self.members(work)

    def made(self, work: Work) -> Steps:
        """What there is to be waited for, and the attributes."""
        work.entry.attributes |= {name: work.entry.id for name in self.attributes}
        yield from ()

    def update(self, work: Work) -> Steps:
        from local_aws.stacks.watching import retag_in_ec2

        if self.tagged:
            retag_in_ec2(work)
        yield from ()

    def delete(self, work: Work) -> Steps:
        of = {name: work.given[name] for name in self.idents if name in work.given}
        if self.by:
            of[self.by] = work.entry.id
        gone(lambda: getattr(work.client(self.service), xform_name(self.removes))(**of))
        yield from ()


class Address(_Part):
    type, creates, removes = "AWS::EC2::EIP", "AllocateAddress", "ReleaseAddress"
    found, tagged = ("AllocationId",), "elastic-ip"
    replacing = frozenset({"Domain", "NetworkBorderGroup", "Address"})
    attributes = ("AllocationId", "PublicIp")

    def made(self, work: Work) -> Steps:
        # Its Ref is the address.
        client, allocation = work.client(self.service), work.entry.id
        (found,) = client.describe_addresses(AllocationIds=[allocation])["Addresses"]
        work.entry.id = found["PublicIp"]
        work.entry.attributes |= {"AllocationId": allocation, "PublicIp": found["PublicIp"]}
        yield from ()

    def update(self, work: Work) -> Steps:
        yield from ()

    def delete(self, work: Work) -> Steps:
        allocation = work.entry.attributes.get("AllocationId", work.entry.id)
        gone(lambda: work.client(self.service).release_address(AllocationId=allocation))
        yield from ()


class InternetGateway(_Part):
    type, creates, removes = "AWS::EC2::InternetGateway", "CreateInternetGateway", "DeleteInternetGateway"
    found, by, tagged = ("InternetGateway", "InternetGatewayId"), "InternetGatewayId", "internet-gateway"
    attributes = ("InternetGatewayId",)


class GatewayAttachment(_Part):
    type, creates, removes = "AWS::EC2::VPCGatewayAttachment", "AttachInternetGateway", "DetachInternetGateway"
    idents = ("InternetGatewayId", "VpcId")
    replacing = frozenset({"InternetGatewayId", "VpcId", "VpnGatewayId"})


class RouteTable(_Part):
    type, creates, removes = "AWS::EC2::RouteTable", "CreateRouteTable", "DeleteRouteTable"
    found, by, tagged = ("RouteTable", "RouteTableId"), "RouteTableId", "route-table"
    replacing = frozenset({"VpcId"})
    attributes = ("RouteTableId",)


class Route(_Part):
    type, creates, removes = "AWS::EC2::Route", "CreateRoute", "DeleteRoute"
    idents = ("RouteTableId", "DestinationCidrBlock")
    replacing = frozenset({
        "RouteTableId", "DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId", "GatewayId",
        "NatGatewayId", "InstanceId", "NetworkInterfaceId", "TransitGatewayId", "VpcPeeringConnectionId",
        "VpcEndpointId",
    })  # fmt: skip


class Association(_Part):
    type, creates, removes = "AWS::EC2::SubnetRouteTableAssociation", "AssociateRouteTable", "DisassociateRouteTable"
    found, by = ("AssociationId",), "AssociationId"
    replacing = frozenset({"RouteTableId", "SubnetId"})
    attributes = ("Id",)


class NatGateway(_Part):
    type, creates, removes = "AWS::EC2::NatGateway", "CreateNatGateway", "DeleteNatGateway"
    found, by, tagged = ("NatGateway", "NatGatewayId"), "NatGatewayId", "natgateway"
    replacing = frozenset({"AllocationId", "SubnetId", "ConnectivityType", "PrivateIpAddress"})
    attributes = ("NatGatewayId",)

    def made(self, work: Work) -> Steps:
        yield from super().made(work)
        yield from until(lambda: self._state(work) == "available")

    def delete(self, work: Work) -> Steps:
        yield from super().delete(work)
        yield from until(lambda: self._state(work) in (None, "deleted"))

    @staticmethod
    def _state(work: Work) -> str | None:
        found = work.client("ec2").describe_nat_gateways(NatGatewayIds=[work.entry.id])["NatGateways"]
        return found[0]["State"] if found else None


class VpcEndpoint(_Part):
    type, creates, removes = "AWS::EC2::VPCEndpoint", "CreateVpcEndpoint", "DeleteVpcEndpoints"
    found, tagged = ("VpcEndpoint", "VpcEndpointId"), "vpc-endpoint"
    replacing = frozenset({
        "VpcId", "ServiceName", "VpcEndpointType", "RouteTableIds", "SubnetIds", "SecurityGroupIds", "PolicyDocument",
        "PrivateDnsEnabled",
    })  # fmt: skip
    attributes = ("Id",)

    def prepared(self, work: Work) -> dict[str, Any]:
        members = self.members(work)
        if isinstance(members.get("PolicyDocument"), dict):
            members["PolicyDocument"] = json.dumps(members["PolicyDocument"])
        return members

    def delete(self, work: Work) -> Steps:
        gone(lambda: work.client(self.service).delete_vpc_endpoints(VpcEndpointIds=[work.entry.id]))
        yield from ()


KINDS: list[Kind] = [
    Address(), InternetGateway(), GatewayAttachment(), RouteTable(), Route(), Association(), NatGateway(),
    VpcEndpoint(),
]  # fmt: skip
