"""The kinds of resources of IAM: roles, and identity providers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from local_aws.stacks.kinds import Kind, Steps, Work, gone, retag, tag_list, text


class Role(Kind):
    """Moto's leaves out the managed policies that a role is given."""

    type, service, creates = "AWS::IAM::Role", "iam", "CreateRole"
    named, replacing = "RoleName", frozenset({"RoleName", "Path"})
    properties = frozenset({"AssumeRolePolicyDocument", "Policies", "ManagedPolicyArns"})
    attributes = ("Arn", "RoleId")

    def create(self, work: Work) -> Steps:
        name = self.name(work)
        trust = _document(work.given["AssumeRolePolicyDocument"])
        members = {**self.members(work), "RoleName": name, "AssumeRolePolicyDocument": trust}
        if tags := work.tag_list():
            members["Tags"] = tags
        made = work.call(self.service, "CreateRole", members)["Role"]
        work.entry.id = name
        work.entry.attributes |= {"Arn": made["Arn"], "RoleId": made["RoleId"]}
        self._policies(work, {})
        yield from ()

    def update(self, work: Work) -> Steps:
        client, role = work.client(self.service), {"RoleName": work.entry.id}
        if work.changed("AssumeRolePolicyDocument"):
            document = _document(work.given["AssumeRolePolicyDocument"])
            client.update_assume_role_policy(**role, PolicyDocument=document)
        if work.changed("Description", "MaxSessionDuration"):
            members = {"Description": "", "MaxSessionDuration": 3600, **self.members(work)}
            known = {each: members[each] for each in ("Description", "MaxSessionDuration")}
            work.call(self.service, "UpdateRole", {**role, **known})
        if work.changed("PermissionsBoundary"):
            if "PermissionsBoundary" in work.given:
                client.put_role_permissions_boundary(**role, PermissionsBoundary=work.given["PermissionsBoundary"])
            else:
                client.delete_role_permissions_boundary(**role)
        self._policies(work, work.before)
        add, remove = retag(
            {each["Key"]: each["Value"] for each in client.list_role_tags(**role)["Tags"]}, work.all_tags()
        )
        if add:
            client.tag_role(**role, Tags=tag_list(add))
        if remove:
            client.untag_role(**role, TagKeys=remove)
        yield from ()

    def delete(self, work: Work) -> Steps:
        client, role = work.client(self.service), {"RoleName": work.entry.id}
        for each in work.given.get("ManagedPolicyArns") or ():
            gone(lambda arn=each: client.detach_role_policy(**role, PolicyArn=arn))
        for each in work.given.get("Policies") or ():
            gone(lambda name=each["PolicyName"]: client.delete_role_policy(**role, PolicyName=name))
        gone(lambda: client.delete_role(**role))
        yield from ()

    @staticmethod
    def _policies(work: Work, before: Mapping[str, Any]) -> None:
        client, role = work.client("iam"), {"RoleName": work.entry.id}
        now, was = ({each["PolicyName"]: each["PolicyDocument"] for each in of.get("Policies") or ()}
                    for of in (work.given, before))  # fmt: skip
        for name, document in now.items():
            if was.get(name) != document:
                client.put_role_policy(**role, PolicyName=text(name), PolicyDocument=_document(document))
        for name in was.keys() - now.keys():
            client.delete_role_policy(**role, PolicyName=text(name))
        managed, were = (of.get("ManagedPolicyArns") or [] for of in (work.given, before))
        for arn in managed:
            if arn not in were:
                client.attach_role_policy(**role, PolicyArn=arn)
        for arn in were:
            if arn not in managed:
                client.detach_role_policy(**role, PolicyArn=arn)


def _document(policy: Any) -> str:
    return policy if isinstance(policy, str) else json.dumps(policy)


class OidcProvider(Kind):
    type, service = "AWS::IAM::OIDCProvider", "iam"
    properties = frozenset({"Url", "ClientIdList", "ThumbprintList"})
    replacing = frozenset({"Url"})
    attributes = ("Arn",)

    def create(self, work: Work) -> Steps:
        names = {"Url": "Url", "ClientIdList": "ClientIDList", "ThumbprintList": "ThumbprintList"}
        members = {member: work.given[name] for name, member in names.items() if name in work.given}
        if tags := work.tag_list():
            members["Tags"] = tags
        made = work.call(self.service, "CreateOpenIDConnectProvider", members)
        work.entry.id = work.entry.attributes["Arn"] = made["OpenIDConnectProviderArn"]
        yield from ()

    def update(self, work: Work) -> Steps:
        client, arn = work.client(self.service), work.entry.id
        now, before = work.given.get("ClientIdList") or [], work.before.get("ClientIdList") or []
        for each in now:
            if each not in before:
                client.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID=text(each))
        for each in before:
            if each not in now:
                client.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID=text(each))
        if work.changed("ThumbprintList"):
            client.update_open_id_connect_provider_thumbprint(
                OpenIDConnectProviderArn=arn, ThumbprintList=work.given.get("ThumbprintList") or []
            )
        yield from ()

    def delete(self, work: Work) -> Steps:
        client = work.client(self.service)
        gone(lambda: client.delete_open_id_connect_provider(OpenIDConnectProviderArn=work.entry.id))
        yield from ()


KINDS: list[Kind] = [Role(), OidcProvider()]
