"""CloudWatch's alarms, EC2's instances and what stands in front of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local_aws.stacks.kinds import Failed, Kind, Steps, Work, gone, retag, tag_list, text, until


class Alarm(Kind):
    type, service, creates = "AWS::CloudWatch::Alarm", "cloudwatch", "PutMetricAlarm"
    named, replacing, longest = "AlarmName", frozenset({"AlarmName"}), 255
    attributes = ("Arn",)

    def create(self, work: Work) -> Steps:
        name = self.name(work)
        members = {**self.members(work), "AlarmName": name}
        client = work.client(self.service)
        if not work.entry.id and client.describe_alarms(AlarmNames=[name])["MetricAlarms"]:
            # The operation would put it in the other one's place.
            raise Failed(f"{name} already exists")
        if tags := work.tag_list():
            members["Tags"] = tags
        work.call(self.service, self.creates, members)
        work.entry.id = name
        arn = f"arn:aws:cloudwatch:{work.region}:{work.account}:alarm:{name}"
        work.entry.attributes["Arn"] = arn
        yield from ()

    def update(self, work: Work) -> Steps:
        yield from self.create(work)
        client, arn = work.client(self.service), work.entry.attributes["Arn"]
        there = {each["Key"]: each["Value"] for each in client.list_tags_for_resource(ResourceARN=arn)["Tags"]}
        add, remove = retag(there, work.all_tags())
        if add:
            client.tag_resource(ResourceARN=arn, Tags=tag_list(add))
        if remove:
            client.untag_resource(ResourceARN=arn, TagKeys=remove)

    def delete(self, work: Work) -> Steps:
        gone(lambda: work.client(self.service).delete_alarms(AlarmNames=[work.entry.id]))
        yield from ()


class Instance(Kind):
    type, service, creates = "AWS::EC2::Instance", "ec2", "RunInstances"
    properties = frozenset({"AvailabilityZone", "Tags", "IamInstanceProfile"})
    # All but the tags: a host here cannot be changed.
    replacing = frozenset({
        "ImageId", "InstanceType", "KeyName", "SubnetId", "SecurityGroupIds", "SecurityGroups", "UserData",
        "IamInstanceProfile", "AvailabilityZone", "BlockDeviceMappings", "NetworkInterfaces", "EbsOptimized",
        "MetadataOptions", "Monitoring", "PrivateIpAddress", "InstanceInitiatedShutdownBehavior",
        "DisableApiTermination", "LaunchTemplate", "CreditSpecification", "Tenancy", "Placement",
    })  # fmt: skip
    attributes = (
        "AvailabilityZone", "InstanceId", "PrivateDnsName", "PrivateIp", "PublicDnsName", "PublicIp", "VpcId",
    )  # fmt: skip

    def create(self, work: Work) -> Steps:
        members = {**self.members(work), "MinCount": 1, "MaxCount": 1}
        if work.given.get("IamInstanceProfile"):
            members["IamInstanceProfile"] = {"Name": text(work.given["IamInstanceProfile"])}
        if work.given.get("AvailabilityZone"):
            members["Placement"] = {"AvailabilityZone": work.given["AvailabilityZone"]}
        if tags := work.tag_list():
            members["TagSpecifications"] = [{"ResourceType": "instance", "Tags": tags}]
        made = work.call(self.service, self.creates, members)
        work.entry.id = made["Instances"][0]["InstanceId"]

        def running() -> bool:
            state = self._described(work)["State"]["Name"]
            if state in ("shutting-down", "terminated", "stopping", "stopped"):
                why = self._described(work).get("StateReason", {}).get("Message", "nobody knows why")
                raise Failed(f"Instance {work.entry.id} is {state}: {why}")
            return state == "running"

        yield from until(running)
        found = self._described(work)
        work.entry.attributes |= {
            "AvailabilityZone": found["Placement"]["AvailabilityZone"],
            "InstanceId": found["InstanceId"],
            "PrivateDnsName": found.get("PrivateDnsName", ""),
            "PrivateIp": found.get("PrivateIpAddress", ""),
            "PublicDnsName": found.get("PublicDnsName", ""),
            "PublicIp": found.get("PublicIpAddress", ""),
            "VpcId": found.get("VpcId", ""),
        }

    def update(self, work: Work) -> Steps:
        retag_in_ec2(work)
        yield from ()

    def delete(self, work: Work) -> Steps:
        gone(lambda: work.client(self.service).terminate_instances(InstanceIds=[work.entry.id]))
        yield from until(lambda: self._described(work)["State"]["Name"] == "terminated")

    @staticmethod
    def _described(work: Work) -> dict[str, Any]:
        found = work.client("ec2").describe_instances(InstanceIds=[work.entry.id])
        return found["Reservations"][0]["Instances"][0]


class SecurityGroup(Kind):
    """Its rules are changed in place, and the group keeps its id, which moto's does not."""

    type, service = "AWS::EC2::SecurityGroup", "ec2"
    named, longest = "GroupName", 255
    properties = frozenset({"GroupDescription", "VpcId", "SecurityGroupIngress", "SecurityGroupEgress"})
    replacing = frozenset({"GroupName", "GroupDescription", "VpcId"})
    attributes = ("GroupId", "Id", "VpcId")

    def create(self, work: Work) -> Steps:
        name = self.name(work)
        members = {"GroupName": name, "Description": work.given.get("GroupDescription", "")}
        if work.given.get("VpcId"):
            members["VpcId"] = work.given["VpcId"]
        if tags := work.tag_list():
            members["TagSpecifications"] = [{"ResourceType": "security-group", "Tags": tags}]
        made = work.call(self.service, "CreateSecurityGroup", members)
        work.entry.id = made["GroupId"]
        client = work.client(self.service)
        found = client.describe_security_groups(GroupIds=[made["GroupId"]])["SecurityGroups"][0]
        work.entry.attributes |= {"GroupId": made["GroupId"], "Id": made["GroupId"], "VpcId": found.get("VpcId", "")}
        self._rules(work, {})
        yield from ()

    def update(self, work: Work) -> Steps:
        self._rules(work, work.before)
        retag_in_ec2(work)
        yield from ()

    def delete(self, work: Work) -> Steps:
        gone(lambda: work.client(self.service).delete_security_group(GroupId=work.entry.id))
        yield from ()

    def _rules(self, work: Work, before: Mapping[str, Any]) -> None:
        for property_, operation, source in (
            ("SecurityGroupIngress", "SecurityGroupIngress", "Source"),
            ("SecurityGroupEgress", "SecurityGroupEgress", "Destination"),
        ):
            everything = [{"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}] if source == "Destination" else []
            old = (before.get(property_) or everything) if before else everything
            new = work.given.get(property_) or everything
            for verb, rules in (("Revoke", _without(old, new)), ("Authorize", _without(new, old))):
                if rules:
                    members = {"GroupId": work.entry.id, "IpPermissions": [_permission(each, source) for each in rules]}
                    work.call(self.service, f"{verb}{operation}", members)


class SecurityGroupIngress(Kind):
    """One rule of a group that is made elsewhere; moto's has no name by which it could be deleted."""

    type, service = "AWS::EC2::SecurityGroupIngress", "ec2"
    source = "Source"
    properties = replacing = frozenset({
        "GroupId", "IpProtocol", "FromPort", "ToPort", "CidrIp", "CidrIpv6", "Description", "SourceSecurityGroupId",
        "SourceSecurityGroupName", "SourceSecurityGroupOwnerId", "SourcePrefixListId",
    })  # fmt: skip
    attributes = ("Id",)

    def create(self, work: Work) -> Steps:
        made = self._call(work, "Authorize")
        rules = made.get("SecurityGroupRules") or [{}]
        work.entry.id = work.entry.attributes["Id"] = rules[0].get("SecurityGroupRuleId") or self.name(work)
        yield from ()

    def update(self, work: Work) -> Steps:
        yield from ()

    def delete(self, work: Work) -> Steps:
        gone(lambda: self._call(work, "Revoke"))
        yield from ()

    def _call(self, work: Work, verb: str) -> dict[str, Any]:
        direction = "Ingress" if self.source == "Source" else "Egress"
        members = {"GroupId": work.given["GroupId"], "IpPermissions": [_permission(work.given, self.source)]}
        return work.call(self.service, f"{verb}SecurityGroup{direction}", members)


class SecurityGroupEgress(SecurityGroupIngress):
    type, source = "AWS::EC2::SecurityGroupEgress", "Destination"
    properties = replacing = frozenset({
        "GroupId", "IpProtocol", "FromPort", "ToPort", "CidrIp", "CidrIpv6", "Description",
        "DestinationSecurityGroupId", "DestinationPrefixListId",
    })  # fmt: skip


def _without(rules: list[Any], others: list[Any]) -> list[Any]:
    return [each for each in rules if each not in others]


def _permission(rule: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A rule of a template as the operation takes it."""
    found: dict[str, Any] = {"IpProtocol": text(rule["IpProtocol"])}
    found |= {name: rule[name] for name in ("FromPort", "ToPort") if name in rule}
    about = {"Description": rule["Description"]} if rule.get("Description") else {}
    if "CidrIp" in rule:
        found["IpRanges"] = [{"CidrIp": rule["CidrIp"], **about}]
    if "CidrIpv6" in rule:
        found["Ipv6Ranges"] = [{"CidrIpv6": rule["CidrIpv6"], **about}]
    if f"{source}PrefixListId" in rule:
        found["PrefixListIds"] = [{"PrefixListId": rule[f"{source}PrefixListId"], **about}]
    group = {"GroupId": rule.get(f"{source}SecurityGroupId"), "GroupName": rule.get("SourceSecurityGroupName")}
    if any(group.values()):
        found["UserIdGroupPairs"] = [{**{name: value for name, value in group.items() if value}, **about}]
    return found


def retag_in_ec2(work: Work) -> None:
    """The tags of something of EC2's as the template and the stack say."""
    client, of = work.client("ec2"), [work.entry.id]
    found = client.describe_tags(Filters=[{"Name": "resource-id", "Values": of}])["Tags"]
    add, remove = retag({each["Key"]: each["Value"] for each in found}, work.all_tags())
    if add:
        client.create_tags(Resources=of, Tags=tag_list(add))
    if remove:
        client.delete_tags(Resources=of, Tags=[{"Key": key} for key in remove])


KINDS: list[Kind] = [Alarm(), Instance(), SecurityGroup(), SecurityGroupIngress(), SecurityGroupEgress()]
