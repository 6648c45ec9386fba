"""Which operations the handlers of AWS call for the kinds of resources that moto makes here without an operation.

Source: the handlers' permissions in each kind's schema of the CloudFormation registry; of these, those that the given
properties need. A kind that has no line of its own is made by Create<Kind>, changed by Update<Kind> or Modify<Kind>,
and deleted by Delete<Kind>; one that nothing changes is made anew, as moto does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from moto.core.utils import get_service_model

from local_aws.iam import table
from local_aws.stacks.ledger import Entry

Operation = tuple[str, str, dict[str, Any]]
"""botocore's service and operation, and the members that say what is asked for."""

SERVICES = {
    "ElasticLoadBalancing": "elb", "ElasticLoadBalancingV2": "elbv2", "EFS": "efs", "EMR": "emr",
    "StepFunctions": "stepfunctions",
}  # fmt: skip
# Kind -> (what makes it, what changes it, what deletes it); None where that is as above.
NAMES: dict[str, tuple[str | None, str | None, str | None]] = {
    "AWS::ApiGateway::Method": ("PutMethod", None, None),
    "AWS::AutoScaling::ScheduledAction": ("PutScheduledUpdateGroupAction", None, None),
    "AWS::Batch::JobDefinition": ("RegisterJobDefinition", None, "DeregisterJobDefinition"),
    "AWS::CloudWatch::Dashboard": ("PutDashboard", None, "DeleteDashboards"),
    "AWS::EC2::FlowLog": ("CreateFlowLogs", None, "DeleteFlowLogs"),
    "AWS::EC2::NetworkInterface": (None, "ModifyNetworkInterfaceAttribute", None),
    "AWS::EC2::Subnet": (None, "ModifySubnetAttribute", None),
    "AWS::EC2::VPC": ("CreateVpc", "ModifyVpcAttribute", "DeleteVpc"),
    "AWS::EC2::VPCPeeringConnection": ("CreateVpcPeeringConnection", None, "DeleteVpcPeeringConnection"),
    "AWS::EC2::VPNGateway": ("CreateVpnGateway", None, "DeleteVpnGateway"),
    "AWS::EC2::VolumeAttachment": ("AttachVolume", None, "DetachVolume"),
    "AWS::ECS::TaskDefinition": ("RegisterTaskDefinition", None, "DeregisterTaskDefinition"),
    "AWS::EMR::Cluster": ("RunJobFlow", "ModifyCluster", "TerminateJobFlows"),
    "AWS::EMR::InstanceGroupConfig": ("AddInstanceGroups", "ModifyInstanceGroups", "ModifyInstanceGroups"),
    "AWS::ElasticLoadBalancing::LoadBalancer": (None, "ModifyLoadBalancerAttributes", None),
    "AWS::ElasticLoadBalancingV2::ListenerRule": ("CreateRule", "ModifyRule", "DeleteRule"),
    "AWS::ElasticLoadBalancingV2::LoadBalancer": (None, "ModifyLoadBalancerAttributes", None),
    "AWS::Events::Rule": ("PutRule", None, "DeleteRule"),
    "AWS::KMS::Key": (None, "PutKeyPolicy", "ScheduleKeyDeletion"),
    "AWS::Logs::ResourcePolicy": ("PutResourcePolicy", None, None),
    "AWS::Route53::RecordSet": ("ChangeResourceRecordSets", None, "ChangeResourceRecordSets"),
    "AWS::Route53::RecordSetGroup": ("ChangeResourceRecordSets", None, "ChangeResourceRecordSets"),
    "AWS::SNS::Topic": (None, "SetTopicAttributes", None),
    "AWS::SQS::Queue": (None, "SetQueueAttributes", None),
    "AWS::SSM::Parameter": ("PutParameter", None, None),
}
# Members that a property of another name is, or the name that CloudFormation gives where there is none.
MEMBERS = {
    "AWS::CloudWatch::Dashboard": {"DashboardName": "DashboardName", "DashboardNames": "DashboardName"},
    "AWS::SNS::Topic": {"Name": "TopicName"},
    "AWS::ECS::Service": {"service": "ServiceName"},
    "AWS::StepFunctions::StateMachine": {"name": "StateMachineName"},
}
# Of IAM's kinds: whom a policy is given to -> the part of the operations' names, and the member that names it.
HOLDERS = {"Roles": ("Role", "RoleName"), "Users": ("User", "UserName"), "Groups": ("Group", "GroupName")}


def operations(entry: Entry, verb: str) -> Iterator[Operation]:
    """What is called to `create`, `update` or `delete` a resource."""
    kind, given = entry.cf_resource_type, entry.properties
    if kind in IAM:
        for operation, params in IAM[kind](entry, verb):
            yield "iam", operation, params
        return
    service = service_of(kind)
    yield service, named(kind, verb), _members(service, named(kind, verb), entry)
    for needs, operation in FURTHER.get((kind, verb), ()):
        for each in _listed(given.get(needs)):
            # An item says what it is about, such as a target's role.
            more = each if isinstance(each, Mapping) else {}
            yield service, operation, {**_members(service, operation, entry), **more}


FURTHER = {
    ("AWS::SNS::Topic", "create"): [("Subscription", "Subscribe")],
    ("AWS::SNS::Topic", "update"): [("Subscription", "Subscribe")],
    ("AWS::Events::Rule", "create"): [("Targets", "PutTargets")],
    ("AWS::Events::Rule", "update"): [("Targets", "PutTargets")],
    ("AWS::Events::Rule", "delete"): [("Targets", "RemoveTargets")],
    ("AWS::EC2::Subnet", "create"): [("MapPublicIpOnLaunch", "ModifySubnetAttribute")],
    ("AWS::EC2::VPC", "create"): [
        ("EnableDnsSupport", "ModifyVpcAttribute"), ("EnableDnsHostnames", "ModifyVpcAttribute"),
    ],
}  # fmt: skip


def named(kind: str, verb: str) -> str:
    """The operation that makes, changes or deletes a kind of resource."""
    resource = kind.rpartition("::")[2]
    makes, changes, deletes = NAMES.get(kind, (None, None, None))
    makes = makes or f"Create{resource}"
    if verb == "update" and changes is None:
        known = (each for each in (f"Update{resource}", f"Modify{resource}") if table.actions(service_of(kind), each))
        changes = next(known, makes)
    return {"create": makes, "update": changes or makes, "delete": deletes or f"Delete{resource}"}[verb]


def service_of(kind: str) -> str:
    """botocore's name of a kind's service."""
    name = kind.split("::")[1]
    return SERVICES.get(name, name.lower())


def _members(service: str, operation: str, entry: Entry) -> dict[str, Any]:
    """The members of an operation that properties of the same name are; what names it has a name."""
    model = get_service_model(service)
    if operation not in model.operation_names:
        return {}
    shape = model.operation_model(operation).input_shape
    members = shape.members if shape is not None else {}
    by_name = {name.lower(): value for name, value in entry.properties.items()}
    found = {name: by_name[name.lower()] for name in members if name.lower() in by_name}
    renamed = MEMBERS.get(entry.cf_resource_type, {})
    for name in members:
        called = renamed.get(name) or (name if name.lower() in _naming(entry) else "")
        if called:
            found[name] = entry.id or entry.properties.get(called) or entry.name
            if members[name].type_name == "list":
                found[name] = [found[name]]
    return found


def _naming(entry: Entry) -> set[str]:
    """The members, in lower case, by which a kind of resource is usually named."""
    resource = entry.cf_resource_type.rpartition("::")[2].lower()
    return {"name", f"{resource}name", f"{resource}id", f"{resource}arn", f"{resource}url"}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value in (None, False, "false") else [value]


# --- IAM: what a policy of a template is given to is called for each


def _policy(entry: Entry, verb: str) -> Iterator[tuple[str, dict[str, Any]]]:
    name = entry.properties.get("PolicyName")
    for holders, (who, member) in HOLDERS.items():
        for each in _listed(entry.properties.get(holders)):
            operation = f"Delete{who}Policy" if verb == "delete" else f"Put{who}Policy"
            document = {} if verb == "delete" else _document(entry)
            yield operation, {member: each, "PolicyName": name, **document}


def _document(entry: Entry) -> dict[str, str]:
    given = entry.properties.get("PolicyDocument")
    return {} if given is None else {"PolicyDocument": given if isinstance(given, str) else json.dumps(given)}


def _managed_policy(entry: Entry, verb: str) -> Iterator[tuple[str, dict[str, Any]]]:
    name = entry.properties.get("ManagedPolicyName") or entry.name
    policy = {"PolicyArn": entry.id} if entry.id.startswith("arn:") else {"PolicyName": name}
    attached = [
        (who, {member: each, **({"PolicyArn": entry.id} if entry.id.startswith("arn:") else {})})
        for holders, (who, member) in HOLDERS.items()
        for each in _listed(entry.properties.get(holders))
    ]
    if verb == "delete":
        yield from ((f"Detach{who}Policy", of) for who, of in attached)
    document = {} if verb == "delete" else _document(entry)
    operation = {"create": "CreatePolicy", "update": "CreatePolicyVersion", "delete": "DeletePolicy"}[verb]
    yield operation, {**policy, **document}
    if verb != "delete":
        yield from ((f"Attach{who}Policy", of) for who, of in attached)


def _profile(entry: Entry, verb: str) -> Iterator[tuple[str, dict[str, Any]]]:
    profile = {"InstanceProfileName": entry.id or entry.properties.get("InstanceProfileName") or entry.name}
    if verb == "create":
        yield "CreateInstanceProfile", profile
    for role in _listed(entry.properties.get("Roles")):
        operation = "RemoveRoleFromInstanceProfile" if verb == "delete" else "AddRoleToInstanceProfile"
        yield operation, {**profile, "RoleName": role}
    if verb == "delete":
        yield "DeleteInstanceProfile", profile


def _user(entry: Entry, verb: str) -> Iterator[tuple[str, dict[str, Any]]]:
    given, user = entry.properties, {"UserName": entry.id or entry.properties.get("UserName") or entry.name}
    undone = verb == "delete"
    if verb == "create":
        boundary = {"PermissionsBoundary": given["PermissionsBoundary"]} if given.get("PermissionsBoundary") else {}
        yield "CreateUser", {**user, **boundary, **({"Tags": given["Tags"]} if given.get("Tags") else {})}
    for each in _listed(given.get("Policies")):
        yield "DeleteUserPolicy" if undone else "PutUserPolicy", {**user, "PolicyName": each.get("PolicyName")}
    for each in _listed(given.get("ManagedPolicyArns")):
        yield "DetachUserPolicy" if undone else "AttachUserPolicy", {**user, "PolicyArn": each}
    for each in _listed(given.get("Groups")):
        yield "RemoveUserFromGroup" if undone else "AddUserToGroup", {**user, "GroupName": each}
    if given.get("LoginProfile"):
        yield "DeleteLoginProfile" if undone else "CreateLoginProfile", user
    if undone:
        yield "DeleteUser", user


def _access_key(entry: Entry, verb: str) -> Iterator[tuple[str, dict[str, Any]]]:
    operation = {"create": "CreateAccessKey", "update": "UpdateAccessKey", "delete": "DeleteAccessKey"}[verb]
    yield operation, {"UserName": entry.properties.get("UserName")}


IAM = {
    "AWS::IAM::AccessKey": _access_key,
    "AWS::IAM::InstanceProfile": _profile,
    "AWS::IAM::ManagedPolicy": _managed_policy,
    "AWS::IAM::Policy": _policy,
    "AWS::IAM::User": _user,
}
